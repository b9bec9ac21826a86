"""What every body of ShardStore promises."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from p2p.workers import ThreadWorkers
from storage.coding.merkle import root_of, split_path, verify_leaf
from storage.engine.lmdb_tables import LmdbTables
from storage.engine.memory_tables import MemoryTables
from storage.engine.port import Tables, WriteView
from storage.errors import ShardCorruptError, ShardMissingError, StoreFullError
from storage.ids import ShardRoot
from storage.limits import INLINE_SHARD_BYTES, LEAF_BYTES, SHARD_BYTES_MAX
from storage.volumes.layout import footprint
from storage.volumes.memory import MemoryShardStore
from storage.volumes.port import ShardStore
from storage.volumes.store import VolumeStore

QUOTA = 24 * 1024 * 1024
SIZES = (0, 1, 4096, INLINE_SHARD_BYTES, INLINE_SHARD_BYTES + 1, 65_536, 100_000, 1 << 20)


@dataclass
class Lab:
    """One store and its tables; `again` opens what a restarted node would find."""

    store: ShardStore
    tables: Tables
    again: Callable[[], ShardStore]


def memory_lab(_folder: Path) -> Lab:
    tables = MemoryTables()

    def store() -> ShardStore:
        return MemoryShardStore(tables, quota_bytes=QUOTA)

    return Lab(store(), tables, store)


def segment_lab(folder: Path) -> Lab:
    tables = LmdbTables(folder / "tables")

    def store() -> ShardStore:
        return VolumeStore(
            folder / "segments", tables, ThreadWorkers(), quota_bytes=QUOTA, min_free_bytes=0
        )

    return Lab(store(), tables, store)


def twin_lab(folder: Path) -> Lab:
    tables = LmdbTables(folder / "tables")

    def store() -> ShardStore:
        return MemoryShardStore(tables, quota_bytes=QUOTA)

    return Lab(store(), tables, store)


LABS: dict[str, Callable[[Path], Lab]] = {
    "memory": memory_lab,
    "segments": segment_lab,
    "tables": twin_lab,
}


@pytest.fixture(params=sorted(LABS))
async def lab(
    request: pytest.FixtureRequest, tmp_path: Path, nursery: trio.Nursery
) -> AsyncIterator[Lab]:
    made = LABS[request.param](tmp_path)
    await nursery.start(made.tables.run)
    await nursery.start(made.store.run)
    with trio.fail_after(60):
        yield made


def shard(size: int, seed: int = 0) -> tuple[ShardRoot, bytes]:
    data = random.Random(size * 1000 + seed).randbytes(size)
    return root_of(data), data


@pytest.mark.parametrize("size", SIZES)
async def test_a_shard_comes_back_as_it_was_put(lab: Lab, size: int) -> None:
    root, data = shard(size)
    await lab.store.put(root, data)
    assert await lab.store.get(root) == data
    assert lab.store.length(root) == size


@pytest.mark.parametrize("size", SIZES)
async def test_a_shard_outlives_the_store_object(
    lab: Lab, size: int, nursery: trio.Nursery
) -> None:
    root, data = shard(size)
    await lab.store.put(root, data)
    again = lab.again()
    await nursery.start(again.run)
    assert await again.get(root) == data
    assert again.length(root) == size
    assert again.used_bytes() == footprint(size)


async def test_the_longest_shard_fits_and_a_longer_one_is_a_bug(lab: Lab) -> None:
    root, data = shard(SHARD_BYTES_MAX)
    await lab.store.put(root, data)
    assert await lab.store.get(root) == data
    root, data = shard(SHARD_BYTES_MAX + 1)
    with pytest.raises(ValueError, match="at most"):
        await lab.store.put(root, data)


async def test_bytes_that_do_not_match_the_root_are_refused(lab: Lab) -> None:
    root, data = shard(100_000)
    with pytest.raises(ShardCorruptError):
        await lab.store.put(root, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ShardCorruptError):
        await lab.store.put(root, data[:-1])
    assert lab.store.length(root) is None
    assert lab.store.used_bytes() == 0


async def test_a_shard_that_is_not_here_is_missing(lab: Lab) -> None:
    root, _ = shard(1)
    assert lab.store.length(root) is None
    for odd in (root, ShardRoot(b""), ShardRoot(b"x" * 600)):
        with pytest.raises(ShardMissingError):
            await lab.store.get(odd)
        with pytest.raises(ShardMissingError):
            await lab.store.read(odd, 0, 1)
    assert await lab.store.delete([root, ShardRoot(b""), ShardRoot(b"x" * 600)]) == 0


@pytest.mark.parametrize("size", [1000, 100_000])
async def test_also_is_committed_with_the_shard(lab: Lab, size: int) -> None:
    root, data = shard(size)
    await lab.store.put(root, data, lambda view: view.put("leases", root, b"1"))
    assert lab.tables.get("leases", root) == b"1"
    await lab.store.put(root, data, lambda view: view.put("leases", root, b"2"))
    assert lab.tables.get("leases", root) == b"2"


@pytest.mark.parametrize("size", [1000, 100_000])
async def test_a_refusing_also_leaves_no_shard(lab: Lab, size: int) -> None:
    root, data = shard(size)

    def refuse(view: WriteView) -> None:
        view.put("leases", root, b"1")
        raise LookupError("no lease for you")

    free = lab.store.free_bytes()
    with pytest.raises(LookupError):
        await lab.store.put(root, data, refuse)
    assert lab.store.length(root) is None
    assert lab.tables.get("leases", root) is None
    assert lab.store.used_bytes() == 0
    assert lab.store.free_bytes() >= free - 4096 * 4
    await lab.store.put(root, data)
    assert await lab.store.get(root) == data


@pytest.mark.parametrize("size", [1000, 100_000])
async def test_putting_twice_stores_once(lab: Lab, size: int) -> None:
    root, data = shard(size)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(lab.store.put, root, data)
    await lab.store.put(root, data)
    assert lab.store.used_bytes() == footprint(size)
    assert await lab.store.get(root) == data


@pytest.mark.parametrize("size", SIZES)
async def test_a_range_verifies_leaf_by_leaf(lab: Lab, size: int) -> None:
    root, data = shard(size)
    await lab.store.put(root, data)
    for start, length in ((0, 1), (0, size), (size // 2, 40_000), (size // 3, 1), (size, 5)):
        body, paths = await lab.store.read(root, start, length)
        first = start // LEAF_BYTES
        wanted = data[start : start + length]
        assert body[start - first * LEAF_BYTES :][: len(wanted)] == wanted
        for at, path in enumerate(paths):
            leaf = body[at * LEAF_BYTES : (at + 1) * LEAF_BYTES]
            assert verify_leaf(root, size, first + at, leaf, split_path(path))
        if wanted:
            assert len(paths) == -(-len(body) // LEAF_BYTES)


async def test_a_range_past_the_end_is_empty(lab: Lab) -> None:
    root, data = shard(100_000)
    await lab.store.put(root, data)
    for start, length in ((100_000, 1), (1 << 40, 1 << 40), (5, 0), (-5, 10), (5, -1)):
        assert await lab.store.read(root, start, length) == (b"", [])


async def test_deleting_forgets_and_frees(lab: Lab, nursery: trio.Nursery) -> None:
    shards = [shard(size) for size in SIZES]
    for root, data in shards:
        await lab.store.put(root, data)
    freed = await lab.store.delete([root for root, _ in shards[::2]])
    assert freed == sum(footprint(size) for size in SIZES[::2])
    again = lab.again()
    await nursery.start(again.run)
    for store in (lab.store, again):
        assert store.used_bytes() == sum(footprint(size) for size in SIZES[1::2])
        for at, (root, data) in enumerate(shards):
            if at % 2:
                assert await store.get(root) == data
                continue
            assert store.length(root) is None
            with pytest.raises(ShardMissingError):
                await store.get(root)
    assert await lab.store.delete([root for root, _ in shards[::2]]) == 0


async def test_a_deleted_shard_can_be_put_again(lab: Lab) -> None:
    root, data = shard(100_000)
    for _ in range(3):
        await lab.store.put(root, data)
        assert await lab.store.get(root) == data
        assert await lab.store.delete([root, root]) == footprint(100_000)


async def test_a_full_quota_refuses_and_takes_again_after_a_delete(lab: Lab) -> None:
    held: list[ShardRoot] = []
    for seed in range(QUOTA // footprint(1 << 20)):
        root, data = shard(1 << 20, seed)
        await lab.store.put(root, data)
        held.append(root)
    root, data = shard(1 << 20, 100)
    with pytest.raises(StoreFullError):
        await lab.store.put(root, data)
    assert lab.store.used_bytes() + lab.store.free_bytes() == QUOTA
    await lab.store.delete(held[:1])
    root, data = shard(1 << 20, 200)
    await lab.store.put(root, data)
    assert await lab.store.get(root) == data


async def test_puts_at_once_do_not_overrun_the_quota(lab: Lab) -> None:
    full: list[int] = []

    async def put(seed: int) -> None:
        root, data = shard(1 << 20, seed)
        try:
            await lab.store.put(root, data)
        except StoreFullError:
            full.append(seed)

    async with trio.open_nursery() as nursery:
        for seed in range(30):
            nursery.start_soon(put, seed)
    assert len(full) == 30 - QUOTA // footprint(1 << 20)
    assert 0 <= lab.store.used_bytes() <= QUOTA


async def test_put_get_and_delete_of_one_shard_may_race(lab: Lab) -> None:
    root, data = shard(100_000)

    async def put() -> None:
        for _ in range(20):
            await lab.store.put(root, data)

    async def get() -> None:
        for _ in range(40):
            try:
                assert await lab.store.get(root) == data
                await lab.store.read(root, 20_000, 30_000)
            except ShardMissingError:
                await trio.lowlevel.checkpoint()

    async def delete() -> None:
        for _ in range(20):
            await lab.store.delete([root])

    async with trio.open_nursery() as nursery:
        for task in (put, get, delete, put, get, delete):
            nursery.start_soon(task)
    await lab.store.put(root, data)
    assert await lab.store.get(root) == data
    await lab.store.delete([root])
    assert lab.store.used_bytes() == 0


async def test_a_cancelled_put_leaves_the_store_whole(lab: Lab) -> None:
    for number in range(20):
        root, data = shard(100_000, number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.store.put, root, data)
            for _ in range(number):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        if lab.store.length(root) is not None:
            assert await lab.store.get(root) == data
    held = [root for n in range(20) if lab.store.length(root := shard(100_000, n)[0]) is not None]
    assert lab.store.used_bytes() == len(held) * footprint(100_000)
