"""Tells the core what holder records there are here, what becomes of them, and who lends."""

from collections import deque
from collections.abc import Sequence

import msgspec
import trio

from p2p.ids import PeerId
from p2p.service import Driver
from storage.coding.erasure import Code
from storage.errors import ManifestError
from storage.holder.leases.book import LeaseBook
from storage.limits import RECORDS_PER_STEP, TOUCHED_PAGES_MAX
from storage.manifests.manifest import Manifest, SegmentRef, read_manifest, read_page
from storage.placement.pool import Pool
from storage.records.holders import HolderBook
from storage.records.holding import Holding, fits
from storage.repair.events import Event, HomesAre, LookDue, Mend, PageGone, PageIs, PageKey


class RecordWatch(msgspec.Struct):
    """Reads every record once, then those that were touched."""

    holders: HolderBook
    leases: LeaseBook
    pool: Pool
    driver: Driver[Event, Mend]
    small_bytes: int
    """Objects up to this are whole copies."""
    look_s: float
    """Between two looks at what was touched."""
    _homes: tuple[PeerId, ...] = ()
    """As the core was told last."""
    _just_touched: deque[PageKey] = msgspec.field(default_factory=deque)
    """Pages of the last look, which the next reads once more."""

    async def run(self) -> None:
        """All records once, then those that change; who may be given shards."""
        await self._read_all()
        self.driver.post(LookDue())
        while True:
            if len(self.holders.touched) == TOUCHED_PAGES_MAX:
                self.holders.touched.clear()
                await self._read_all()
            await self._read_touched()
            homes = tuple(candidate.peer for candidate in self.pool.usable())
            if homes != self._homes:
                self._homes = homes
                self.driver.post(HomesAre(homes))
            await trio.sleep(self.look_s)

    async def tell(self, holding: Holding) -> None:
        """Tell the core of a record, unless the manifest is not here to understand it by."""
        known = self._manifest_here(holding)
        if known is None:
            return
        manifest, segments = known
        longest = max((segment.length for segment in segments), default=0)
        shard_bytes = Code(manifest.k, manifest.n).shard_bytes(longest)
        page = (holding.address, holding.page)
        is_small = manifest.k == 1 and manifest.size <= self.small_bytes
        event = PageIs(page, holding.sequence, manifest.k, shard_bytes, holding.rows, is_small)
        await self.driver.do(event)

    async def _read_all(self) -> None:
        after: bytes | None = None
        while records := self.holders.scan(after, RECORDS_PER_STEP):
            for _, holding in records:
                await self.tell(holding)
            after = records[-1][0]
            await trio.lowlevel.checkpoint()

    async def _read_touched(self) -> None:
        """Read what was touched, and once more what was read last time.

        A page is touched within a transaction, so the first look may come before the commit.
        """
        fresh: deque[PageKey] = deque()
        while self.holders.touched:
            fresh.append(self.holders.touched.popleft())
        for page in dict.fromkeys([*self._just_touched, *fresh]):
            holding = self.holders.get(*page)
            if holding is None:
                self.driver.post(PageGone(page))
            else:
                await self.tell(holding)
            await trio.lowlevel.checkpoint()
        self._just_touched = fresh

    def _manifest_here(self, holding: Holding) -> tuple[Manifest, Sequence[SegmentRef]] | None:
        data = self.leases.manifest(holding.address)
        if data is None:
            return None
        try:
            manifest = read_manifest(holding.address, data)
            segments = self._segments_here(manifest, holding.page)
        except ManifestError:
            return None  # its owner wrote nonsense, or it is of a later version: nobody can mend it
        if segments is None or not fits(holding, manifest, len(segments)):
            return None
        return manifest, segments

    def _segments_here(self, manifest: Manifest, page: int) -> Sequence[SegmentRef] | None:
        """None where there is no such page, or it is not here. Raises ManifestError."""
        if page >= manifest.page_count:
            return None
        if not manifest.is_paged:
            return manifest.segments
        part = self.leases.manifest(manifest.page_addresses()[page])
        return None if part is None else read_page(manifest, page, part)
