"""Shards kept in tables: in memory for simulations, in LMDB as the twin the volumes are
compared with. A crash of the tables is a crash of the shards."""

from collections.abc import Callable, Sequence

import trio

from storage.coding.merkle import Tree, root_of
from storage.engine.port import Tables, WriteView
from storage.errors import RecordCorruptError, ShardCorruptError, ShardMissingError, StoreFullError
from storage.ids import ShardRoot
from storage.limits import LEAF_BYTES, SHARD_BYTES_MAX
from storage.volumes.layout import (
    INDEX_TABLE,
    INLINE_TABLE,
    Location,
    footprint,
    leaf_range,
    pack_location,
    unpack_location,
)
from storage.volumes.uninterrupted import uninterrupted

QUOTA_BYTES = 1 << 40
"""A simulation that says nothing about space has plenty."""


class MemoryShardStore:
    """`storage.volumes.port.ShardStore` over any Tables; hashes inline, so use small shards."""

    def __init__(self, tables: Tables, *, quota_bytes: int = QUOTA_BYTES) -> None:
        self._tables = tables
        self._quota_bytes = quota_bytes
        self._lengths: dict[bytes, int] = {}
        """root -> bytes of the shard, as the last commit has it."""
        self._used = 0
        """Footprints of these."""
        self._reserved = 0
        """Footprints of new ones that are being written."""
        self._load()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Nothing to serve: wait to be cancelled."""
        task_status.started()
        await trio.sleep_forever()

    def crash(self) -> None:
        """Start anew from the tables; call `crash()` of MemoryTables first."""
        self._load()

    async def put(
        self, root: ShardRoot, data: bytes, also: Callable[[WriteView], None] | None = None
    ) -> None:
        """See the port."""
        if len(data) > SHARD_BYTES_MAX:
            raise ValueError(f"a shard has at most {SHARD_BYTES_MAX} bytes, not {len(data)}")
        if root_of(data) != root:
            raise ShardCorruptError(root)
        need = 0 if root in self._lengths else footprint(len(data))
        if need > self.free_bytes():
            raise StoreFullError(f"{need} bytes do not fit into {self.free_bytes()} free")

        def write(view: WriteView) -> None:
            view.put(INLINE_TABLE, root, data)
            view.put(INDEX_TABLE, root, pack_location(Location(0, 0, len(data))))
            if also is not None:
                also(view)

        self._reserved += need
        try:
            async with uninterrupted():
                await self._tables.transact(write)
        finally:
            self._reserved -= need
            self._refresh(root)

    async def get(self, root: ShardRoot) -> bytes:
        """See the port."""
        await trio.lowlevel.checkpoint()
        data = self._data(root)
        if root_of(data) != root:
            raise ShardCorruptError(root)
        return data

    async def read(self, root: ShardRoot, start: int, length: int) -> tuple[bytes, list[bytes]]:
        """See the port."""
        data = await self.get(root)
        tree, leaves = Tree(data), leaf_range(len(data), start, length)
        body = data[leaves.start * LEAF_BYTES : leaves.stop * LEAF_BYTES]
        return body, [b"".join(tree.path(leaf)) for leaf in leaves]

    def length(self, root: ShardRoot) -> int | None:
        """See the port."""
        return self._lengths.get(root)

    async def delete(self, roots: Sequence[ShardRoot]) -> int:
        """See the port."""
        known = [root for root in roots if root in self._lengths]

        def forget(view: WriteView) -> int:
            freed = 0
            for root in known:
                record = view.get(INDEX_TABLE, root)
                if record is not None:
                    view.delete(INDEX_TABLE, root)
                    view.delete(INLINE_TABLE, root)
                    freed += footprint(unpack_location(record).length)
            return freed

        async with uninterrupted():
            freed = await self._tables.free(forget)
        for root in known:
            self._refresh(root)
        return freed

    def used_bytes(self) -> int:
        """See the port."""
        return self._used

    def free_bytes(self) -> int:
        """See the port."""
        return max(0, self._quota_bytes - self._used - self._reserved)

    async def rot(self, root: ShardRoot, at: int = 0) -> None:
        """Change one bit of a shard, as a failing disk would."""

        def flip(view: WriteView) -> None:
            data = bytearray(view.get(INLINE_TABLE, root) or b"")
            data[at] ^= 1
            view.put(INLINE_TABLE, root, bytes(data))

        await self._tables.transact(flip)

    def _data(self, root: ShardRoot) -> bytes:
        if root not in self._lengths:
            raise ShardMissingError(f"no shard {root.hex()[:16]} here")
        try:
            data = self._tables.get(INLINE_TABLE, root)
        except RecordCorruptError:
            raise ShardCorruptError(root) from None
        if data is None:
            raise ShardMissingError(f"shard {root.hex()[:16]} was just deleted")
        return data

    def _refresh(self, root: ShardRoot) -> None:
        """Agree with the last commit, whichever of the callers of one group wakes first."""
        record = self._tables.get(INDEX_TABLE, root)
        before = self._lengths.pop(root, None)
        if before is not None:
            self._used -= footprint(before)
        if record is not None:
            self._lengths[root] = unpack_location(record).length
            self._used += footprint(self._lengths[root])

    def _load(self) -> None:
        self._lengths, after = {}, None
        while batch := self._tables.scan(INDEX_TABLE, after=after):
            for root, record in batch:
                self._lengths[root] = unpack_location(record).length
            after = batch[-1][0]
        self._used = sum(footprint(length) for length in self._lengths.values())
