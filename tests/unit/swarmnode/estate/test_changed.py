"""What a task leaves is looked for where something has changed, however many tasks there are."""

from contextlib import aclosing

import trio

from storage.engine.memory_tables import MemoryTables
from swarmnode.estate.changed import Changed
from swarmnode.estate.logs import LATE_LOGS_EVERY_S, REST_S, LogKeeper
from swarmnode.estate.rows import row_of
from swarmnode.market.explain import TaskView
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.memory_objects import MemoryObjects, Pool
from testnet.sim.seeded import simulated
from tests.fake_market import ADA, FakeBuyer

MANY = 1000
NEW = TaskId("b" * 16)


class CountingLogBook(LogBook):
    """Counts whose lengths are asked for."""

    looks = 0

    def length(self, task: TaskId) -> int:
        self.looks += 1
        return super().length(task)


def market_with(many: int) -> FakeBuyer:
    market, outcome = FakeBuyer(), Outcome("done", 0, "exit")
    for number in range(many):
        task = TaskId(f"a{number:015}")
        record = TaskRecord(task, TaskSpec(("true",)), 1000, TaskState.DONE, outcome=outcome)
        market.views[task] = TaskView(record)
    market.views[NEW] = TaskView(TaskRecord(NEW, TaskSpec(("true",)), 1000, TaskState.RUNNING))
    return market


async def taken(changed: Changed) -> list[TaskId]:
    return [view.task async for view in changed.take()]


@simulated
async def test_all_tasks_are_looked_at_first_and_then_those_that_changed() -> None:
    market = market_with(3)
    changed = Changed(market)
    assert await taken(changed) == list(market.views)
    assert await taken(changed) == []
    changed.note(NEW)
    changed.note(TaskId("c" * 16))  # forgotten since
    assert await taken(changed) == [NEW]
    changed.note_all()
    assert await taken(changed) == list(market.views)


@simulated
async def test_a_look_at_many_tasks_pauses_and_loses_nothing_that_changes_meanwhile() -> None:
    changed, seen = Changed(market_with(MANY)), 0
    async for _ in changed.take():
        if seen == 0:
            changed.note(NEW)
        seen += 1
    assert seen == MANY + 1
    assert await taken(changed) == [NEW]


@simulated
async def test_the_end_of_one_task_costs_no_look_at_the_logs_of_all_others() -> None:
    tables, logs, market = MemoryTables(), CountingLogBook(MemoryTables()), market_with(MANY)
    keeper = LogKeeper(market, logs, MemoryObjects(Pool(), ADA), tables)
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.run)
        await trio.sleep(LATE_LOGS_EVERY_S / 2)
        assert logs.looks >= MANY  # once, at the start
        logs.looks = 0
        await logs.take(NEW, 1, "stdout", 0, b"printed\n")
        market.finish(NEW)
        await trio.sleep(3 * REST_S)
        assert row_of(tables, NEW).log_bytes == len(b"printed\n")
        assert logs.looks < 10
        nursery.cancel_scope.cancel()


@simulated
async def test_who_stops_in_the_middle_of_a_look_has_not_looked_at_the_rest() -> None:
    market = market_with(MANY)
    changed, seen = Changed(market), list[TaskId]()
    with trio.move_on_after(1):
        async with aclosing(changed.take()) as views:
            async for view in views:
                seen.append(view.task)
                if len(seen) == MANY // 2:
                    await trio.sleep(2)
    rest = await taken(changed)
    assert len(seen) == MANY // 2
    assert {*seen, *rest} == set(market.views)
