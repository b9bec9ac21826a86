"""Chunks on disk: a file for others once it is whole and checked, and harmless when it leaves."""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarmnode.datasets.chunks import ChunkFiles

SIZE = 1 << 16
PARTS = [random.Random(n).randbytes(SIZE) for n in range(4)]
WHOLE = b"".join(PARTS)


def files(folder: Path, room: int = 1 << 30) -> ChunkFiles:
    kept = ChunkFiles(folder, lambda: room)
    kept.look()
    return kept


def fill(kept: ChunkFiles, key: str = "k", count: int = 4) -> None:
    for number in range(count):
        kept.write((key, number * SIZE), PARTS[number])


def read_all(fd: int | None) -> bytes | None:
    if fd is None:
        return None
    with open(fd, "rb") as file:
        return file.read()


def test_a_content_is_a_file_once_its_last_chunk_is_here(tmp_path: Path) -> None:
    kept = files(tmp_path)
    fill(kept, count=3)
    assert kept.whole("k", len(WHOLE)) is None
    kept.write(("k", 3 * SIZE), PARTS[3])
    assert read_all(kept.whole("k", len(WHOLE))) == WHOLE
    assert kept.read(("k", SIZE)) == PARTS[1]
    assert kept.read_part(("k", 2 * SIZE), 10, 20) == PARTS[2][10:30]


def test_what_a_node_before_us_left_is_no_file_for_others_before_each_chunk_was_checked(
    tmp_path: Path,
) -> None:
    fill(files(tmp_path))
    kept = files(tmp_path)
    for number in range(4):
        assert kept.whole("k", len(WHOLE)) is None
        assert kept.read(("k", number * SIZE)) == PARTS[number]
    assert read_all(kept.whole("k", len(WHOLE))) == WHOLE


@pytest.mark.parametrize("was_whole", [False, True])
def test_a_damaged_content_is_never_given_to_others(tmp_path: Path, was_whole: bool) -> None:
    kept = files(tmp_path)
    fill(kept)
    name = "bytes"
    if was_whole:
        read_all(kept.whole("k", len(WHOLE)))
        name = "whole"
    with open(tmp_path / "k" / name, "r+b") as file:
        file.seek(SIZE + 5)
        file.write(b"!" if PARTS[1][5:6] != b"!" else b"?")
    kept = files(tmp_path)
    assert [kept.read(("k", n * SIZE)) is None for n in range(2)] == [False, True]
    assert kept.whole("k", len(WHOLE)) is None
    assert not kept.has(("k", SIZE))


def test_a_file_that_others_read_leaves_as_one_and_who_has_it_keeps_every_byte(
    tmp_path: Path,
) -> None:
    kept = files(tmp_path)
    fill(kept)
    fd = kept.whole("k", len(WHOLE))
    kept.shrink(3 * SIZE)
    assert kept.taken_bytes == 0
    assert os.listdir(tmp_path) == []
    fill(kept, count=2)
    assert kept.read(("k", SIZE)) == PARTS[1]
    assert read_all(fd) == WHOLE


def test_after_a_restart_nothing_is_taken_out_of_a_file_that_others_may_read(
    tmp_path: Path,
) -> None:
    kept = files(tmp_path)
    fill(kept)
    fd = kept.whole("k", len(WHOLE))
    kept = files(tmp_path)
    kept.shrink(3 * SIZE)
    assert kept.taken_bytes == 0
    assert read_all(fd) == WHOLE


def test_one_chunk_leaves_and_its_blocks_are_free_while_the_others_stay(tmp_path: Path) -> None:
    kept = files(tmp_path)
    fill(kept)
    before = (tmp_path / "k" / "bytes").stat().st_blocks
    assert kept.read(("k", 0)) == PARTS[0]
    kept.shrink(kept.taken_bytes - 1)
    assert kept.read(("k", SIZE)) is None
    assert [kept.read(("k", n * SIZE)) for n in (0, 2, 3)] == [PARTS[0], PARTS[2], PARTS[3]]
    assert (tmp_path / "k" / "bytes").stat().st_blocks <= before - SIZE // 512
    kept.write(("k", SIZE), PARTS[1])
    assert read_all(kept.whole("k", len(WHOLE))) == WHOLE


def test_what_somebody_reads_by_himself_leaves_last(tmp_path: Path) -> None:
    kept = files(tmp_path)
    fill(kept, "held")
    fill(kept, "other")
    kept.hold("held")
    kept.shrink(kept.taken_bytes - 1)
    assert kept.has(("held", 0))
    assert not kept.has(("other", 0))
    kept.release("held")
    kept.shrink(kept.taken_bytes - 1)
    assert kept.has(("held", 0))
    assert not kept.has(("other", SIZE))
    kept.shrink(0)
    assert kept.taken_bytes == 0


def test_what_many_threads_write_at_a_time_takes_no_more_than_the_room(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def room() -> int:
        together.wait(10)
        return 3 * SIZE + 1000

    kept = ChunkFiles(tmp_path, room)
    kept.look()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: kept.write((f"k{n}", 0), PARTS[n % 4]), range(8)))
    assert 0 < kept.taken_bytes <= 3 * (SIZE + 32)
    assert sum(file.stat().st_size for file in tmp_path.rglob("bytes")) <= 3 * SIZE


def test_what_was_on_its_way_when_a_node_was_killed_takes_no_room(tmp_path: Path) -> None:
    fill(files(tmp_path))
    (tmp_path / "k" / f"{SIZE}.{SIZE}").unlink()
    (tmp_path / "k" / "new.7").write_bytes(b"half")
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "bytes").write_bytes(bytes(SIZE))
    before = (tmp_path / "k" / "bytes").stat().st_blocks
    kept = files(tmp_path)
    assert (tmp_path / "k" / "bytes").stat().st_blocks <= before - SIZE // 512
    assert os.listdir(tmp_path) == ["k"]
    assert kept.read(("k", 2 * SIZE)) == PARTS[2]
    assert kept.read(("k", SIZE)) is None


def test_a_whole_file_of_which_a_chunk_is_missing_is_of_no_use(tmp_path: Path) -> None:
    kept = files(tmp_path)
    fill(kept)
    read_all(kept.whole("k", len(WHOLE)))
    (tmp_path / "k" / f"{SIZE}.{SIZE}").unlink()
    assert files(tmp_path).taken_bytes == 0
    assert os.listdir(tmp_path) == []
