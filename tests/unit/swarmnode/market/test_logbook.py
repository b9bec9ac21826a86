from contextlib import aclosing

import pytest
import trio

from storage.engine.memory_tables import MemoryTables
from swarmnode.errors import LogStaleError
from swarmnode.limits import LOG_PAGE_BYTES
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.store import LOG_PAGES, LOG_STREAMS
from testnet.sim.seeded import simulated

TASK, OTHER = TaskId("a" * 16), TaskId("b" * 16)


async def kept(book: LogBook, task: TaskId = TASK, stream: str = "stdout") -> bytes:
    return b"".join([piece async for piece in book.read(task, stream, follow=lambda: False)])


async def push_all(book: LogBook, data: bytes, piece: int = 100_000, fence: int = 1) -> None:
    for at in range(0, len(data), piece):
        assert await book.take(TASK, fence, "stdout", at, data[at : at + piece]) == min(
            at + piece, len(data)
        )


@simulated
async def test_what_is_pushed_is_read_back_and_streams_are_apart() -> None:
    book = LogBook(MemoryTables())
    data = bytes(range(256)) * 1000
    await push_all(book, data, piece=7_777)
    await book.take(TASK, 1, "stderr", 0, b"oh")
    await book.take(OTHER, 1, "stdout", 0, b"ah")
    assert await kept(book) == data
    assert await kept(book, stream="stderr") == b"oh"
    assert await kept(book, OTHER) == b"ah"


@simulated
async def test_pieces_that_come_twice_or_too_early_change_nothing() -> None:
    book = LogBook(MemoryTables())
    assert await book.take(TASK, 1, "stdout", 0, b"hello") == 5
    assert await book.take(TASK, 1, "stdout", 0, b"hello") == 5
    assert await book.take(TASK, 1, "stdout", 9, b"!") == 5
    assert await book.take(TASK, 1, "stdout", -3, b"?") == 5
    assert await book.take(TASK, 1, "stdout", 3, b"lo world") == 11
    assert await kept(book) == b"hello world"


@simulated
async def test_what_each_attempt_printed_can_be_told_apart() -> None:
    book = LogBook(MemoryTables())
    await book.take(TASK, 2, "stdout", 0, b"one ")
    await book.take(TASK, 5, "stdout", 0, b"")
    await book.take(TASK, 6, "stdout", 0, b"three")

    async def of(attempt: int) -> bytes:
        reading = book.read(TASK, "stdout", follow=lambda: False, attempt=attempt)
        return b"".join([piece async for piece in reading])

    assert [await of(one) for one in (0, 1, 2, 5, 6, 7)] == [
        b"one three", b"", b"one ", b"", b"three", b"",
    ]  # fmt: skip


@simulated
async def test_a_new_attempt_goes_on_where_the_last_had_come_to() -> None:
    book = LogBook(MemoryTables())
    await book.take(TASK, 1, "stdout", 0, b"one ")
    assert await book.take(TASK, 2, "stdout", 0, b"two") == 3
    with pytest.raises(LogStaleError):
        await book.take(TASK, 1, "stdout", 4, b"late")
    assert await book.take(TASK, 2, "stdout", 3, b"!") == 4
    assert await kept(book) == b"one two!"


@simulated
@pytest.mark.parametrize("size", [10, LOG_PAGE_BYTES, 3 * LOG_PAGE_BYTES])
async def test_what_an_attempt_printed_that_never_was_gives_way_to_the_one_before_it(
    size: int,
) -> None:
    book, first = LogBook(MemoryTables()), b"1" * size
    await book.take(TASK, 1, "stdout", 0, first)
    await book.take(TASK, 2, "stdout", 0, b"2" * (2 * size + 5))
    await book.take(TASK, 3, "stdout", 0, b"3" * size)
    await book.take(TASK, 2, "stderr", 0, b"oh")
    await book.cut_back(TASK, lambda fence: fence == 1)
    assert await kept(book) == first
    assert await kept(book, stream="stderr") == b""
    assert book.extent(TASK, "stdout") == (1, size)
    assert await book.take(TASK, 1, "stdout", size, b"rest") == size + 4
    assert await book.take(TASK, 66, "stdout", 0, b"!") == 1
    assert await kept(book) == first + b"rest!"


@simulated
async def test_attempts_that_count_keep_what_they_printed() -> None:
    book = LogBook(MemoryTables())
    await book.take(TASK, 1, "stdout", 0, b"one ")
    await book.take(TASK, 2, "stdout", 0, b"two")
    before = book.streams(TASK)
    await book.cut_back(TASK, lambda fence: fence <= 2)
    assert book.streams(TASK) == before
    assert await kept(book) == b"one two"


@simulated
async def test_the_beginning_and_the_end_of_a_long_log_are_kept() -> None:
    book, pages = LogBook(MemoryTables(), head_pages=2, tail_pages=3), LOG_PAGE_BYTES
    data = b"".join(bytes([page]) * pages for page in range(20)) + b"end"
    await push_all(book, data)
    gap = f"\n[{len(data) - 2 * pages - (2 * pages + 3)} bytes are not kept]\n".encode()
    assert await kept(book) == data[: 2 * pages] + gap + data[-2 * pages - 3 :]


@simulated
async def test_a_log_just_within_its_bound_has_no_gap() -> None:
    book = LogBook(MemoryTables(), head_pages=2, tail_pages=3)
    data = bytes(5 * LOG_PAGE_BYTES)
    await push_all(book, data)
    assert await kept(book) == data


@simulated
async def test_a_reader_that_follows_gets_what_comes_until_the_end() -> None:
    book = LogBook(MemoryTables())
    has_ended = False
    got: list[bytes] = []

    async def follow() -> None:
        async for piece in book.read(TASK, "stdout", follow=lambda: not has_ended):
            got.append(piece)  # noqa: PERF401

    assert not book.is_followed(TASK, "stdout")
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            assert book.is_followed(TASK, "stdout")
            assert not book.is_followed(TASK, "stderr")
            await book.take(TASK, 1, "stdout", 0, b"first ")
            await trio.testing.wait_all_tasks_blocked()
            assert got == [b"first "]
            await book.take(TASK, 1, "stdout", 6, b"last")
            has_ended = True
            book.wake(TASK)
    assert b"".join(got) == b"first last"
    assert not book.is_followed(TASK, "stdout")


@simulated
async def test_logs_survive_a_crash_up_to_what_was_acknowledged() -> None:
    tables = MemoryTables()
    assert await LogBook(tables).take(TASK, 1, "stdout", 0, b"safe") == 4
    tables.crash()
    book = LogBook(tables)
    assert await book.take(TASK, 1, "stdout", 0, b"safe and more") == 13
    assert await kept(book) == b"safe and more"


@simulated
async def test_forgetting_a_task_leaves_nothing_of_it() -> None:
    tables = MemoryTables()
    book = LogBook(tables)
    await push_all(book, bytes(600 * LOG_PAGE_BYTES), piece=200 * LOG_PAGE_BYTES)
    await book.take(OTHER, 1, "stdout", 0, b"stays")
    assert book.tasks() == [TASK, OTHER]
    await book.forget(TASK)
    assert book.tasks() == [OTHER]
    assert len(tables.scan(LOG_PAGES)) == len(tables.scan(LOG_STREAMS)) == 1


@simulated
async def test_a_reader_that_stops_early_is_no_follower_any_more() -> None:
    book = LogBook(MemoryTables())
    await book.take(TASK, 1, "stdout", 0, b"x")
    async with aclosing(book.read(TASK, "stdout", follow=lambda: True)) as reader:
        assert await anext(reader) == b"x"
        assert book.is_followed(TASK, "stdout")
    assert not book.is_followed(TASK, "stdout")


@simulated
async def test_logs_of_a_forgotten_task_go_on_a_full_disk_too() -> None:
    tables = MemoryTables()
    book = LogBook(tables)
    await push_all(book, b"line" * 100_000)
    tables.is_full = True
    await book.forget(TASK)
    assert book.tasks() == []
    assert not tables.scan(LOG_PAGES)


@simulated
async def test_a_log_comes_whole_to_another_machine_and_replaces_none() -> None:
    book, tables = LogBook(MemoryTables()), MemoryTables()
    other = LogBook(tables)
    data = bytes(range(256)) * 5000
    await push_all(book, b"lost attempt ")
    await push_all(book, data, fence=2)
    await book.take(TASK, 2, "stderr", 0, b"oh")
    assert book.length(TASK) == 13 + len(data) + 2
    await other.take_back(TASK, book.streams(TASK), list(book.pages(TASK)))
    tables.crash()
    other = LogBook(tables)
    assert await kept(other) == b"lost attempt " + data
    assert await kept(other, stream="stderr") == b"oh"
    assert other.extent(TASK, "stdout") == (2, len(data))
    await other.take(TASK, 2, "stdout", len(data), b"!")
    await other.take_back(TASK, book.streams(TASK), list(book.pages(TASK)))
    assert (await kept(other))[-1:] == b"!"
