"""Logs as the bytes of an object."""

from collections.abc import AsyncIterator

import pytest

from storage.engine.memory_tables import MemoryTables
from storage.errors import ManifestError
from swarmnode.estate.log_bundle import pack_logs, unpack_log
from swarmnode.limits import LOG_PAGE_BYTES
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from testnet.sim.seeded import simulated

ONE, OTHER, QUIET = TaskId("a" * 16), TaskId("b" * 16), TaskId("c" * 16)


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def said(book: LogBook, task: TaskId, stream: str = "stdout") -> bytes:
    return await joined(book.read(task, stream, follow=lambda: False))


@simulated
async def test_of_several_tasks_in_one_object_each_comes_back_by_itself() -> None:
    book = LogBook(MemoryTables())
    data = b"line\n" * LOG_PAGE_BYTES
    for at in range(0, len(data), LOG_PAGE_BYTES):
        await book.take(ONE, 3, "stdout", at, data[at : at + LOG_PAGE_BYTES])
    await book.take(OTHER, 1, "stderr", 0, b"oh")
    bundle = await joined(pack_logs(book, [ONE, OTHER]))
    back = LogBook(MemoryTables())
    for task in (OTHER, ONE):
        found = unpack_log(bundle, task)
        assert found is not None
        await back.take_back(task, *found)
    assert await said(back, ONE) == data
    assert await said(back, OTHER, "stderr") == b"oh"
    assert back.streams(ONE) == book.streams(ONE)
    assert unpack_log(bundle, QUIET) is None


@simulated
async def test_bytes_that_are_no_logs_are_refused() -> None:
    book = LogBook(MemoryTables())
    await book.take(ONE, 1, "stdout", 0, b"hello")
    bundle = await joined(pack_logs(book, [ONE]))
    for bad in (bundle[:-1], b"\xff" * 9, bundle[:4] + b"\x00" * (len(bundle) - 4)):
        with pytest.raises(ManifestError, match="cannot be read"):
            unpack_log(bad, ONE)
