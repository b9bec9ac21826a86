"""Runs the repair core: fetches any k verified shards, rebuilds what is lost, tells everybody.

    core: Mend -> newest record still the same? -> k shards [background] -> rebuild in workers
        -> new holders (fsynced, receipt) -> their manifest -> record with sequence + 1 to all

Only ciphertext is touched. A machine that was away asks at its start (and now and then) for newer
records; what it holds beyond them is freed once the others have enough without it.
"""

from collections.abc import Awaitable, Callable

import msgspec
import trio

from p2p.effects import Rng, Send
from p2p.ids import PeerId
from p2p.membership.port import Members
from p2p.membership.view import GONE, Liveness, MemberChanged
from p2p.service import Driver, Performer, persist_nothing
from p2p.wire.envelope import Signed
from storage.errors import ManifestError, ObjectUnknownError, StoreFullError
from storage.ids import Address, LeaseId
from storage.placement.possible import Patience
from storage.repair.audit import Auditor
from storage.repair.config import DEGRADED_NAMED_MAX, RepairConfig
from storage.repair.core import Repair
from storage.repair.dropped import DroppedElsewhere
from storage.repair.events import JobEnded, MemberIs, Mend, Remembered, RemovedAre, objects_of
from storage.repair.leftovers import Leftovers
from storage.repair.mender import Mender
from storage.repair.reconciling import Reconciler
from storage.repair.replaced import ReplacedRecords
from storage.repair.surplus import Surplus
from storage.repair.watch import RecordWatch
from storage.transfer.parts import StorageParts


class RepairStats(msgspec.Struct, frozen=True):
    """Counted since the start, and how it stands now."""

    repairs_done: int
    """Segments brought back to more living shards."""
    bytes_repaired: int
    """Bytes of the shards that were rebuilt."""
    repairs_failed: int
    """Jobs that mended nothing: they are tried again."""
    dropped_surplus: int
    """Objects whose shards here were freed, because others had replaced them."""
    given_up: int
    """Objects freed here because their owner had given them up while we were away."""
    shards_missed: int
    """Shards their living holders turned out not to have."""
    pages: int
    degraded: int
    """Pages that lack shards which the pool as it is now could hold."""
    degraded_objects: int
    """Objects with such pages."""
    degraded_some: tuple[Address, ...]
    """The first few of these objects."""
    unreadable: int
    """Those of which fewer than k shards of a segment live."""


class RepairService:
    """Keeps what this node holds a part of at its full number of shards."""

    def __init__(
        self,
        parts: StorageParts,
        members: Members,
        on_stone: Callable[[LeaseId, Signed], Awaitable[None]],
        rng: Rng,
    ) -> None:
        """`on_stone` is told of each tombstone that was taken: of an object of ours, perhaps."""
        storage, pool, holders, leases = parts.config, parts.pool, parts.holders, parts.leases
        config = RepairConfig.scaled(storage.down_after_s, storage.repair_bytes_per_s)
        self._members, self._arrival = members, parts.arrival
        self.patience: Patience = config
        """How long the silent holder of a shard is waited for."""
        self._mender = _mender_of(parts)
        self._auditor = Auditor(pool, holders, parts.catalog, parts.transfer)
        self._dropped_elsewhere = DroppedElsewhere(
            pool, holders, leases, parts.catalog, parts.transfer, parts.tombstones, on_stone
        )
        self._core = Repair(config, pool.me, rng)
        self._driver = Driver(self._core, Performer(_send_nothing, self._notify, persist_nothing))
        self._watch = RecordWatch(
            holders, leases, pool, self._driver, storage.small_object_bytes, config.look_s
        )
        surplus = Surplus(pool, members, leases, parts.catalog, parts.transfer, rng)
        self._replaced = ReplacedRecords(pool, holders, leases, parts.catalog, surplus)
        leftovers = Leftovers(pool, leases, parts.catalog, parts.transfer)
        self._reconciler = Reconciler(
            config, pool, self._core, self._auditor, self._dropped_elsewhere, self._replaced,
            leftovers, rng,
        )  # fmt: skip
        self._nursery: trio.Nursery | None = None
        """Of `run`; None before."""
        self._failed = 0
        """Jobs that mended nothing, since the start."""
        members.on_change(self._on_member)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch and mend until cancelled; start it after the transfer and the tables."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._driver.run)
            self._driver.order(Remembered(self._arrival.remembered))
            for member in self._members.view().members:
                self._on_member(MemberChanged(member, None))
            nursery.start_soon(self._watch.run)
            nursery.start_soon(self._reconciler.run)
            nursery.start_soon(self._reconciler.audit_returned)
            nursery.start_soon(self._reconciler.clear_leftovers)
            task_status.started()

    def stats(self) -> RepairStats:
        """A snapshot for telemetry and tests."""
        degraded = self._core.degraded(trio.current_time())
        objects = objects_of(degraded)
        return RepairStats(
            repairs_done=self._mender.repairs_done,
            bytes_repaired=self._mender.bytes_repaired,
            repairs_failed=self._failed,
            dropped_surplus=self._replaced.freed,
            given_up=self._dropped_elsewhere.dropped,
            shards_missed=self._auditor.shards_missed,
            pages=self._core.pages,
            degraded=len(degraded),
            degraded_objects=len(objects),
            degraded_some=objects[:DEGRADED_NAMED_MAX],
            unreadable=self._core.unreadable,
        )

    def end_of(self, machines: frozenset[PeerId]) -> None:
        """These, and no others, were removed: what they hold is lost."""
        self._driver.order(RemovedAre(machines))

    def _on_member(self, changed: MemberChanged) -> None:
        member = changed.member
        if member.liveness is Liveness.ALIVE and changed.before in GONE:
            self._reconciler.came_back(member.peer)
        self._driver.post(MemberIs(member.peer, member.liveness, member.since_s))

    def _notify(self, event: Mend) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._mend, event)

    async def _mend(self, order: Mend) -> None:
        newest = None
        try:
            if not await self._dropped_elsewhere.was_given_up(order.page):
                newest = await self._mender.mend(order)
        except (ManifestError, ObjectUnknownError, StoreFullError):
            newest = None  # no manifest can be reached, or our disk is full: tried again later
        if newest is None:
            self._failed += 1
        else:
            await self._watch.tell(newest)
        await self._driver.do(JobEnded(order.page, newest is not None))


def _mender_of(parts: StorageParts) -> Mender:
    return Mender(
        config=parts.config,
        pool=parts.pool,
        holders=parts.holders,
        leases=parts.leases,
        catalog=parts.catalog,
        transfer=parts.transfer,
        fetcher=parts.fetcher,
        pusher=parts.pusher,
        workers=parts.workers,
        wall_ms=parts.wall_ms,
    )


def _send_nothing(effect: Send) -> None:
    raise AssertionError(f"repair sends nothing by itself, not {effect}")
