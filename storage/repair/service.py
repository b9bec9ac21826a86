"""Runs the repair core: fetches any k verified shards, rebuilds what is lost, tells everybody.

    core: Mend -> newest record still the same? -> k shards [background] -> rebuild in workers
        -> new holders (fsynced, receipt) -> their manifest -> record with sequence + 1 to all

Only ciphertext is touched. A machine that was away asks at its start (and now and then) for newer
records; what it holds beyond them is freed once the others have enough without it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from p2p.effects import Rng, Send
from p2p.ids import PeerId
from p2p.membership.port import Members
from p2p.membership.view import Liveness, MemberChanged
from p2p.service import Driver, Performer, persist_nothing
from storage.coding.erasure import Code
from storage.config import StorageConfig
from storage.errors import HolderFailedError, ManifestError, ObjectUnknownError, StoreFullError
from storage.limits import RECORDS_PER_STEP, TOUCHED_PAGES_MAX
from storage.manifests.manifest import Manifest, SegmentRef, read_manifest, read_page
from storage.records.holding import Holding, fits
from storage.repair.audit import Auditor
from storage.repair.config import RepairConfig
from storage.repair.core import Repair
from storage.repair.dropped import DroppedElsewhere
from storage.repair.events import (
    HomesAre,
    JobEnded,
    LookDue,
    MemberIs,
    Mend,
    PageGone,
    PageIs,
    PageKey,
    Remembered,
)
from storage.repair.mender import Mender
from storage.repair.surplus import Surplus


@dataclass(frozen=True, slots=True)
class RepairStats:
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
    """Pages that lack shards now."""
    unreadable: int
    """Those of which fewer than k shards of a segment live."""


class RepairService:
    """Keeps what this node holds a part of at its full number of shards."""

    def __init__(
        self,
        storage: StorageConfig,
        members: Members,
        mender: Mender,
        auditor: Auditor,
        dropped: DroppedElsewhere,
        *,
        rng: Rng,
        remembered: Callable[[], tuple[PeerId, ...]] = tuple,
        config: RepairConfig | None = None,
    ) -> None:
        """Without `config` times follow `down_after_s`; `remembered`: who lent before our start."""
        if config is None:
            config = RepairConfig.scaled(storage.down_after_s, storage.repair_bytes_per_s)
        pool = mender.pool
        self._config, self._members, self._pool = config, members, pool
        self._small_bytes = storage.small_object_bytes
        """Objects up to this are whole copies."""
        self._holders, self._leases, self._catalog = mender.holders, mender.leases, mender.catalog
        self._mender, self._auditor, self._dropped_elsewhere = mender, auditor, dropped
        self._surplus = Surplus(pool, members, mender.leases, mender.catalog, mender.transfer, rng)
        self._rng, self._remembered = rng, remembered
        self._missed: dict[PeerId, None] = {}
        """Who came back since we last compared records."""
        self._returned: dict[PeerId, None] = {}
        """Who came back since we last asked such for what their disks have."""
        self._has_returned = trio.Event()  # set when there are any
        self._core = Repair(config, pool.me, rng)
        self._driver = Driver(self._core, Performer(_send_nothing, self._notify, persist_nothing))
        self._nursery: trio.Nursery | None = None  # of `run`; None before
        self._homes: tuple[PeerId, ...] = ()
        """As the core was told last."""
        self._just_touched: deque[PageKey] = deque()
        """Pages of the last look, which the next reads once more."""
        self._failed = 0
        """Jobs that mended nothing, since the start."""
        self._dropped = 0
        """Objects freed here, as others had replaced their shards, since the start."""
        members.on_change(self._on_member)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch and mend until cancelled; start it after the transfer and the tables."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._driver.run)
            self._driver.order(Remembered(self._remembered()))
            for member in self._members.view().members:
                self._on_member(MemberChanged(member, None))
            nursery.start_soon(self._watch)
            nursery.start_soon(self._reconcile_forever)
            nursery.start_soon(self._audit_returned)
            task_status.started()

    def patience_s(self, k: int, n: int, live: int) -> float:
        """How long the silent holder of one of n shards is waited for, where `live` can be had."""
        return self._config.patience_s(k, n, live)

    def stats(self) -> RepairStats:
        """A snapshot for telemetry and tests."""
        return RepairStats(
            repairs_done=self._mender.repairs_done,
            bytes_repaired=self._mender.bytes_repaired,
            repairs_failed=self._failed,
            dropped_surplus=self._dropped,
            given_up=self._dropped_elsewhere.dropped,
            shards_missed=self._auditor.shards_missed,
            pages=self._core.pages,
            degraded=self._core.degraded,
            unreadable=self._core.unreadable,
        )

    # -- what the core is told

    def _on_member(self, changed: MemberChanged) -> None:
        member = changed.member
        if member.liveness is Liveness.ALIVE and changed.before in (Liveness.DEAD, Liveness.LEFT):
            self._returned[member.peer] = self._missed[member.peer] = None
            self._has_returned.set()
        self._driver.post(MemberIs(member.peer, member.liveness, member.since_s))

    async def _watch(self) -> None:
        """All records once, then those that change; who may be given shards."""
        await self._read_all()
        self._driver.post(LookDue())
        while True:
            if len(self._holders.touched) == TOUCHED_PAGES_MAX:
                self._holders.touched.clear()
                await self._read_all()
            await self._read_touched()
            homes = tuple(candidate.peer for candidate in self._pool.usable())
            if homes != self._homes:
                self._homes = homes
                self._driver.post(HomesAre(homes))
            await trio.sleep(self._config.look_s)

    async def _audit_returned(self) -> None:
        """Ask those that came back whether their disk did, too."""
        while True:
            await self._has_returned.wait()
            await trio.sleep(self._config.look_s)
            self._has_returned = trio.Event()
            returned, self._returned = self._returned, {}
            for peer in returned:
                for page in self._core.led_pages(peer):
                    await self._auditor.audit(page, peer)

    async def _read_all(self) -> None:
        after: bytes | None = None
        while records := self._holders.scan(after, RECORDS_PER_STEP):
            for _, holding in records:
                await self._tell(holding)
            after = records[-1][0]
            await trio.lowlevel.checkpoint()

    async def _read_touched(self) -> None:
        """Read what was touched, and once more what was read last time.

        A page is touched within a transaction, so the first look may come before the commit.
        """
        fresh: deque[PageKey] = deque()
        while self._holders.touched:
            fresh.append(self._holders.touched.popleft())
        for page in dict.fromkeys([*self._just_touched, *fresh]):
            holding = self._holders.get(*page)
            if holding is None:
                self._driver.post(PageGone(page))
            else:
                await self._tell(holding)
            await trio.lowlevel.checkpoint()
        self._just_touched = fresh

    async def _tell(self, holding: Holding) -> None:
        """Tell the core of a record, unless the manifest is not here to understand it by."""
        found = self._manifest_here(holding)
        if found is None:
            return
        manifest, segments = found
        longest = max((segment.length for segment in segments), default=0)
        shard_bytes = Code(manifest.k, manifest.n).shard_bytes(longest)
        page = (holding.address, holding.page)
        is_small = manifest.k == 1 and manifest.size <= self._small_bytes
        event = PageIs(page, holding.sequence, manifest.k, shard_bytes, holding.rows, is_small)
        await self._driver.do(event)

    def _manifest_here(self, holding: Holding) -> tuple[Manifest, Sequence[SegmentRef]] | None:
        data = self._leases.manifest(holding.address)
        if data is None:
            return None
        try:
            manifest = read_manifest(holding.address, data)
            if holding.page >= manifest.page_count:
                return None
            segments = manifest.segments
            if manifest.is_paged:
                part = self._leases.manifest(manifest.page_addresses()[holding.page])
                if part is None:
                    return None
                segments = read_page(manifest, holding.page, part)
        except ManifestError:
            return None  # its owner wrote nonsense, or it is of a later version: nobody can mend it
        return (manifest, segments) if fits(holding, manifest, len(segments)) else None

    # -- what the core asks for

    def _notify(self, event: Mend) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._mend, event)

    async def _mend(self, order: Mend) -> None:
        newest = None
        try:
            if not await self._was_given_up(order.page):
                newest = await self._mender.mend(order)
        except (ManifestError, ObjectUnknownError, StoreFullError):
            newest = None  # no manifest can be reached, or our disk is full: tried again later
        if newest is None:
            self._failed += 1
        else:
            await self._tell(newest)
        await self._driver.do(JobEnded(order.page, newest is not None))

    async def _was_given_up(self, page: PageKey) -> bool:
        """Whether the owner no longer wants it: what we have is freed, now or by the sweep."""
        address, number = page
        lease = (await self._catalog.manifest(address)).lease
        if not self._leases.is_of(lease, address):
            return False
        if self._leases.has_ended(lease, address):
            return True  # we were away for longer than anybody remembers
        return await self._dropped_elsewhere.is_dropped(address, number, lease)

    # -- coming back

    async def _reconcile_forever(self) -> None:
        was_away = True
        while True:
            await trio.sleep(self._config.look_s * 2)  # until we know who is there
            missed, self._missed = self._missed, {}
            # When most come back at once it is we who were away. Else news rarely pass us by,
            # and asking all holders of everything would be most of what holders say.
            was_away = was_away or 2 * len(missed) >= len(self._pool.alive())
            await self._reconcile(None if was_away else self._rng)
            was_away = False
            await trio.sleep(self._config.reconcile_s)

    async def _reconcile(self, dice: Rng | None) -> None:
        """Learn of records that replaced ours while we were away, free what is surplus, and ask
        the others whether they still have what they hold. With `dice` only some are asked."""
        await self._dropped_elsewhere.learn_all(dice)
        after: bytes | None = None
        while records := self._holders.scan(after, RECORDS_PER_STEP):
            after = records[-1][0]
            for _, holding in records:
                await self._refresh(holding, dice)
        for page in self._core.led_pages():
            await self._auditor.audit(page)
        for page, leader in self._core.seconded_pages():
            await self._auditor.audit(page, leader)

    async def _refresh(self, holding: Holding, dice: Rng | None) -> None:
        try:
            if self._leases.manifest(holding.address) is None:
                # It came while the object was being given up here; nobody would replace it.
                await self._holders.forget(holding.address)
                return
            manifest = await self._catalog.manifest(holding.address)
            agreed = await self._catalog.agreed(holding.address, manifest, holding.page, dice)
            if agreed is None or not _differs(agreed, holding):
                return
            if self._pool.me in agreed.peers() or not await self._surplus.is_all(
                holding.address, manifest
            ):
                await self._holders.adopt(agreed)
                return
        except (HolderFailedError, ManifestError, ObjectUnknownError, StoreFullError):
            return  # nobody can tell us now: asked again later
        if not self._leases.is_of(manifest.lease, holding.address):
            return  # a manifest that names a lease of somebody else
        try:
            await self._leases.drop(manifest.lease, holding.address)
        except StoreFullError:
            return
        self._catalog.forget(holding.address)
        self._dropped += 1


def _send_nothing(effect: Send) -> None:
    raise AssertionError(f"repair sends nothing by itself, not {effect}")


def _differs(agreed: Holding, ours: Holding) -> bool:
    """Whether the others have a record that should take the place of ours."""
    return agreed.sequence >= ours.sequence and (agreed.sequence, agreed.signer) != (
        ours.sequence,
        ours.signer,
    )
