"""The face of storage for whole objects: satisfies storage.facade.Objects."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence

import trio
from blake3 import blake3

from p2p.ids import PeerId
from storage.config import StorageClass
from storage.facade import (
    PLAIN,
    Durability,
    Mark,
    ObjectEntry,
    ObjectStat,
    PutReceipt,
    ReadCap,
    Trust,
    Unfinished,
)
from storage.ids import Address
from storage.limits import PAGE_SEGMENTS
from storage.manifest import Manifest
from storage.objects.keeper import Keeper
from storage.objects.keyring import Keyring, KeyRow
from storage.objects.parts import Parts
from storage.objects.reader import ObjectReader, SegmentCache
from storage.objects.words import survives_words
from storage.objects.writer import ObjectWriter, Stored
from storage.records.holders import Rows


class ObjectService:
    """Puts, gets and keeps objects. Calls are served while `run` runs."""

    def __init__(
        self, parts: Parts, keyring: Keyring, entrusted: Keyring, cache: SegmentCache
    ) -> None:
        self._parts = parts
        self._keyring = keyring
        self._entrusted = entrusted
        self._reader = ObjectReader(parts, cache)
        self._keeper = Keeper(parts, keyring)
        self._coding = trio.Lock()
        self._puts: dict[ObjectWriter, tuple[str, Mark]] = {}
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
        mark: Mark = PLAIN,
        trust: Trust | None = None,
    ) -> PutReceipt:
        """See storage.facade.Objects.put."""
        nursery = self._running()
        writer = ObjectWriter(self._parts, nursery, durability, storage_class, self._coding, trust)
        book = self._keyring if trust is None else self._entrusted
        hashed = _Hashed(source)
        is_kept = False
        self._puts[writer] = (name, mark)
        try:
            stored = await writer.store(hashed.read())
            row = self._row_of(stored, name, storage_class, mark, hashed.digest())
            await book.add(stored.receipt.cap.address, row)
            is_kept = True
        finally:
            del self._puts[writer]
            if not is_kept and self._nursery is not None:  # else the holds end by themselves
                nursery.start_soon(self._keeper.drop, writer.lease, list(writer.asked))
        return stored.receipt

    def _row_of(
        self, stored: Stored, name: str, storage_class: int, mark: Mark, digest: bytes
    ) -> KeyRow:
        receipt = stored.receipt
        return KeyRow(
            receipt.cap.key, stored.lease, name, receipt.size, storage_class,
            self._parts.wall_ms(), stored.until_ms, mark.kind, mark.task, mark.person, digest,
            _stored_bytes(receipt.size, receipt.k, receipt.n),
        )  # fmt: skip

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

    def entrusted(self) -> Sequence[ObjectEntry]:
        """What was put here for others and not handed over yet, the oldest first."""
        return self._entrusted.entries()

    def same(self, digest: bytes) -> Sequence[ObjectEntry]:
        """See storage.facade.Objects.same."""
        return self._keyring.same(digest)

    def unfinished(self) -> Sequence[Unfinished]:
        """Puts under way."""
        return [Unfinished(name, put.size, mark) for put, (name, mark) in self._puts.items()]

    async def adopt(self, cap: ReadCap, name: str, mark: Mark) -> bool:
        """See storage.facade.Objects.adopt."""
        parts, address = self._parts, cap.address
        if self._keyring.get(address) is not None:
            return True
        manifest = await parts.catalog.manifest(address)
        if (manifest.owner, manifest.lab) != (parts.owner, parts.lab):
            return False
        if self._keyring.holder_of(manifest.lease) is not None:
            return False  # whoever made it wants another object of ours dropped with it
        row = KeyRow(
            cap.key, manifest.lease, name, manifest.size, manifest.storage_class, parts.wall_ms(),
            parts.config.lease_ms(manifest.storage_class, parts.wall_ms()),
            mark.kind, mark.task, mark.person, b"",
            _stored_bytes(manifest.size, manifest.k, manifest.n),
        )  # fmt: skip
        await self._keyring.add(address, row)
        self._running().start_soon(self._keeper.renew_one, address, row)
        return True

    async def hand_over(self, address: Address) -> None:
        """See storage.facade.Objects.hand_over."""
        await self._entrusted.remove(address)

    async def forget(self, address: Address) -> bool:
        """Give up its leases; holders free the space. False when it is neither ours nor entrusted.

        What is both, put here for ourselves, goes from both.
        """
        row = self._keyring.get(address) or self._entrusted.get(address)
        if row is None:
            return False
        was_ours = await self._keyring.remove(address)
        if not (await self._entrusted.remove(address) or was_ours):
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


def _stored_bytes(size: int, k: int, n: int) -> int:
    return size * n // k


class _Hashed:
    """A byte stream on its way, and the hash of what went by."""

    def __init__(self, source: AsyncIterable[bytes]) -> None:
        self._source = source
        self._hash = blake3()

    async def read(self) -> AsyncGenerator[bytes, None]:
        """The same bytes."""
        try:
            async for piece in self._source:
                self._hash.update(piece)
                yield piece
        finally:
            if isinstance(self._source, AsyncGenerator):  # nobody else will, when we stop early
                await self._source.aclose()

    def digest(self) -> bytes:
        """Of all that was read."""
        return self._hash.digest()
