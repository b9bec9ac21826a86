"""The log of an ended task that still grows is put a few times at most, and one object is left."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.wire.codec import encode
from storage.engine.memory_tables import MemoryTables
from storage.engine.port import WriteView
from swarmnode.estate.growth import REMEMBERED_S, Growth
from swarmnode.estate.log_bundle import unpack_log
from swarmnode.estate.logs import LogKeeper
from swarmnode.estate.rows import ESTATES, EstateRow
from swarmnode.market.explain import TaskView
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.memory_objects import MemoryObjects, Pool
from testnet.sim.seeded import simulated
from tests.fake_market import ADA, FakeBuyer

YES, OTHER = TaskId("a" * 16), TaskId("b" * 16)
MIB = 1 << 20
HANDFUL = 6
COPY_EVERY_S = 7.0


class Lab:
    """A keeper of logs, and who copies the keyring every few seconds."""

    def __init__(self) -> None:
        self.market, self.tables, self.pool = FakeBuyer(), MemoryTables(), Pool()
        self.book, self.objects = LogBook(MemoryTables()), MemoryObjects(self.pool, ADA)
        self.keeper = LogKeeper(self.market, self.book, self.objects, self.tables)
        self.copied: dict[TaskId, bytes] = {}
        """In which object the newest copy of the keyring says that a log is."""
        for task in (YES, OTHER):
            record = TaskRecord(task, TaskSpec(("yes",)), 1000, TaskState.RUNNING)
            self.market.views[task] = TaskView(record)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.keeper.run)
            nursery.start_soon(self._copy)
            yield
            nursery.cancel_scope.cancel()

    async def _copy(self) -> None:
        while True:
            await self.keeper.settled(frozenset(self.ended()))
            made = {task: self.keeper.kept.at(task) for task in self.ended()}
            await trio.sleep(COPY_EVERY_S / 2)  # on its way: a crash here leaves the one before
            self.copied = made
            await self.keeper.copied()
            await trio.sleep(COPY_EVERY_S / 2)

    def ended(self) -> list[TaskId]:
        return [view.task for view in self.market.tasks() if view.has_ended]

    async def prints(self, task: TaskId, count: int = MIB) -> None:
        await self.book.take(task, 1, "stdout", self.book.extent(task, "stdout")[1], bytes(count))

    @property
    def puts(self) -> int:
        return self.objects._count

    @property
    def logs(self) -> int:
        return len(self.objects.entries())


@pytest.mark.parametrize("every_s", [1.0, 1.5, 0.2, 7.0])
@simulated
async def test_a_log_that_grows_for_a_minute_after_the_end_is_a_handful_of_objects(
    every_s: float,
) -> None:
    lab = Lab()
    async with lab.running():
        await lab.prints(YES)
        lab.market.finish(YES, state=TaskState.CANCELLED)
        for _ in range(int(60 / every_s)):
            await trio.sleep(every_s)
            await lab.prints(YES, int(MIB * every_s))
        await trio.sleep(60)
        assert 1 <= lab.puts <= HANDFUL
        assert lab.logs == 1
        kept = unpack_log(lab.pool.objects[lab.objects.entries()[0].cap.address], YES)
        assert kept is not None
        assert kept[0][0].length == lab.book.length(YES)


@simulated
async def test_a_log_that_is_whole_at_the_end_is_put_at_once_and_one_that_still_comes_soon() -> (
    None
):
    lab = Lab()
    async with lab.running():
        await lab.prints(YES)
        lab.market.finish(YES)
        await trio.sleep(2)
        assert lab.logs == 1
        lab.market.finish(OTHER)
        for _ in range(20):
            await trio.sleep(0.5)
            await lab.prints(OTHER)
        assert lab.logs == 2, "it came for ten seconds without a rest"


@simulated
async def test_the_object_that_a_copy_of_the_keyring_names_stays_until_a_newer_copy_stands() -> (
    None
):
    lab = Lab()
    async with lab.running():
        lab.market.finish(YES)
        for _ in range(120):
            await trio.sleep(0.5)
            await lab.prints(YES, 1000)
            assert lab.copied.get(YES, b"") in {b"", *lab.pool.objects}
        assert lab.copied[YES]


@simulated
async def test_a_removed_task_frees_every_object_with_its_log_and_none_with_anothers() -> None:
    lab = Lab()
    async with trio.open_nursery() as nursery:  # nobody copies the keyring
        await nursery.start(lab.keeper.run)
        for task in (YES, OTHER):
            await lab.prints(task)
            lab.market.finish(task)
        await trio.sleep(3)
        assert lab.logs == 1, "both are in one"
        await lab.prints(YES)
        await trio.sleep(5)
        await lab.prints(YES)
        await trio.sleep(5)
        assert lab.logs == 3
        await lab.market.forget(YES)
        assert await lab.keeper.kept.forget(YES) == 2
        assert lab.logs == 1
        await lab.market.forget(OTHER)
        assert await lab.keeper.kept.forget(OTHER) == 1
        assert lab.logs == 0
        nursery.cancel_scope.cancel()


@simulated
async def test_a_task_that_is_removed_while_its_log_is_put_leaves_nothing() -> None:
    lab = Lab()
    lab.pool.seconds_per_put = 5.0
    async with lab.running():
        await lab.prints(YES)
        lab.market.finish(YES)
        await trio.sleep(3)
        await lab.market.forget(YES)
        assert await lab.keeper.kept.forget(YES) == 0
        await trio.sleep(10)
        assert (lab.puts, lab.logs) == (1, 0)


def test_a_log_that_has_long_been_at_rest_is_put_at_once_when_more_comes() -> None:
    growth = Growth()
    for number in range(10):
        growth.grown(YES, float(number))
        growth.put(YES, float(number))
    assert growth.due_s(YES) > 20
    growth.forget_old(700.0)
    growth.grown(YES, 700.0)
    assert growth.due_s(YES) == 701.0
    assert growth.due_s(OTHER) < 0


def test_logs_at_rest_are_forgotten_also_while_others_grow_without_a_pause() -> None:
    growth = Growth()
    for number in range(10_000):
        growth.grown(TaskId(f"{number:016}"), float(number))
        growth.grown(YES, float(number))
        assert len(growth) <= REMEMBERED_S + 1


@simulated
async def test_a_log_that_is_to_be_put_much_later_holds_up_no_copy_of_the_keyring() -> None:
    lab = Lab()
    async with trio.open_nursery() as nursery:
        await nursery.start(lab.keeper.run)
        lab.market.finish(YES, state=TaskState.CANCELLED)
        for _ in range(120):
            await trio.sleep(0.5)
            await lab.prints(YES, 1000)
        begun_s = trio.current_time()
        assert await lab.keeper.settled(frozenset({YES})) == frozenset()
        assert trio.current_time() - begun_s < 0.5
        await lab.prints(OTHER)
        lab.market.finish(OTHER)
        assert await lab.keeper.settled(frozenset({YES, OTHER})) == {OTHER}
        nursery.cancel_scope.cancel()


@simulated
async def test_a_task_is_removed_from_among_thousands_without_a_standstill() -> None:
    lab, turns = Lab(), 0
    gone = [TaskId(f"{number:016}") for number in range(5000)]

    def write(view: WriteView) -> None:
        for task in gone:
            view.put(ESTATES, task.encode(), encode(EstateRow(log_bytes=1, log_at=bytes(32))))

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    await lab.tables.transact(write)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await trio.lowlevel.checkpoint()
        assert await lab.keeper.kept.forget(gone[0]) == 0
        nursery.cancel_scope.cancel()
    assert turns >= 5
