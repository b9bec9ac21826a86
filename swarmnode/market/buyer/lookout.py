"""What goes on around the tasks: who is there, what machines lend, and that this one slept."""

from collections.abc import Callable
from typing import Final

import trio

from p2p.gossip.items import RESOURCES, Item
from p2p.ids import LabId, PeerId
from p2p.membership.view import COMPUTE, MemberChanged
from p2p.mesh import Mesh
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.guardians import events as g
from swarmnode.resources.advert import read_advert

ADVERTS_EVERY_S: Final = 5.0
"""How often adverts that have expired, and members that are forgotten, are noticed."""


class Lookout:
    """Tells the buyer's core of members, adverts and sleep."""

    def __init__(
        self,
        config: BuyerConfig,
        mesh: Mesh,
        boot_s: Callable[[], float],
        order: Callable[[e.Event], None],
    ) -> None:
        """`boot_s` goes on while the machine sleeps; `order` hands the core an event for sure."""
        self._config, self._boot_s, self._order = config, boot_s, order
        self._members, self._gossip = mesh.members, mesh.gossip
        self._told: dict[PeerId, tuple[bytes, bool]] = {}
        """Advert of each machine, and whether its certificate lets it lend."""
        self._met: set[PeerId] = set()
        """Whom membership has told us of, and not forgotten since."""
        mesh.members.on_change(self._on_member)
        mesh.gossip.on_item(RESOURCES, self._on_advert)

    def look(self) -> None:
        """Tell all that is known by now; `run` tells what comes later."""
        for member in self._members.view().members:
            self._on_member(MemberChanged(member, None))
        self._look_at_adverts()

    async def run(self) -> None:
        """Notice until cancelled what nobody says: what has expired, and that we slept."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notice_sleep)
            while True:
                await trio.sleep(ADVERTS_EVERY_S)
                self._look_at_adverts()
                self._forget_members()

    async def _notice_sleep(self) -> None:
        """Timers do not see that a lid was closed: the boot clock does."""
        while True:
            before_s = self._boot_s() - trio.current_time()
            await trio.sleep(self._config.tick_s)
            if self._boot_s() - trio.current_time() - before_s >= self._config.asleep_s:
                self._order(g.Woke())

    def _on_member(self, change: MemberChanged) -> None:
        member = change.member
        self._met.add(member.peer)
        self._order(e.MemberStands(member.peer, member.liveness, member.lab))

    def _forget_members(self) -> None:
        """Membership says nothing of whom it forgets: those gone for a day."""
        view = self._members.view()
        for peer in sorted(peer for peer in self._met if view.find(peer) is None):
            self._met.discard(peer)
            self._order(e.MemberStands(peer, None, LabId("")))

    def _on_advert(self, item: Item) -> None:
        """What it lends; nothing if its certificate, which may come later, is no provider's."""
        member = self._members.view().find(item.origin)
        told = item.body, member is None or member.may_offer(COMPUTE)
        if self._told.get(item.origin) == told:
            return
        self._told[item.origin] = told
        self._order(e.Advertised(item.origin, read_advert(item.body) if told[1] else None))

    def _look_at_adverts(self) -> None:
        items = self._gossip.items(RESOURCES)
        for item in items.values():
            self._on_advert(item)
        for peer in [peer for peer in self._told if peer not in items]:
            del self._told[peer]
            self._order(e.Advertised(peer, None))
