"""Shards on a disk: bulk in volumes, their places and the small ones in the tables.

put   verify -> write into the file -> fdatasync (shared) -> commit place and `also` -> return
get   index in memory -> read -> verify
A crash before the commit leaves bytes no record names: the next start cuts or punches them.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from p2p.workers import Workers
from storage.coding.merkle import HASH_BYTES, Tree, leaf_hash, root_of
from storage.engine.port import Tables, WriteView
from storage.errors import (
    RecordCorruptError,
    ShardCorruptError,
    ShardMissingError,
    StoreFailedError,
    StoreFullError,
)
from storage.ids import ShardRoot
from storage.limits import DELETES_AT_ONCE, LEAF_BYTES, SEGMENT_FILE_BYTES, SHARD_BYTES_MAX
from storage.volumes.files import VolumeFiles
from storage.volumes.group_sync import GroupSync
from storage.volumes.layout import (
    INDEX_TABLE,
    INLINE_TABLE,
    Location,
    extent_bytes,
    footprint,
    is_inline,
    leaf_range,
    leaves_of,
    pack_location,
    unpack_location,
)
from storage.volumes.punch import punch_hole
from storage.volumes.space import Extent, Space
from storage.volumes.start import ID_KEY, ID_TABLE, check_folder, put_in_order, read_index
from storage.volumes.uninterrupted import uninterrupted

ResultT = TypeVar("ResultT")


class VolumeStore:
    """`storage.volumes.port.ShardStore` in `folder`, indexed by `tables`, which must be running."""

    def __init__(
        self,
        folder: Path,
        tables: Tables,
        workers: Workers,
        *,
        quota_bytes: int,
        min_free_bytes: int,
        file_bytes: int = SEGMENT_FILE_BYTES,
        punch: Callable[[int, int, int], bool] = punch_hole,
    ) -> None:
        self._folder, self._tables, self._workers = folder, tables, workers
        self._quota_bytes, self._min_free_bytes = quota_bytes, min_free_bytes
        self._files = VolumeFiles(folder, punch)
        self._sync = GroupSync(workers, self._files.sync)
        self._file_bytes = file_bytes
        self._space = Space(file_bytes)
        self._index: dict[bytes, bytes] = {}
        """root -> packed Location, as the last commit has it."""
        self._used = 0
        """Footprints of these."""
        self._reserved = 0
        """Footprints of shards that are being written."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read the index, put the files in order, then serve until cancelled."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._load()
        try:
            task_status.started()
            await self._sync.run()
        finally:
            self._files.close()

    async def put(
        self, root: ShardRoot, data: bytes, also: Callable[[WriteView], None] | None = None
    ) -> None:
        """See the port. Not cancellable once it writes: that takes two fsyncs."""
        if len(data) > SHARD_BYTES_MAX:
            raise ValueError(f"a shard has at most {SHARD_BYTES_MAX} bytes, not {len(data)}")
        async with uninterrupted():
            if root in self._index:
                if await self._workers.run(lambda: root_of(data)) != root:
                    raise ShardCorruptError(root)
                if await self._tables.transact(partial(_if_here, root, also)):
                    return
            with self._reserve(footprint(len(data))):
                if is_inline(len(data)):
                    await self._put_inline(root, data, also)
                else:
                    await self._put_in_file(root, data, also)

    async def get(self, root: ShardRoot) -> bytes:
        """See the port."""
        return await self._look(root, partial(_whole, self._files, self._tables, root))

    async def read(self, root: ShardRoot, start: int, length: int) -> tuple[bytes, list[bytes]]:
        """See the port."""
        return await self._look(
            root, partial(_part, self._files, self._tables, root, start, length)
        )

    def length(self, root: ShardRoot) -> int | None:
        """See the port."""
        record = self._index.get(root)
        return None if record is None else unpack_location(record).length

    async def delete(self, roots: Sequence[ShardRoot]) -> int:
        """See the port."""
        known = [root for root in dict.fromkeys(roots) if root in self._index]
        freed = 0
        for at in range(0, len(known), DELETES_AT_ONCE):
            async with uninterrupted():
                freed += await self._delete(known[at : at + DELETES_AT_ONCE])
        return freed

    def used_bytes(self) -> int:
        """See the port."""
        return self._used

    def free_bytes(self) -> int:
        """See the port."""
        disk = self._files.free_bytes() - self._min_free_bytes
        return max(0, min(self._quota_bytes - self._used, disk) - self._reserved)

    async def _delete(self, roots: Sequence[ShardRoot]) -> int:
        gone = await self._tables.free(partial(_forget, roots))
        for root in roots:
            self._refresh(root)
        await self._release([_extent(where) for where in gone if where.file])
        return sum(footprint(where.length) for where in gone)

    async def _put_inline(
        self, root: ShardRoot, data: bytes, also: Callable[[WriteView], None] | None
    ) -> None:
        if root_of(data) != root:
            raise ShardCorruptError(root)

        def write(view: WriteView) -> None:
            view.put(INLINE_TABLE, root, data)
            view.put(INDEX_TABLE, root, pack_location(Location(0, 0, len(data))))
            if also is not None:
                also(view)

        await self._tables.transact(write)
        self._refresh(root)

    async def _put_in_file(
        self, root: ShardRoot, data: bytes, also: Callable[[WriteView], None] | None
    ) -> None:
        extent = self._space.take(extent_bytes(len(data)))
        record = pack_location(Location(extent.file, extent.offset, len(data)))
        release = True
        try:
            await self._workers.run(partial(_write, self._files, extent, root, data))
            await self._sync.flush(extent.file)
            release = not await self._tables.transact(partial(_place, root, record, also))
        except StoreFailedError:
            release = False  # whether the record was committed is uncertain: the next start knows
            raise
        finally:
            self._refresh(root)
            if release:
                await self._release([extent])

    async def _look(self, root: ShardRoot, job: Callable[[Location], ResultT | None]) -> ResultT:
        """Run `job` on the shard's place; once more if it was moved or deleted meanwhile."""
        while True:
            record = self._index.get(root)
            if record is None:
                await trio.lowlevel.checkpoint()
                raise ShardMissingError(f"no shard {root.hex()[:16]} here")
            result = await self._workers.run(partial(job, unpack_location(record)))
            if result is not None:
                return result
            self._refresh(root)
            if self._index.get(root) == record:
                raise ShardCorruptError(root)

    async def _release(self, extents: Sequence[Extent]) -> None:
        """Give space back to the disk; where that is refused, use it again."""
        empty = self._space.give(extents)
        partly = [extent for extent in extents if extent.file not in empty]

        def free() -> list[Extent]:
            self._files.remove(empty)
            return self._files.punch(partly)

        self._space.reuse(await self._workers.run(free))

    @contextmanager
    def _reserve(self, size: int) -> Iterator[None]:
        free = self.free_bytes()
        if size > free:
            raise StoreFullError(f"{size} bytes do not fit into the {free} that are free")
        self._reserved += size
        try:
            yield
        finally:
            self._reserved -= size

    def _refresh(self, root: ShardRoot) -> None:
        """Agree with the last commit, whichever of the callers of one group wakes first."""
        self._remember(root, self._tables.get(INDEX_TABLE, root))

    def _remember(self, root: ShardRoot, record: bytes | None) -> None:
        before = self._index.pop(root, None)
        if before is not None:
            self._used -= footprint(unpack_location(before).length)
        if record is not None:
            self._index[root] = record
            self._used += footprint(unpack_location(record).length)

    async def _load(self) -> None:
        store_id = await self._tables.transact(_id_of_store)
        index: dict[bytes, bytes] = {}
        damaged = await self._workers.run(partial(read_index, self._tables, index))
        await self._tables.transact(partial(_drop, damaged))
        known = any(unpack_location(record).file for record in index.values())
        check = partial(check_folder, self._folder, self._files, store_id, known=known)
        await self._workers.run(check)
        order = partial(put_in_order, self._files, list(index.values()), self._file_bytes)
        self._space = await self._workers.run(order)
        self._index = index
        lengths = (unpack_location(record).length for record in index.values())
        self._used = sum(footprint(length) for length in lengths)


def _extent(where: Location) -> Extent:
    return Extent(where.file, where.offset, extent_bytes(where.length))


def _write(files: VolumeFiles, extent: Extent, root: ShardRoot, data: bytes) -> None:
    tree = Tree(data)
    if tree.root != root:
        raise ShardCorruptError(root)
    files.write(extent, (data, b"".join(tree.leaves)))


def _read(files: VolumeFiles, tables: Tables, root: ShardRoot, where: Location) -> bytes:
    if where.file:
        return files.read(where.file, where.offset, where.length)
    try:
        return tables.get(INLINE_TABLE, root) or b""
    except RecordCorruptError:
        return b"\xff"  # of no shard at all: the hash of the shard decides


def _whole(files: VolumeFiles, tables: Tables, root: ShardRoot, where: Location) -> bytes | None:
    """The shard, or None when it does not match its root."""
    data = _read(files, tables, root, where)
    return data if root_of(data) == root else None


def _part(
    files: VolumeFiles, tables: Tables, root: ShardRoot, start: int, count: int, where: Location
) -> tuple[bytes, list[bytes]] | None:
    """Leaves and their paths, or None when they do not match the root."""
    wanted = leaf_range(where.length, start, count)
    if not where.file:
        data = _read(files, tables, root, where)
        tree = Tree(data)
        body = data[wanted.start * LEAF_BYTES : wanted.stop * LEAF_BYTES]
    else:
        size = leaves_of(where.length) * HASH_BYTES
        stored = files.read(where.file, where.offset + where.length, size)
        leaves = [stored[at : at + HASH_BYTES] for at in range(0, size, HASH_BYTES)]
        tree = Tree.from_leaves(where.length, leaves)
        begin = wanted.start * LEAF_BYTES
        end = min(wanted.stop * LEAF_BYTES, where.length)
        body = files.read(where.file, where.offset + begin, end - begin) if wanted else b""
    hashes = [leaf_hash(body[at : at + LEAF_BYTES]) for at in range(0, len(body), LEAF_BYTES)]
    if tree.root != root or (hashes or [leaf_hash(b"")])[: len(wanted)] != [
        tree.leaves[leaf] for leaf in wanted
    ]:
        return None
    return body, [b"".join(tree.path(leaf)) for leaf in wanted]


def _if_here(root: ShardRoot, also: Callable[[WriteView], None] | None, view: WriteView) -> bool:
    if view.get(INDEX_TABLE, root) is None:
        return False
    if also is not None:
        also(view)
    return True


def _place(
    root: ShardRoot, record: bytes, also: Callable[[WriteView], None] | None, view: WriteView
) -> bool:
    """Make the shard exist; False when another put was first, whose copy stays."""
    fresh = view.get(INDEX_TABLE, root) is None
    if fresh:
        view.put(INDEX_TABLE, root, record)
    if also is not None:
        also(view)
    return fresh


def _forget(roots: Sequence[ShardRoot], view: WriteView) -> list[Location]:
    gone: list[Location] = []
    for root in roots:
        record = view.get(INDEX_TABLE, root)
        if record is not None:
            gone.append(unpack_location(record))
            view.delete(INDEX_TABLE, root)
            view.delete(INLINE_TABLE, root)
    return gone


def _drop(damaged: Iterable[bytes], view: WriteView) -> None:
    for root in damaged:
        view.delete(INDEX_TABLE, root)
        view.delete(INLINE_TABLE, root)


def _id_of_store(view: WriteView) -> bytes:
    store_id = view.get(ID_TABLE, ID_KEY)
    if store_id is None:
        store_id = os.urandom(16)
        view.put(ID_TABLE, ID_KEY, store_id)
    return store_id
