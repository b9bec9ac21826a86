"""A person comes back on another machine: the buyer goes on with the tasks of the lost one."""

import pytest
from msgspec.structs import replace

from p2p.ids import PeerId
from swarmnode.market.buyer import events as e
from swarmnode.market.guardians.events import LogsTold
from swarmnode.market.guardians.messages import Claim
from swarmnode.market.messages import CallForBids
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import Phase, Query, State
from swarmnode.tasks.records import AttemptRecord, TaskRecord
from swarmnode.tasks.spec import Repeatability, TaskSpec
from tests.buyer_lab import BOB, Desk

TASK = TaskId("t" * 26)
IDLE = frozenset({TaskState.SUBMITTED, TaskState.AUCTIONED, TaskState.LOST})


def record(state: TaskState, effects: Repeatability = Repeatability.IDEMPOTENT) -> TaskRecord:
    spec = TaskSpec(("true",), effects=effects)
    if state in IDLE:
        return TaskRecord(TASK, spec, 1000, state)
    attempt = AttemptRecord(1, BOB, 1000)
    return TaskRecord(TASK, spec, 1000, state, 1, BOB, (attempt,))


def desk_with(one: TaskRecord) -> Desk:
    desk = Desk()
    desk.know(BOB, PeerId("carol"))
    desk.do(e.TakenUp([one], 0))
    return desk


@pytest.mark.parametrize("state", sorted(IDLE))
def test_a_task_that_waited_is_put_to_auction(state: TaskState) -> None:
    desk = desk_with(record(state))
    desk.run_for(5)
    assert desk.take(CallForBids)


def test_a_task_that_ran_is_asked_for_and_runs_again_when_its_machine_does_not_know_us() -> None:
    desk = desk_with(record(TaskState.RUNNING))
    assert [peer for peer, _ in desk.take(Query)] == [BOB]
    desk.hear(BOB, State(TASK, 1, Phase.UNKNOWN))
    desk.run_for(5)
    assert desk.take(CallForBids)


@pytest.mark.parametrize("state", [*sorted(IDLE), TaskState.RUNNING])
def test_a_task_that_must_not_run_twice_never_runs_again(state: TaskState) -> None:
    desk = desk_with(record(state, Repeatability.ONCE))
    desk.hear(BOB, State(TASK, 1, Phase.UNKNOWN))
    desk.run_for(300)
    assert desk.take(CallForBids) == []
    assert desk.record(TASK).state is TaskState.FAILED


def test_the_log_of_what_had_just_ended_is_claimed_from_who_ran_it_until_that_answers() -> None:
    desk = Desk()
    desk.know(BOB, PeerId("carol"))
    desk.do(e.TasksLoaded([]))
    ended = replace(record(TaskState.DONE), key=b"k" * 32, ended_ms=5000)
    desk.do(e.TakenUp([ended], 4000))
    desk.run_for(12)
    claims = desk.take(Claim)
    assert [peer for peer, _ in claims] == [BOB, BOB, BOB]
    desk.hear(BOB, State(TASK, 1, Phase.REPORTING))
    desk.run_for(60)
    assert desk.take(Claim) == []


def test_a_log_that_lacked_is_asked_for_where_it_was_and_no_more_once_it_has_come() -> None:
    carol = PeerId("carol")
    desk = Desk()
    desk.know(BOB, carol)
    desk.do(e.TasksLoaded([]))
    ended = replace(record(TaskState.DONE), key=b"k" * 32, ended_ms=5000, log_at=(carol, BOB))
    desk.do(e.TakenUp([ended], 6000))
    assert desk.buyer.late_logs.machines(TASK) == (carol, BOB)
    desk.run_for(1)
    assert [peer for peer, _ in desk.take(Claim)] == [BOB]
    restarted = Desk()
    restarted.do(e.TasksLoaded([ended]))
    assert restarted.buyer.late_logs.machines(TASK) == (carol, BOB)
    restarted.do(LogsTold(TASK, carol, is_whole=True))
    assert restarted.buyer.late_logs.machines(TASK) == ()
    assert restarted.record(TASK).log_at == ()


def test_the_log_of_what_ended_long_before_the_copy_is_in_the_copy() -> None:
    desk = Desk()
    desk.do(e.TasksLoaded([]))
    ended = replace(record(TaskState.DONE), key=b"k" * 32, ended_ms=5000)
    desk.do(e.TakenUp([ended], 6000))
    desk.run_for(60)
    assert desk.take(Claim) == []


def test_a_task_that_has_ended_is_only_shown() -> None:
    desk = desk_with(record(TaskState.DONE))
    desk.run_for(60)
    assert desk.take(CallForBids) == []
    assert desk.take(Query) == []
