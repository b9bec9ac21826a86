import pytest

from p2p.effects import Notify, Persist
from p2p.ids import PeerId
from p2p.wire.codec import decode_as
from swarmnode.errors import IllegalTransitionError, TaskUnknownError
from swarmnode.limits import ATTEMPTS_KEPT_MAX, ROUNDS_KEPT_MAX, TASKS_FINISHED_MAX
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import Ledger, LedgerEffect, TaskChanged, TaskForgotten
from swarmnode.tasks.lifecycle import TaskFact, TaskState
from swarmnode.tasks.records import AttemptRecord, Outcome, RoundRecord, TaskRecord
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.store import ROUNDS, TASKS, round_key, task_key

BOB = PeerId("bob")
SPEC = TaskSpec(("true",))


def task_id(number: int) -> TaskId:
    return TaskId(f"{number:016d}")


def written(effects: list[LedgerEffect]) -> list[TaskRecord]:
    found = [one for one in effects if isinstance(one, Persist) and one.table == TASKS]
    return [decode_as(TaskRecord, one.value) for one in found if one.value is not None]


def test_every_step_writes_the_record_before_it_tells() -> None:
    ledger, task = Ledger(), task_id(1)
    effects = ledger.submit(TaskRecord(task, SPEC, 5))
    assert written(effects) == [TaskRecord(task, SPEC, 5)]
    assert effects[1] == Notify(TaskChanged(task, 5, "submitted", TaskState.SUBMITTED, PeerId("")))
    effects = ledger.step(task, TaskFact.BIDDING_OPENED, 6, "asking 3 machines")
    assert isinstance(effects[0], Persist)
    assert isinstance(effects[1], Notify)
    assert written(effects)[0].why == "asking 3 machines"


def test_an_illegal_step_changes_nothing() -> None:
    ledger, task = Ledger(), task_id(1)
    ledger.submit(TaskRecord(task, SPEC, 0))
    before = ledger.get(task)
    with pytest.raises(IllegalTransitionError):
        ledger.step(task, TaskFact.ACCEPTED, 1)
    assert ledger.get(task) is before
    with pytest.raises(TaskUnknownError):
        ledger.get(task_id(2))


def test_tasks_of_another_machine_stand_among_ours_by_when_they_were_submitted() -> None:
    ledger = Ledger()
    ledger.submit(TaskRecord(task_id(3), SPEC, 30))
    ledger.take_up([TaskRecord(task_id(2), SPEC, 20), TaskRecord(task_id(4), SPEC, 40)], 50)
    ledger.adopt(TaskRecord(task_id(1), SPEC, 10), 60, "this machine is back")
    ledger.submit(TaskRecord(task_id(5), SPEC, 70))
    assert [one.task for one in ledger.all()] == [task_id(number) for number in (1, 2, 3, 4, 5)]
    assert ledger.unfinished() == ledger.all()


def test_a_reloaded_ledger_is_the_same() -> None:
    ledger, task = Ledger(), task_id(1)
    ledger.submit(TaskRecord(task, SPEC, 0))
    ledger.step(task, TaskFact.BIDDING_OPENED, 1)
    ledger.award(task, AttemptRecord(1, BOB, 2))
    ledger.step(task, TaskFact.AWARD_SENT, 2)
    ledger.accept_attempt(task, 3)
    ledger.step(task, TaskFact.ACCEPTED, 3)
    effects = ledger.checkpointed(task, CheckpointRecord(7, (), 4), 4)
    ledger.end_attempt(task, 5, "done")
    ledger.set_outcome(task, Outcome("done", 0, "exit"))
    effects = ledger.step(task, TaskFact.FINISHED, 5)
    again = Ledger()
    again.load(written(effects))
    assert again.all() == ledger.all()
    record = again.get(task)
    assert (record.state, record.ended_ms, record.fence) == (TaskState.DONE, 5, 1)
    assert record.attempts == (AttemptRecord(1, BOB, 2, 3, 5, "done"),)
    assert record.checkpoint is not None


def test_the_first_and_the_newest_attempts_are_kept() -> None:
    ledger, task = Ledger(), task_id(1)
    ledger.submit(TaskRecord(task, SPEC, 0))
    for fence in range(1, 100):
        ledger.award(task, AttemptRecord(fence, BOB, fence))
    fences = [one.fence for one in ledger.get(task).attempts]
    assert fences == [1, *range(101 - ATTEMPTS_KEPT_MAX, 100)]


def test_ended_tasks_are_forgotten_oldest_first_with_their_rounds() -> None:
    ledger = Ledger()
    for number in range(TASKS_FINISHED_MAX + 1):
        ledger.submit(TaskRecord(task_id(number), SPEC, number))
        ledger.count_round(task_id(number))
        ledger.step(task_id(number), TaskFact.CANCEL_ASKED, number)
    effects = ledger.submit(TaskRecord(task_id(9999), SPEC, 9999))
    assert Persist(TASKS, task_key(task_id(0)), None) in effects
    assert Persist(ROUNDS, round_key(task_id(0), 1), None) in effects
    assert Notify(TaskForgotten(task_id(0))) in effects
    assert task_id(0) not in ledger
    assert task_id(1) in ledger
    assert [record.task for record in ledger.unfinished()] == [task_id(9999)]


def test_only_the_newest_rounds_are_kept() -> None:
    ledger, task = Ledger(), task_id(1)
    ledger.submit(TaskRecord(task, SPEC, 0))
    entry = RoundRecord(ROUNDS_KEPT_MAX + 1, 0, 40, "awarded", (), ())
    effects = ledger.note_round(task, entry)
    assert effects[1] == Persist(ROUNDS, round_key(task, 1), None)
