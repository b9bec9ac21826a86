"""A bug under what one task left holds up nobody else's, and ends no node."""

from collections.abc import AsyncIterable

import trio

from p2p.ids import PeerId
from storage.engine.memory_tables import MemoryTables
from storage.facade import PLAIN, Mark, PutReceipt, ReadCap, StandsFor, Trust
from storage.manifests.capability import text_of_cap
from swarmnode.estate.log_bundle import unpack_log
from swarmnode.estate.logs import LogKeeper
from swarmnode.estate.rows import row_of
from swarmnode.estate.service import EstateService
from swarmnode.market.explain import TaskView
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.memory_objects import MemoryObjects, Pool
from testnet.sim.seeded import simulated
from tests.fake_market import FakeBuyer

BAD, GOOD, OTHER = (TaskId(letter * 16) for letter in "abc")


class Faulty(MemoryObjects):
    """Raises what nobody catches for whatever is BAD's."""

    def __init__(self) -> None:
        super().__init__(Pool(), PeerId("me"))
        self.faults = 0

    def _fault(self) -> None:
        self.faults += 1
        raise IndexError("nobody foresaw that")

    def _keep(
        self,
        data: bytes,
        name: str,
        mark: Mark,
        trust: Trust | None,
        stands_for: StandsFor | None = None,
    ) -> PutReceipt:
        if mark is not PLAIN and unpack_log(data, BAD) is not None:
            self._fault()
        return super()._keep(data, name, mark, trust, stands_for)

    async def adopt(self, cap: ReadCap, name: str, mark: Mark) -> bool:
        if mark.task == BAD:
            self._fault()
        return await super().adopt(cap, name, mark)


async def _once(data: bytes) -> AsyncIterable[bytes]:
    yield data


def ended(task: TaskId, *outputs: StoredFile) -> TaskView:
    outcome = Outcome("done", 0, "exit", outputs=outputs)
    record = TaskRecord(task, TaskSpec(("true",)), 1000, TaskState.DONE, outcome=outcome)
    return TaskView(record)


@simulated
async def test_logs_of_other_tasks_come_into_the_pool_beside_one_that_cannot() -> None:
    tables, objects, logs, market = MemoryTables(), Faulty(), LogBook(MemoryTables()), FakeBuyer()
    for task in (BAD, GOOD, OTHER):
        market.views[task] = ended(task)
        await logs.take(task, 1, "stdout", 0, b"kept\n")
    keeper = LogKeeper(market, logs, objects, tables)
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.run)
        await trio.sleep(1000)
        kept = [task for task in (BAD, GOOD, OTHER) if row_of(tables, task).log_bytes]
        assert kept == [GOOD, OTHER]
        assert objects.faults == 2  # together with others, and alone
        nursery.cancel_scope.cancel()


@simulated
async def test_outputs_of_other_tasks_are_taken_over_beside_some_that_cannot_be() -> None:
    tables, objects, logs, market = MemoryTables(), Faulty(), LogBook(MemoryTables()), FakeBuyer()
    for task in (BAD, GOOD):
        cap = text_of_cap((await objects.put(_once(task.encode()))).cap)
        market.views[task] = ended(task, StoredFile("out", 16, cap))
    estate = EstateService(market, logs, objects, tables, lambda: 2000)
    async with trio.open_nursery() as nursery:
        await nursery.start(estate.run)
        await trio.sleep(1000)
        await estate.settled()
        assert [row_of(tables, task).has_outputs for task in (BAD, GOOD)] == [False, True]
        assert objects.faults == 1
        nursery.cancel_scope.cancel()
