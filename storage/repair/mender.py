"""One repair: from k shards of a segment to shards on new holders and a record that says so."""

from collections.abc import Callable

import msgspec
import trio

from p2p.ids import PeerId, TrafficClass
from p2p.workers import Workers
from storage.coding.erasure import Code
from storage.coding.merkle import root_of
from storage.config import StorageConfig
from storage.errors import HolderFailedError, ManifestError, ObjectDegradedError
from storage.holder.leases.book import LeaseBook
from storage.ids import Address, ShardRoot
from storage.limits import CANDIDATES_MAX
from storage.manifests.manifest import Manifest, SegmentRef
from storage.messages import LeaseTerms
from storage.placement.pool import Pool
from storage.placement.rendezvous import rendezvous, shortlist
from storage.records.holders import HolderBook
from storage.records.holding import NO_MORE, Holding
from storage.records.wider import UNMADE, Placed, write_more
from storage.repair.config import SEGMENTS_AT_ONCE
from storage.repair.events import Mend
from storage.transfer.client import Transfer
from storage.transfer.fetch import Fetcher, SegmentSources
from storage.transfer.lookup import Catalog
from storage.transfer.push import Pusher, PushOrder

Row = tuple[PeerId | None, ...]


class Mender(msgspec.Struct):
    """Does what a Mend order says, one segment in memory at a time."""

    config: StorageConfig
    pool: Pool
    holders: HolderBook
    leases: LeaseBook
    catalog: Catalog
    transfer: Transfer
    fetcher: Fetcher
    pusher: Pusher
    workers: Workers
    wall_ms: Callable[[], int]
    repairs_done: int = 0
    """Segments that got shards back, since the start."""
    bytes_repaired: int = 0
    """Of these shards, at their new holders."""

    async def mend(self, order: Mend) -> Holding | None:
        """The newest record afterwards; None when nothing could be mended.

        Raises ManifestError, ObjectUnknownError, StoreFullError.
        """
        address, page = order.page
        manifest = await self.catalog.manifest(address)
        holding = await self.catalog.holding(address, manifest, page, is_fresh=True)
        if holding is None:
            return None
        if holding.sequence > order.sequence:  # somebody else was faster
            return await self.holders.adopt(holding)
        places = await self.catalog.placed(address, manifest, page, holding)
        work = [_Work.of(place, manifest.k, _width(order, holding)) for place in places]
        limiter = trio.CapacityLimiter(SEGMENTS_AT_ONCE)

        async def mend_at(at: int, shards: tuple[int, ...]) -> None:
            lost = tuple(shard for shard in shards if not self._lives(work[at].row[shard]))
            async with limiter:
                try:
                    await self._mend_segment(manifest, address, work[at], at, lost)
                except (ObjectDegradedError, ManifestError):
                    return  # the others may be better off; this one is tried again later

        async with trio.open_nursery() as nursery:
            for at, shards in order.segments:
                nursery.start_soon(mend_at, at, shards)
        rows = await self._with_manifest(manifest, holding, [segment.row for segment in work])
        rows = _as_narrow_as_can_be(rows, len(holding.rows[0]))
        if rows == list(holding.rows):
            return None
        more = await self._more(manifest, holding, work, rows)
        newest = self.holders.seal(address, page, tuple(rows), holding.sequence + 1, more)
        await self.catalog.publish_holding(newest)
        return newest

    async def _more(
        self, manifest: Manifest, holding: Holding, work: list["_Work"], rows: list[Row]
    ) -> Address:
        """Where the roots of added shards are kept, after they are. Raises ObjectUnknownError."""
        width = len(rows[0])
        if manifest.k == 1 or width == manifest.n:
            return NO_MORE
        part, data = write_more([segment.roots[manifest.n : width] for segment in work])
        if part != holding.more:
            peers = list(dict.fromkeys(p for row in rows for p in row if p is not None))
            terms = self._terms(manifest, holding.address)
            await self.catalog.publish_part(holding.address, part, data, terms, peers)
        return part

    async def _mend_segment(
        self, manifest: Manifest, address: Address, work: "_Work", at: int, lost: tuple[int, ...]
    ) -> None:
        """Rebuild the lost shards, or make those that are added, and place them."""
        ref, row, roots = work.ref, work.row, work.roots
        code = Code(manifest.k, len(row))
        usable = self.pool.usable()
        free = [candidate for candidate in usable if candidate.peer not in row]
        if not lost or not free:
            return
        kept = tuple(None if shard in lost else peer for shard, peer in enumerate(row))
        sources = SegmentSources(manifest.k, code.shard_bytes(ref.length), roots, kept)
        shards = await self.fetcher.fetch(sources, traffic_class=TrafficClass.BACKGROUND)
        made = await self.workers.run(lambda: _rebuilt(code, roots, shards, lost[: len(free)]))
        named = {shard: root_of(data) for shard, data in made.items()}
        present = [self.pool.candidate(peer) for peer in kept if peer is not None]
        order = PushOrder(
            [(named[shard], data) for shard, data in made.items()],
            shortlist(rendezvous(manifest.lease + at.to_bytes(8), free), CANDIDATES_MAX),
            self._terms(manifest, address),
            len(made),
            [candidate for candidate in present if candidate is not None],
            TrafficClass.BACKGROUND,
            max(1, len(row) - manifest.k),
        )
        homes = await self.pusher.push(order)
        placed = {s: home for s, home in zip(made, homes, strict=True) if home is not None}
        self.repairs_done += bool(placed)
        self.bytes_repaired += sum(len(made[shard]) for shard in placed)
        work.row = tuple(placed.get(shard, peer) for shard, peer in enumerate(row))
        work.roots = tuple(
            named[shard] if shard in placed else root for shard, root in enumerate(roots)
        )

    async def _with_manifest(
        self, manifest: Manifest, holding: Holding, rows: list[Row]
    ) -> list[Row]:
        """Give newcomers manifest and record; those that did not take them are no holders."""
        newcomers = dict.fromkeys(peer for row in rows for peer in row if peer is not None)
        bad = [
            peer
            for peer in newcomers
            if peer not in holding.peers() and not await self._tell(peer, manifest, holding)
        ]
        return [
            tuple(
                old if peer in bad else peer
                for peer, old in zip(row, _wide(before, len(row)), strict=True)
            )
            for row, before in zip(rows, holding.rows, strict=True)
        ]

    async def _tell(self, peer: PeerId, manifest: Manifest, holding: Holding) -> bool:
        address = holding.address
        terms = self._terms(manifest, address)
        has_more = holding.more and self.leases.manifest(holding.more) is not None
        more = (holding.more,) if has_more else ()
        parts = [*manifest.page_addresses(), *more, address]
        try:
            for part in parts:
                data = self.leases.manifest(part)
                if data is None:
                    return False
                await self.transfer.put_manifest(peer, address, part, data, terms, [holding])
        except HolderFailedError:
            return False
        return True

    def _terms(self, manifest: Manifest, address: Address) -> LeaseTerms:
        """The lease the other shards have here, or a fresh one."""
        row = self.leases.row(manifest.lease, address)
        until_ms = self.config.lease_ms(manifest.storage_class, self.wall_ms())
        if row is not None and not row.is_hold:
            until_ms = row.until_ms
        putter = self.pool.me if row is None else row.putter
        return LeaseTerms(
            manifest.lease, manifest.owner, manifest.lab, manifest.storage_class, until_ms, False,
            putter=putter, address=address,
        )  # fmt: skip

    def _lives(self, peer: PeerId | None) -> bool:
        return peer is not None and self.pool.is_alive(peer)


class _Work(msgspec.Struct):
    """A segment while it is mended: the shards it has and who holds them."""

    ref: SegmentRef
    roots: tuple[ShardRoot, ...]
    row: Row

    @classmethod
    def of(cls, place: Placed, k: int, width: int) -> "_Work":
        """As it stands, with room for shards that are to be added."""
        fill = place.roots[0] if k == 1 else UNMADE
        roots = (*place.roots, *(fill,) * (width - len(place.roots)))
        return cls(place.ref, roots, _wide(place.row, width))


def _wide(row: Row, width: int) -> Row:
    return (*row, *(None,) * (width - len(row)))


def _width(order: Mend, holding: Holding) -> int:
    wanted = (shard + 1 for _, shards in order.segments for shard in shards)
    return max([len(holding.rows[0]), *wanted])


def _as_narrow_as_can_be(rows: list[Row], least: int) -> list[Row]:
    """Without columns for added shards that found no home anywhere."""
    used = [at + 1 for row in rows for at, peer in enumerate(row) if peer is not None]
    width = max([least, *used])
    return [row[:width] for row in rows]


def _rebuilt(
    code: Code, roots: tuple[ShardRoot, ...], shards: dict[int, bytes], lost: tuple[int, ...]
) -> dict[int, bytes]:
    made = code.rebuild(shards, lost)
    for shard, data in made.items():
        if roots[shard] != UNMADE and root_of(data) != roots[shard]:
            raise ManifestError("the manifest's roots do not belong together: nobody can mend it")
    return made
