"""Shards to their holders: in parallel, a replacement for each that refuses, stalls or dies."""

from collections.abc import Sequence

import msgspec
import trio

from p2p.ids import PeerId, TrafficClass
from storage.config import StorageConfig
from storage.errors import HolderFailedError
from storage.ids import ShardRoot
from storage.messages import LeaseTerms
from storage.placement.rendezvous import Candidate, spread
from storage.transfer.client import Transfer
from storage.transfer.rates import Rates


class PushOrder(msgspec.Struct, frozen=True):
    """What to place where. One order is one segment, or the shards a repair made anew."""

    shards: Sequence[tuple[ShardRoot, bytes]]
    candidates: Sequence[Candidate]
    """In rendezvous order; those that cannot take a shard of this size are left out by `push`."""
    terms: LeaseTerms
    ack: int
    """Enough receipts: from then on stragglers get only a little longer."""
    present: Sequence[Candidate] = ()
    """Machines that hold something of the segment already: they get nothing more of it."""
    traffic_class: TrafficClass = TrafficClass.NORMAL
    per_person: int | None = None
    """So many of the segment's shards may be lost: no more go to one person's machines, where
    others lend, too."""


class PushOutcomes(msgspec.Struct):
    """What many pushes of one put learn about machines."""

    failed: dict[PeerId, str] = msgspec.field(default_factory=dict)
    """Machines not to be tried again, with the code of their failure."""
    asked: dict[PeerId, None] = msgspec.field(default_factory=dict)
    """Everybody who may have something now, in the order asked."""


class _Segment(msgspec.Struct):
    order: PushOrder
    log: PushOutcomes
    chosen: dict[PeerId, Candidate] = msgspec.field(default_factory=dict)
    """Everybody who has, or is being given, a shard of this segment."""
    holders: dict[int, PeerId] = msgspec.field(default_factory=dict)
    """By number of the shard: who has it, and said so by a receipt."""
    open_shards: int = 0
    """Those for which homes are still being tried."""
    wake: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set when that becomes fewer; another one for each wait."""

    def next_home(self, count: int = 1) -> list[Candidate]:
        """The best machines not yet in use for this segment."""
        length = max((len(data) for _, data in self.order.shards), default=0)
        fit = [
            c
            for c in self.order.candidates
            if c.peer not in self.log.failed
            and c.peer not in self.chosen
            and c.free_bytes >= length
        ]
        present = [*self.order.present, *self.chosen.values()]
        picked = spread(fit, count, present, per_person=self.order.per_person)
        self.chosen.update((c.peer, c) for c in picked)
        self.log.asked.update((c.peer, None) for c in picked)
        return picked


class Pusher:
    """Places shards and waits for their receipts."""

    def __init__(self, config: StorageConfig, transfer: Transfer, rates: Rates) -> None:
        self._config = config
        self._transfer = transfer
        self._rates = rates

    async def push(
        self, order: PushOrder, log: PushOutcomes | None = None
    ) -> tuple[PeerId | None, ...]:
        """The holder of each shard, by a verified receipt; None where no home was found.

        Returns when all are placed, when no machine is left to try, or a little after `ack` are.
        `log` collects machines that failed, so that the next segments leave them out.
        """
        segment = _Segment(order, PushOutcomes() if log is None else log)
        homes = segment.next_home(len(order.shards))
        begun_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number, home in enumerate(homes):
                segment.open_shards += 1
                nursery.start_soon(self._place, segment, number, home)
            await self._wait(segment, begun_s)
            nursery.cancel_scope.cancel()
        return tuple(segment.holders.get(number) for number in range(len(order.shards)))

    async def _wait(self, segment: _Segment, begun_s: float) -> None:
        while segment.open_shards and len(segment.holders) < segment.order.ack:
            segment.wake = trio.Event()
            await segment.wake.wait()
        took_s = trio.current_time() - begun_s
        with trio.move_on_after(max(took_s, self._config.straggler_s)):
            while segment.open_shards:
                segment.wake = trio.Event()
                await segment.wake.wait()

    async def _place(self, segment: _Segment, number: int, home: Candidate | None) -> None:
        """Try homes for one shard until one has it; a slow one is raced by its replacement."""
        failed = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                while home is not None:
                    failed = trio.Event()
                    nursery.start_soon(self._try, segment, number, home, failed, nursery)
                    with trio.move_on_after(self._patience_s(segment.order.shards[number][1])):
                        await failed.wait()
                    home = next(iter(segment.next_home()), None)
        finally:
            segment.open_shards -= 1
            segment.wake.set()

    async def _try(
        self,
        segment: _Segment,
        number: int,
        home: Candidate,
        failed: trio.Event,
        nursery: trio.Nursery,
    ) -> None:
        order, begun_s = segment.order, trio.current_time()
        try:
            await self._put(order, number, home.peer)
        except HolderFailedError as failure:
            segment.log.failed[home.peer] = failure.code
            segment.chosen.pop(home.peer, None)
            self._rates.failed(home.peer, trio.current_time())
            failed.set()
            return
        self._rates.worked(home.peer, len(order.shards[number][1]), trio.current_time() - begun_s)
        segment.holders.setdefault(number, home.peer)
        nursery.cancel_scope.cancel()

    async def _put(self, order: PushOrder, number: int, peer: PeerId) -> None:
        """Have a holder take a shard. Raises HolderFailedError, soon when its node is frozen."""
        root, data = order.shards[number]
        failure: HolderFailedError | None = HolderFailedError(
            peer, "frozen", "its node does not answer"
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._feel, peer, nursery.cancel_scope)
            try:
                await self._transfer.put_shard(
                    peer, root, data, order.terms, traffic_class=order.traffic_class
                )
                failure = None
            except HolderFailedError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _feel(self, peer: PeerId, putting: trio.CancelScope) -> None:
        """Stop what waits for a machine whose node no longer answers."""
        is_alive = True
        while is_alive:
            await trio.sleep(self._config.pulse_s)
            is_alive = await self._transfer.pulse(peer)
        putting.cancel()

    def _patience_s(self, data: bytes) -> float:
        """Before a replacement is tried beside it: a slow line is given its fair time."""
        return self._config.hedge_max_s + len(data) / (8 * self._config.rate_min_bytes_per_s)
