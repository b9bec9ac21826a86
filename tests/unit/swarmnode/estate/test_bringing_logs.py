"""A log that comes slowly from the pool holds up nobody who reads another."""

from collections.abc import AsyncIterator
from functools import partial

import trio
import trio.testing

from p2p.ids import PeerId
from p2p.wire.codec import encode
from storage.engine.memory_tables import MemoryTables
from storage.engine.port import WriteView
from storage.facade import Mark, ObjectKind, ReadCap
from swarmnode.estate.log_bundle import pack_logs
from swarmnode.estate.logs import LogKeeper
from swarmnode.estate.rows import ESTATES, EstateRow
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from testnet.sim.memory_objects import MemoryObjects, Pool
from testnet.sim.seeded import simulated
from tests.fake_market import FakeBuyer

SLOW, QUICK, HERE = (TaskId(letter * 16) for letter in "abc")


def _write(task: TaskId, row: bytes, view: WriteView) -> None:
    view.put(ESTATES, task.encode(), row)


class OneIsSlow(MemoryObjects):
    """Objects of which one comes when `go` is set."""

    def __init__(self) -> None:
        super().__init__(Pool(), PeerId("me"))
        self.go, self.slow, self.reads = trio.Event(), b"", 0

    async def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        self.reads += 1
        if cap.address == self.slow:
            await self.go.wait()
        async for piece in super().get(cap, start=start, length=length):
            yield piece


@simulated
async def test_a_slow_one_is_fetched_once_and_nobody_else_waits_for_it() -> None:
    tables, objects, here = MemoryTables(), OneIsSlow(), LogBook(MemoryTables())
    await here.take(HERE, 1, "stdout", 0, b"here\n")
    for task in (SLOW, QUICK, HERE):
        had = LogBook(MemoryTables())
        await had.take(task, 1, "stdout", 0, b"kept\n")
        put = await objects.put(pack_logs(had, [task]), mark=Mark(ObjectKind.LOG, task))
        row = encode(EstateRow(log_bytes=5, log_at=put.cap.address))
        await tables.transact(partial(_write, task, row))
        objects.slow = objects.slow or put.cap.address
    keeper = LogKeeper(FakeBuyer(), here, objects, tables)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(keeper.kept.bring, SLOW)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            await keeper.kept.bring(QUICK)
            await keeper.kept.bring(HERE)
        assert here.length(QUICK) == 5
        assert here.length(SLOW) == 0
        objects.go.set()
    assert here.length(SLOW) == 5
    assert objects.reads == 2
    assert not keeper.kept._bringing


@simulated
async def test_half_a_log_that_came_from_elsewhere_does_not_hide_the_whole_one() -> None:
    """Who ran the task began to bring it, and was lost."""
    tables, objects, here = MemoryTables(), OneIsSlow(), LogBook(MemoryTables())
    had = LogBook(MemoryTables())
    whole = b"".join(b"line %d\n" % number for number in range(1000))
    await had.take(QUICK, 1, "stdout", 0, whole)
    put = await objects.put(pack_logs(had, [QUICK]), mark=Mark(ObjectKind.LOG, QUICK))
    row = encode(EstateRow(log_bytes=had.length(QUICK), log_at=put.cap.address))
    await tables.transact(partial(_write, QUICK, row))
    await here.take(QUICK, 1, "stdout", 0, b"line 0\n")
    keeper = LogKeeper(FakeBuyer(), here, objects, tables)
    await keeper.kept.bring(QUICK)
    read = here.read(QUICK, "stdout", follow=lambda: False)
    assert b"".join([piece async for piece in read]) == whole
    await here.take(HERE, 1, "stdout", 0, b"more than was put")
    await tables.transact(
        partial(_write, HERE, encode(EstateRow(log_bytes=5, log_at=put.cap.address)))
    )
    await keeper.kept.bring(HERE)
    assert here.length(HERE) == 17
