"""The face of storage for whole objects: satisfies storage.facade.Objects."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence

import trio

from p2p.ids import PeerId
from storage.config import StorageClass
from storage.facade import Durability, ObjectEntry, ObjectStat, PutReceipt, ReadCap
from storage.ids import Address
from storage.limits import PAGE_SEGMENTS
from storage.manifest import Manifest
from storage.objects.keeper import Keeper
from storage.objects.keyring import Keyring, KeyRow
from storage.objects.parts import Parts
from storage.objects.reader import ObjectReader, SegmentCache
from storage.objects.words import survives_words
from storage.objects.writer import ObjectWriter
from storage.records.holders import Rows


class ObjectService:
    """Puts, gets and keeps objects. Calls are served while `run` runs."""

    def __init__(self, parts: Parts, keyring: Keyring, cache: SegmentCache) -> None:
        self._parts = parts
        self._keyring = keyring
        self._reader = ObjectReader(parts, cache)
        self._keeper = Keeper(parts, keyring)
        self._coding = trio.Lock()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._keeper.run)
                task_status.started()
        finally:
            self._nursery = None

    async def put(
        self,
        source: AsyncIterable[bytes],
        *,
        name: str = "",
        durability: Durability = Durability.DURABLE,
        storage_class: StorageClass = StorageClass.NORMAL,
    ) -> PutReceipt:
        """See storage.facade.Objects.put."""
        nursery = self._running()
        writer = ObjectWriter(self._parts, nursery, durability, storage_class, self._coding)
        is_kept = False
        try:
            stored = await writer.store(source)
            cap = stored.receipt.cap
            row = KeyRow(
                cap.key,
                stored.lease,
                name,
                stored.receipt.size,
                storage_class,
                self._parts.wall_ms(),
                stored.until_ms,
            )
            await self._keyring.add(cap.address, row)
            is_kept = True
        finally:
            if not is_kept and self._nursery is not None:  # else the holds end by themselves
                nursery.start_soon(self._keeper.drop, writer.lease, list(writer.asked))
        return stored.receipt

    def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """See storage.facade.Objects.get."""
        return self._reader.read(self._running(), cap, start, length)

    async def stat(self, address: Address) -> ObjectStat:
        """How the object stands now, as its newest holder record and membership say.

        Raises ObjectUnknownError.
        """
        manifest = await self._parts.catalog.manifest(address)
        rows = await self._rows(address, manifest)
        pool, row = self._parts.pool, self._keyring.get(address)
        alive = set(pool.alive())
        live = [[peer for peer in shards if peer in alive] for shards in rows]
        worst = min(live, key=lambda peers: len(set(peers)))
        return ObjectStat(
            address=address,
            name="" if row is None else row.name,
            size=manifest.size,
            k=manifest.k,
            n=len(rows[0]),
            segments=manifest.segment_count,
            shards_live=len(worst),
            survives=survives_words(manifest.k, worst, pool.me),
            holders=tuple(
                (segment, number, peer, peer in alive)
                for segment, shards in enumerate(rows)
                for number, peer in enumerate(shards)
                if peer is not None
            ),
            expires_ms=0 if row is None else row.until_ms,
        )

    def entries(self) -> Sequence[ObjectEntry]:
        """Objects put from this machine, the oldest first."""
        return self._keyring.entries()

    async def forget(self, address: Address) -> bool:
        """Give up our leases; holders free the space. False when it was not ours."""
        row = self._keyring.get(address)
        if row is None or not await self._keyring.remove(address):
            return False
        await self._keeper.give_up(address, row)
        self._parts.catalog.forget(address)
        return True

    async def renew(self) -> int:
        """Renew the leases of all our objects now; how many were."""
        return await self._keeper.renew()

    async def _rows(self, address: Address, manifest: Manifest) -> Rows:
        """The holders of every segment by the newest record anybody knows."""
        rows: list[tuple[PeerId | None, ...]] = []
        for page in range(manifest.page_count):
            holding = await self._parts.catalog.holding(address, manifest, page, is_fresh=True)
            if holding is None:
                left = min(PAGE_SEGMENTS, manifest.segment_count - page * PAGE_SEGMENTS)
                rows += [(None,) * manifest.n] * left
            else:
                rows += holding.rows
        return tuple(rows)

    def _running(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("storage must run before objects are put or got")
        return self._nursery
