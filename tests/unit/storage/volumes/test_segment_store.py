"""Shards in volumes: what only a real disk can do wrong."""

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2p.workers import ThreadWorkers
from storage.coding.merkle import root_of, split_path, verify_leaf
from storage.engine.lmdb_tables import LmdbTables
from storage.errors import ShardCorruptError, ShardMissingError, StoreFailedError, StoreFullError
from storage.ids import ShardRoot
from storage.limits import BLOCK_BYTES, LEAF_BYTES
from storage.volumes.layout import INDEX_TABLE, extent_bytes, footprint
from storage.volumes.punch import punch_hole
from storage.volumes.store import VolumeStore
from tests.small_disk import small_disk

MIB = 1 << 20
Punch = Callable[[int, int, int], bool]


def shard(size: int, seed: int = 0) -> tuple[ShardRoot, bytes]:
    data = random.Random(size * 1000 + seed).randbytes(size)
    return root_of(data), data


def never_punch(fd: int, offset: int, size: int) -> bool:
    return False


@asynccontextmanager
async def opened(
    folder: Path,
    *,
    quota_bytes: int = 1 << 40,
    min_free_bytes: int = 0,
    file_bytes: int = 64 * MIB,
    punch: Punch = punch_hole,
) -> AsyncIterator[VolumeStore]:
    tables = LmdbTables(folder / "tables", map_bytes=1 << 30)
    store = VolumeStore(
        folder / "segments",
        tables,
        ThreadWorkers(),
        quota_bytes=quota_bytes,
        min_free_bytes=min_free_bytes,
        file_bytes=file_bytes,
        punch=punch,
    )
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(tables.run)
                await nursery.start(store.run)
                yield store
                nursery.cancel_scope.cancel()
    finally:
        tables.close()


def files_in(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*.seg"))


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in files_in(folder))


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 8]))


async def test_a_flipped_bit_is_found_and_costs_one_shard(tmp_path: Path) -> None:
    (bad, data), (good, other) = shard(200_000), shard(200_000, 1)
    async with opened(tmp_path) as store:
        await store.put(bad, data)
        await store.put(good, other)
        flip(files_in(tmp_path)[0], 3 * LEAF_BYTES + 5)
        with pytest.raises(ShardCorruptError):
            await store.get(bad)
        with pytest.raises(ShardCorruptError):
            await store.read(bad, 3 * LEAF_BYTES, 1)
        body, paths = await store.read(bad, 0, 3 * LEAF_BYTES)
        assert body == data[: 3 * LEAF_BYTES]
        assert verify_leaf(bad, len(data), 2, body[2 * LEAF_BYTES :], split_path(paths[2]))
        assert await store.get(good) == other
        await store.delete([bad])
        await store.put(bad, data)
        assert await store.get(bad) == data


async def test_a_flipped_bit_in_the_stored_hashes_is_found_by_ranges(tmp_path: Path) -> None:
    root, data = shard(200_000)
    async with opened(tmp_path) as store:
        await store.put(root, data)
        flip(files_in(tmp_path)[0], len(data) + 40)
        with pytest.raises(ShardCorruptError):
            await store.read(root, 0, 10)
        assert await store.get(root) == data


async def test_a_flipped_bit_of_a_small_shard_is_found(tmp_path: Path) -> None:
    root, data = shard(5000)
    async with opened(tmp_path) as store:
        await store.put(root, data)
    tables = tmp_path / "tables" / "data.mdb"
    flip(tables, tables.read_bytes().index(data) + 1000)
    async with opened(tmp_path) as store:
        with pytest.raises(ShardCorruptError):
            await store.get(root)
        with pytest.raises(ShardCorruptError):
            await store.read(root, 0, 10)


async def test_a_damaged_index_record_costs_one_shard(tmp_path: Path) -> None:
    shards = [shard(20_000, seed) for seed in range(20)]
    async with opened(tmp_path) as store:
        for root, data in shards:
            await store.put(root, data)
    tables = tmp_path / "tables" / "data.mdb"
    lost = shards[7][0]
    content = tables.read_bytes()
    # all pages that ever held the record: the live one is among them
    at = content.find(lost)
    while at >= 0:
        flip(tables, at + len(lost) + 10)
        at = content.find(lost, at + 1)
    async with opened(tmp_path) as store:
        for root, data in shards:
            if root != lost:
                assert await store.get(root) == data
        with pytest.raises(ShardMissingError):
            await store.get(lost)
        assert store.used_bytes() == 19 * footprint(20_000)
        await store.put(*shards[7])
        assert await store.get(lost) == shards[7][1]


async def test_a_lost_segment_file_is_a_lost_shard_not_a_lost_node(tmp_path: Path) -> None:
    root, data = shard(200_000)
    async with opened(tmp_path) as store:
        await store.put(root, data)
    files_in(tmp_path)[0].unlink()
    async with opened(tmp_path) as store:
        with pytest.raises(ShardCorruptError):
            await store.get(root)
        await store.delete([root])
        await store.put(root, data)
        assert await store.get(root) == data


async def test_what_a_crash_left_past_the_last_commit_is_cut_off(tmp_path: Path) -> None:
    root, data = shard(200_000)
    async with opened(tmp_path) as store:
        await store.put(root, data)
    with files_in(tmp_path)[0].open("ab") as file:
        file.write(bytes(MIB))
    (tmp_path / "segments" / "000000ff.seg").write_bytes(bytes(MIB))
    async with opened(tmp_path) as store:
        assert [path.stat().st_size for path in files_in(tmp_path)] == [extent_bytes(200_000)]
        assert await store.get(root) == data
        await store.put(*shard(200_000, 1))
        assert await store.get(shard(200_000, 1)[0]) == shard(200_000, 1)[1]


async def test_deleting_gives_the_disk_its_space_back_at_once(tmp_path: Path) -> None:
    shards = [shard(300_000, seed) for seed in range(20)]
    async with opened(tmp_path) as store:
        for root, data in shards:
            await store.put(root, data)
        full = disk_bytes(tmp_path)
        await store.delete([root for root, _ in shards[::2]])
        assert disk_bytes(tmp_path) <= full * 0.5 + 20 * BLOCK_BYTES
        for root, data in shards[1::2]:
            assert await store.get(root) == data


async def test_space_not_yet_given_back_at_a_crash_is_given_back_at_the_start(
    tmp_path: Path,
) -> None:
    shards = [shard(300_000, seed) for seed in range(6)]
    async with opened(tmp_path, punch=lambda fd, offset, size: True) as store:  # cut off before it
        for root, data in shards:
            await store.put(root, data)
        await store.delete([root for root, _ in shards[:3]])
        assert disk_bytes(tmp_path) >= 6 * 300_000
    async with opened(tmp_path) as store:
        assert disk_bytes(tmp_path) <= 3 * extent_bytes(300_000) + 3 * BLOCK_BYTES
        for root, data in shards[3:]:
            assert await store.get(root) == data


async def test_empty_files_are_removed(tmp_path: Path) -> None:
    shards = [shard(MIB, seed) for seed in range(10)]
    async with opened(tmp_path, file_bytes=3 * MIB) as store:
        for root, data in shards:
            await store.put(root, data)
        assert len(files_in(tmp_path)) == 5
        await store.delete([root for root, _ in shards[:-1]])
        assert len(files_in(tmp_path)) == 1
        await store.delete([root for root, _ in shards])
    async with opened(tmp_path, file_bytes=3 * MIB) as store:
        assert files_in(tmp_path) == []
        await store.put(*shards[0])
        assert await store.get(shards[0][0]) == shards[0][1]


async def test_where_holes_are_refused_space_is_used_again(tmp_path: Path) -> None:
    shards = [shard(300_000, seed) for seed in range(12)]
    async with opened(tmp_path, punch=never_punch) as store:
        for root, data in shards[:6]:
            await store.put(root, data)
        size = files_in(tmp_path)[0].stat().st_size
        await store.delete([root for root, _ in shards[:3]])
        for root, data in shards[6:8]:
            await store.put(root, data)
        assert files_in(tmp_path)[0].stat().st_size == size
    async with opened(tmp_path, punch=never_punch) as store:
        await store.put(*shards[8])
        assert files_in(tmp_path)[0].stat().st_size == size
        for root, data in shards[3:9]:
            assert await store.get(root) == data


async def test_a_folder_of_other_tables_is_refused(tmp_path: Path) -> None:
    root, data = shard(200_000)
    for name in ("alice", "bob"):
        async with opened(tmp_path / name) as store:
            await store.put(root, data)
    (tmp_path / "alice" / "segments").rename(tmp_path / "away")
    (tmp_path / "bob" / "segments").rename(tmp_path / "alice" / "segments")
    with pytest.RaisesGroup(pytest.RaisesExc(StoreFailedError, match="other tables")):
        async with opened(tmp_path / "alice"):
            pass


@pytest.mark.parametrize("left", [b"", b"\0" * 16, None])
async def test_an_id_that_a_power_cut_took_is_written_again(
    tmp_path: Path, left: bytes | None
) -> None:
    root, data = shard(200_000)
    async with opened(tmp_path) as store:
        await store.put(root, data)
    mark = tmp_path / "segments" / "id"
    mark.write_bytes(mark.read_bytes()[:5] if left is None else left)
    async with opened(tmp_path) as store:
        assert await store.get(root) == data
    assert len(mark.read_bytes()) == 16


async def test_an_id_that_is_damaged_beside_tables_that_know_nothing_is_no_new_store(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as store:
        await store.put(*shard(200_000))
    (tmp_path / "tables").rename(tmp_path / "away")
    (tmp_path / "segments" / "id").write_bytes(b"")
    with pytest.RaisesGroup(pytest.RaisesExc(StoreFailedError, match="restore the tables")):
        async with opened(tmp_path):
            pass
    assert files_in(tmp_path)


async def test_a_folder_that_is_not_mounted_is_not_an_empty_store(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.put(*shard(200_000))
    (tmp_path / "segments").rename(tmp_path / "away")
    with pytest.RaisesGroup(pytest.RaisesExc(StoreFailedError, match="mounted")):
        async with opened(tmp_path):
            pass


async def test_lost_tables_do_not_make_the_shards_of_a_folder_rubbish(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.put(*shard(200_000))
    (tmp_path / "tables").rename(tmp_path / "away")
    with pytest.RaisesGroup(pytest.RaisesExc(StoreFailedError, match="other tables")):
        async with opened(tmp_path):
            pass
    assert files_in(tmp_path)


async def test_the_reserve_of_the_disk_is_respected(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    async with opened(tmp_path, min_free_bytes=disk.f_blocks * disk.f_frsize) as store:
        assert store.free_bytes() == 0
        with pytest.raises(StoreFullError):
            await store.put(*shard(200_000))
        with pytest.raises(StoreFullError):
            await store.put(*shard(10))


async def test_a_full_disk_refuses_and_the_store_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=12) as disk:
        async with opened(disk, min_free_bytes=-100 * MIB) as store:  # as if others filled it
            held = []
            with pytest.raises(StoreFullError):  # noqa: PT012 - how many fit is not ours to say
                for seed in range(100):
                    await store.put(*shard(500_000, seed))
                    held.append(seed)
            assert len(held) > 5
            await store.delete([shard(500_000, seed)[0] for seed in held[:4]])
            await store.put(*shard(500_000, 200))
            for seed in [*held[4:], 200]:
                root, data = shard(500_000, seed)
                assert await store.get(root) == data
        async with opened(disk) as store:
            assert store.used_bytes() == (len(held) - 3) * footprint(500_000)


async def test_puts_at_once_share_syncs(tmp_path: Path) -> None:
    synced: list[list[int]] = []
    async with opened(tmp_path) as store:
        plain = store._files.sync

        def counting(numbers: "list[int]") -> None:
            synced.append(list(numbers))
            plain(numbers)

        store._sync._sync = counting  # type: ignore[assignment]
        async with trio.open_nursery() as nursery:
            for seed in range(40):
                nursery.start_soon(store.put, *shard(50_000, seed))
    assert len(synced) < 30


async def test_the_index_names_no_shard_whose_put_was_refused_late(tmp_path: Path) -> None:
    root, data = shard(200_000)
    async with opened(tmp_path) as store:

        def refuse(view: object) -> None:
            raise LookupError

        for _ in range(3):
            with pytest.raises(LookupError):
                await store.put(root, data, refuse)
        assert store._tables.scan(INDEX_TABLE) == []
        assert disk_bytes(tmp_path) <= BLOCK_BYTES * 2


async def test_a_put_on_its_way_ends_well_when_everything_is_stopped_at_once(
    tmp_path: Path,
) -> None:
    tables = LmdbTables(tmp_path / "tables", map_bytes=1 << 30)
    store = VolumeStore(
        tmp_path / "segments", tables, ThreadWorkers(), quota_bytes=1 << 30, min_free_bytes=0
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(tables.run)
        await nursery.start(store.run)
        first_is_in = trio.Event()

        async def put(seed: int) -> None:
            await store.put(*shard(300_000, seed))
            first_is_in.set()

        for seed in range(12):
            nursery.start_soon(put, seed)
        await first_is_in.wait()
        nursery.cancel_scope.cancel()
    tables.close()
    async with opened(tmp_path) as again:
        held = [seed for seed in range(12) if again.length(shard(300_000, seed)[0]) is not None]
        assert held
        for seed in held:
            assert await again.get(shard(300_000, seed)[0]) == shard(300_000, seed)[1]
