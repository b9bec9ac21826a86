"""The market as the rest of the node sees it: this owner's tasks, and this machine's room."""

from collections.abc import Callable

import trio

from p2p.ids import PeerId, PersonId
from p2p.mesh import Mesh
from swarmnode.market.buyer.notary import RightOf, no_right
from swarmnode.market.buyer.own_machines.standing import WhoseTask, nobodys
from swarmnode.market.buyer.service import BuyerService
from swarmnode.market.config import MarketConfig
from swarmnode.market.seller.premises import Premises
from swarmnode.market.seller.service import SellerService


class MarketService:
    """Both sides of the market: what concerns one alone is asked there."""

    def __init__(
        self,
        config: MarketConfig,
        mesh: Mesh,
        premises: Premises,
        *,
        boot_s: Callable[[], float] = trio.current_time,
        lends: bool,
        right_of: RightOf = no_right,
        whose: WhoseTask = nobodys,
    ) -> None:
        """`lends` False: this machine runs nobody's tasks. `right_of`: to put in our name.

        `whose` tells from such a right whose task it was given for.
        """
        self.buyer = BuyerService(config.auction, mesh, premises.tables, boot_s, right_of, whose)
        """This machine's own tasks, wherever they run."""
        self.guardians = self.buyer.guardians
        """Those who keep tasks, this machine among them."""
        self.own_machines = self.buyer.own_machines
        """The tasks of its owner's other machines."""
        self.seller = SellerService(config.seller, mesh, premises, lends=lends)
        """Tasks that run on this machine, whoever submitted them."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Both sides, until cancelled; start it after tables, executor, rpc and gossip."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.buyer.run)  # first: our own jobs here will speak to it
            await nursery.start(self.seller.run)
            task_status.started()

    def end_of(self, machines: frozenset[PeerId], people: frozenset[PersonId]) -> None:
        """These machines were removed from the network, and people with all their machines.

        Nothing runs here for them any more, and nothing is kept here for them.
        """
        self.seller.end_of(machines, people)
        self.buyer.end_of(machines)

    @property
    def trouble(self) -> str:
        """Why tasks stand still here; empty while they do not."""
        return self.buyer.trouble or self.seller.trouble
