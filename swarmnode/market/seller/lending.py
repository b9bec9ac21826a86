"""What this machine lends right now, looked at every few seconds, and how that is shown."""

from collections.abc import Awaitable, Callable

from swarmnode.executor.port import Executor
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.core import Seller
from swarmnode.market.seller.events import Surveyed
from swarmnode.market.seller.room import Fitness
from swarmnode.market.seller.view import Lent, SellerStats, advert_of, lent_now, stats_of
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.resources.port import Machine, MachineSnapshot


class Lending:
    """Tells the core what there is to lend, and everybody what is lent and free."""

    def __init__(
        self,
        core: Seller,
        terms: SellerConfig,
        lent: Lent,
        executor: Executor,
        machine: Machine,
        do: Callable[[Surveyed], Awaitable[None]],
    ) -> None:
        """`lent` is what the owner lends at most; `do` hands the core an event."""
        self._core, self._terms, self._lent = core, terms, lent
        self._executor, self._machine, self._do = executor, machine, do
        self._snapshot: MachineSnapshot | None = None
        """The newest look at the machine; None before the first."""
        self._listeners: list[Callable[[], None]] = []

    async def survey(self) -> None:
        """Look at the machine; what tasks have of it counts as free to lend again."""
        snapshot = self._snapshot = await self._machine.read()
        capacity = lent_now(self._lent, snapshot, self._core.room.taken())
        executor = self._executor
        enforced = [limit.value for limit, why in executor.enforceable().items() if not why]
        environments, trouble = executor.environments(), executor.trouble()
        fitness = Fitness(
            environments,
            tuple(enforced),
            trouble,
            executor.net_trouble(),
            machine=snapshot.kind,
            data=executor.data_way()[0].value,
            brings=executor.bringing.is_possible,
            writes_images=not executor.image_trouble(),
        )
        await self._do(Surveyed(capacity, fitness))

    def stats(self) -> SellerStats:
        """What is lent, free and running now."""
        return stats_of(self._core, self._terms)

    def advert(self) -> ResourceAdvert | None:
        """What others should know of this machine; None before it was looked at."""
        if self._snapshot is None:
            return None
        return advert_of(self._core, self._terms, self._snapshot)

    def on_changed(self, listener: Callable[[], None]) -> None:
        """Be told whenever `stats` and `advert` have changed; must not block."""
        self._listeners.append(listener)

    def changed(self) -> None:
        """Tell them."""
        for listener in self._listeners:
            listener()
