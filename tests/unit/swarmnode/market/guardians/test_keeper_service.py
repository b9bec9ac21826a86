"""Records on their way to the other keepers of a task."""

import trio

from p2p.identity.caller import Caller
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import decode_as
from storage.engine.memory_tables import MemoryTables
from swarmnode.limits import CARRIED_AT_ONCE, CARRIED_TO_ONE_AT_ONCE, RELIEVED_KEPT_MAX
from swarmnode.market.guardians.config import GuardianConfig
from swarmnode.market.guardians.kept import Guarded, Kept, Post
from swarmnode.market.guardians.messages import KeepTaken, KeepTask
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.guardians.service import KeeperService
from swarmnode.market.guardians.shelf.past import note
from swarmnode.market.guardians.shelf.tasks import TaskShelf
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.peers import rpc_peers
from testnet.sim.seeded import simulated
from testnet.sim.signer import KeyedHashSigner

ME, BOB, NETWORK = PeerId("me"), PeerId("bob"), NetworkId("net")


def record(task: str, seq: int = 1, submitter: PeerId = ME) -> GuardRecord:
    known = TaskRecord(TaskId(task), TaskSpec(("true",)), 1000)
    return GuardRecord(TaskId(task), submitter, 1, seq, submitter, (ME, BOB), (), known)


class NoRecords:
    def find(self, task: TaskId) -> GuardRecord | None:
        return None

    def guarded(self, task: TaskId) -> Guarded:
        return Guarded()

    def post_of(self, task: TaskId) -> None:
        return None

    def is_up(self, peer: PeerId) -> bool:
        return False


@simulated
async def test_of_what_waits_behind_a_keeper_that_answers_nothing_the_newest_is_carried() -> None:
    got: list[GuardRecord] = []
    thaw = trio.Event()

    async def frozen(caller: Caller, ask: KeepTask, body: bytes) -> tuple[KeepTaken, bytes]:
        got.append(decode_as(GuardRecord, body))
        await thaw.wait()
        return KeepTaken(), b""

    async with rpc_peers((ME, BOB)) as peers, trio.open_nursery() as nursery:
        peers[BOB].serve(KeepTask, frozen)
        logs = LogBook(MemoryTables())
        keeper = KeeperService(
            peers[ME], KeyedHashSigner(ME), NETWORK, NoRecords(), logs, lambda _event: None
        )
        await nursery.start(keeper.run)
        for at in range(CARRIED_AT_ONCE):
            keeper.carriage.carry(BOB, record(f"task{at}"))
        await trio.sleep(1)
        for seq in range(1, 100):
            keeper.carriage.carry(BOB, record("late", seq))
        thaw.set()
        await trio.sleep(1)
        assert [one.seq for one in got if one.task == "late"] == [99]
        nursery.cancel_scope.cancel()


@simulated
async def test_a_keeper_that_answers_nothing_holds_a_few_places_and_no_more() -> None:
    """What it is to keep may be hundreds of tasks; others are told meanwhile."""
    carol, got, waiting = PeerId("carol"), trio.Event(), list[TaskId]()

    async def frozen(caller: Caller, ask: KeepTask, body: bytes) -> tuple[KeepTaken, bytes]:
        waiting.append(decode_as(GuardRecord, body).task)
        await trio.sleep_forever()
        return KeepTaken(), b""

    async def takes(caller: Caller, ask: KeepTask, body: bytes) -> tuple[KeepTaken, bytes]:
        got.set()
        return KeepTaken(), b""

    async with rpc_peers((ME, BOB, carol)) as peers, trio.open_nursery() as nursery:
        peers[BOB].serve(KeepTask, frozen)
        peers[carol].serve(KeepTask, takes)
        logs = LogBook(MemoryTables())
        keeper = KeeperService(
            peers[ME], KeyedHashSigner(ME), NETWORK, NoRecords(), logs, lambda _event: None
        )
        await nursery.start(keeper.run)
        for at in range(3 * CARRIED_AT_ONCE):
            keeper.carriage.carry(BOB, record(f"task{at}"))
        await trio.sleep(0.1)
        keeper.carriage.carry(carol, record("hers"))
        with trio.fail_after(1):
            await got.wait()
        assert len(waiting) == CARRIED_TO_ONE_AT_ONCE
        nursery.cancel_scope.cancel()


def test_a_submitter_of_whom_nothing_is_kept_any_more_is_not_counted() -> None:
    shelf = TaskShelf(
        GuardianConfig(), ME, lambda _task: None, lambda _record, _peer: None, lambda _task: False
    )
    for at in range(10):
        kept = shelf.add(
            Kept(record(f"task{at}", submitter=PeerId(f"submitter{at}")), Post.KEEPS, 0.0)
        )
        shelf.forget(kept.record.task)
    assert len(shelf.shares._submitters) == 0


def test_a_task_that_is_noted_again_is_among_the_newest() -> None:
    tasks: dict[TaskId, int] = {}
    for at in range(RELIEVED_KEPT_MAX):
        note(tasks, TaskId(f"{at}"), 0)
    note(tasks, TaskId("0"), 1)
    note(tasks, TaskId("new"), 0)
    assert tasks[TaskId("0")] == 1
    assert TaskId("1") not in tasks
