"""Tables in LMDB: what only a real file can do wrong."""

import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from storage.engine.lmdb_tables import LmdbTables
from storage.engine.port import WriteView
from storage.errors import RecordCorruptError, StoreFailedError, StoreFullError
from storage.limits import COMMIT_BYTES_MAX, RESERVE_BYTES, TABLES_MAX
from tests.small_disk import small_disk


def put(key: bytes, value: bytes = b"v", table: str = "t") -> Callable[[WriteView], None]:
    return lambda view: view.put(table, key, value)


@asynccontextmanager
async def running(path: Path, *, map_bytes: int = 1 << 30) -> AsyncIterator[LmdbTables]:
    tables = LmdbTables(path, map_bytes=map_bytes)
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(tables.run)
                yield tables
                nursery.cancel_scope.cancel()
    finally:
        tables.close()


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        await tables.transact(put(b"k", b"v", "one"))
        await tables.transact(put(b"k", b"w", "two"))
    async with running(tmp_path / "s") as tables:
        assert (tables.get("one", b"k"), tables.get("two", b"k")) == (b"v", b"w")


async def test_what_is_queued_at_the_end_is_still_committed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with running(path) as tables, trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(tables.transact, put(bytes([number])))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with running(path) as tables:
        assert len(tables.scan("t")) == 50


async def test_parts_that_end_later_can_still_write(tmp_path: Path) -> None:
    tables = LmdbTables(tmp_path / "s")
    async with trio.open_nursery() as nursery:
        await nursery.start(tables.run)
        nursery.cancel_scope.cancel()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(tables.transact, put(bytes([number])))
    assert len(tables.scan("t")) == 10
    tables.close()


async def test_after_close_nothing_is_taken(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        await tables.transact(put(b"k"))
    with pytest.raises(StoreFailedError):
        tables.get("t", b"k")
    with pytest.raises(StoreFailedError, match="takes no writes"):
        await tables.transact(put(b"k"))


async def test_who_waits_shares_a_commit(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        await tables.transact(put(b"first"))
        before = tables._environment.info()["last_txnid"]
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(tables.transact, put(bytes([number])))
        assert tables._environment.info()["last_txnid"] - before <= 3


async def test_a_group_ends_at_its_bytes(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        before = tables._environment.info()["last_txnid"]
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(tables.transact, put(bytes([number]), bytes(1 << 20)))
        assert tables._environment.info()["last_txnid"] - before >= 12 / (COMMIT_BYTES_MAX >> 20)
        assert len(tables.scan("t")) == 12


async def test_an_apply_that_only_reads_costs_no_commit(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        await tables.transact(put(b"k"))
        before = tables._environment.info()["last_txnid"]
        assert await tables.transact(lambda view: view.get("t", b"k")) == b"v"
        assert tables._environment.info()["last_txnid"] == before


async def test_the_number_of_tables_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        for number in range(TABLES_MAX - 1):  # one is the store's own
            await tables.transact(put(b"k", b"v", f"table {number}"))
        with pytest.raises(ValueError, match="already"):
            await tables.transact(put(b"k", b"v", "one too many"))
        await tables.transact(put(b"k", b"w", "table 0"))
    async with running(tmp_path / "s") as tables:
        assert tables.get("table 62", b"k") == b"v"


async def test_every_flipped_bit_of_a_value_is_noticed(tmp_path: Path) -> None:
    path, value = tmp_path / "s", b"a value that can be found " * 8
    async with running(path) as tables:
        await tables.transact(put(b"good", b"sound"))
        await tables.transact(put(b"bad", value))
    data = bytearray((path / "data.mdb").read_bytes())
    at = data.rindex(value)
    data[at + 100] ^= 4
    (path / "data.mdb").write_bytes(data)
    async with running(path) as tables:
        assert tables.get("t", b"good") == b"sound"
        with pytest.raises(RecordCorruptError, match=f"626164.*{tmp_path}.*restore") as caught:
            tables.get("t", b"bad")
        assert (caught.value.table, caught.value.key) == ("t", b"bad")
        with pytest.raises(RecordCorruptError):
            tables.scan("t")
        with pytest.raises(RecordCorruptError):
            await tables.transact(lambda view: view.get("t", b"bad"))
        assert await tables.transact(lambda view: view.delete("t", b"bad"))
        assert tables.scan("t") == [(b"good", b"sound")]


def test_a_foreign_folder_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreFailedError, match=r"data\.mdb is missing"):
        LmdbTables(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, b"SQLite format 3\0" * 1024])
def test_a_file_that_is_no_store_never_becomes_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(StoreFailedError):
        LmdbTables(tmp_path)


async def test_a_store_whose_file_was_cut_short_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        await tables.transact(put(b"k", bytes(80 << 20)))
    os.truncate(tmp_path / "s" / "data.mdb", 5 << 20)
    with pytest.raises(StoreFailedError, match="cut short"):
        LmdbTables(tmp_path / "s")


@pytest.mark.parametrize("size", [4096, 8192, 12_288, 20_000])
async def test_a_small_store_cut_short_is_refused_before_a_page_is_read(
    tmp_path: Path, size: int
) -> None:
    async with running(tmp_path / "s") as tables:
        for number in range(5):
            await tables.transact(put(b"k", bytes(5000), f"t{number}"))
    os.truncate(tmp_path / "s" / "data.mdb", size)
    with pytest.raises(StoreFailedError, match="move it away to start anew"):
        LmdbTables(tmp_path / "s")


async def test_a_record_cut_off_at_the_end_is_no_absent_one(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        for number in range(3):
            await tables.transact(put(bytes([number]), b"v" * (4 << 20)))
    os.truncate(tmp_path / "s" / "data.mdb", 10 << 20)
    async with running(tmp_path / "s") as tables:
        assert tables.get("t", bytes([0])) == b"v" * (4 << 20)
        with pytest.raises(StoreFailedError):
            tables.get("t", bytes([2]))


async def test_a_store_opens_again_after_commits_that_freed_all_they_wrote(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        for _ in range(5):
            async with trio.open_nursery() as nursery:  # together in one group
                nursery.start_soon(tables.transact, put(b"k", bytes(3 << 20)))
                nursery.start_soon(tables.transact, lambda view: view.delete("t", b"k"))
        await tables.transact(put(b"after", b"v"))
    async with running(tmp_path / "s") as tables:
        assert tables.get("t", b"after") == b"v"
        await tables.transact(put(b"again", bytes(8 << 20)))


async def test_a_store_opens_once(tmp_path: Path) -> None:
    async with running(tmp_path / "s"):
        with pytest.raises(StoreFailedError, match="already open"):
            LmdbTables(tmp_path / "s")


async def test_a_first_start_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "s.new").mkdir()
    (tmp_path / "s.new" / "data.mdb").write_bytes(b"half")
    async with running(tmp_path / "s") as tables:
        await tables.transact(put(b"k"))
    assert not (tmp_path / "s.new").exists()


async def test_a_child_of_a_fork_may_not_use_the_store(tmp_path: Path) -> None:
    async with running(tmp_path / "s") as tables:
        await tables.transact(put(b"k"))
        tables._pid += 1  # as it looks from a child; a real fork of a threaded loop is no test
        with pytest.raises(StoreFailedError, match="fork"):
            tables.get("t", b"k")
        tables._pid -= 1


async def test_a_full_map_refuses_one_write_and_takes_the_others(tmp_path: Path) -> None:
    async with running(tmp_path / "s", map_bytes=1 << 20) as tables:
        await tables.transact(put(b"k", bytes(100_000)))
        full: list[int] = []

        async def try_put(size: int) -> None:
            try:
                await tables.transact(put(b"%d" % size, bytes(size)))
            except StoreFullError:
                full.append(size)

        async with trio.open_nursery() as nursery:
            for size in (10, 2_000_000, 20, 3_000_000, 30):
                nursery.start_soon(try_put, size)
        assert sorted(full) == [2_000_000, 3_000_000]
        assert [key for key, _ in tables.scan("t")] == [b"10", b"20", b"30", b"k"]
        await tables.transact(lambda view: view.delete("t", b"k"))


async def test_a_full_disk_writes_nothing_and_the_store_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        async with running(disk / "s") as tables:
            await tables.transact(put(b"kept", bytes(1 << 20)))
            written = 0
            with pytest.raises(StoreFullError):  # noqa: PT012 - how many fit is not ours to say
                for number in range(100):
                    await tables.transact(put(b"%d" % number, bytes(300_000)))
                    written += 1
            assert written > 3
            assert len(tables.scan("t")) == written + 1
            await tables.transact(lambda view: view.delete("t", b"0"))
            await tables.transact(lambda view: view.delete("t", b"1"))
            # freed pages are used again from the second commit on
            await tables.transact(put(b"again", bytes(200_000)))
        async with running(disk / "s") as tables:
            keys = {key for key, _ in tables.scan("t")}
            assert keys == {b"kept", b"again", *(b"%d" % n for n in range(2, written))}


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_failed_commit_ends_the_store(tmp_path: Path) -> None:
    tables = LmdbTables(tmp_path / "s", map_bytes=1 << 30)
    failed: list[StoreFailedError] = []

    async def write(number: int) -> None:
        try:
            await tables.transact(put(bytes([number]), bytes(3 << 20)))
        except StoreFailedError as error:
            failed.append(error)

    async def serve_and_write() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(tables.run)
            with files_limited_to(1 << 20):
                async with trio.open_nursery() as writers:
                    for number in range(5):
                        writers.start_soon(write, number)

    with trio.fail_after(30), pytest.raises(ExceptionGroup) as caught:
        await serve_and_write()
    assert caught.group_contains(StoreFailedError, match="commit failed")
    assert len(failed) == 5
    with pytest.raises(StoreFailedError):
        await tables.transact(put(b"k"))
    tables.close()
    async with running(tmp_path / "s") as again:
        assert again.scan("t") == []


def fill(disk: Path) -> None:
    """As another program would: to the last byte."""
    with suppress(OSError), (disk / "theirs").open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass


async def test_a_disk_that_others_filled_up_still_lets_go_of_things(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=60) as disk:
        async with running(disk / "s") as tables:
            assert (disk / "s" / "reserve").stat().st_size == RESERVE_BYTES
            for number in range(20):
                await tables.transact(put(b"%d" % number, bytes(50_000)))
            fill(disk)
            with pytest.raises(StoreFullError):
                await tables.transact(put(b"more", bytes(3 << 20)))
            for number in range(20):
                assert await tables.free(partial(deleted, b"%d" % number))
            assert tables.scan("t") == []
        (disk / "theirs").unlink()
        async with running(disk / "s") as tables:
            assert (disk / "s" / "reserve").stat().st_size == RESERVE_BYTES, "set aside again"


def deleted(key: bytes, view: WriteView) -> bool:
    return view.delete("t", key)


@pytest.mark.parametrize("left_kib", [0, 8, 16, 20])
def test_a_store_that_has_no_room_to_begin_says_so_and_begins_when_there_is(
    tmp_path: Path, left_kib: int
) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        (disk / "theirs").write_bytes(bytes((1 << 20) - (left_kib << 10)))
        begin = (
            "import sys; from pathlib import Path\n"
            "from storage.engine.lmdb_tables import LmdbTables\n"
            "LmdbTables(Path(sys.argv[1])).close()"
        )
        words = [sys.executable, "-c", begin, str(disk / "s")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 1, "a signal would have ended it without a word"
        assert "StoreFailedError" in done.stderr
        assert "room" in done.stderr or "free some space" in done.stderr
        (disk / "theirs").unlink()
        subprocess.run(words, check=True)
