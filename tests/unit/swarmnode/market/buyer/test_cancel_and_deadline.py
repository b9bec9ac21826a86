"""What the submitter ends: by cancelling, by a deadline."""

from p2p.membership.view import Liveness
from swarmnode.market.buyer import events as e
from swarmnode.market.messages import Release
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import CancelJob, ResultReceipt
from swarmnode.tasks.records import Outcome
from swarmnode.tasks.spec import TaskSpec
from tests.buyer_lab import BOB, CAROL, TASK, Desk, beat, result


def test_a_cancelled_task_stops_its_provider_as_often_as_that_speaks() -> None:
    desk = Desk()
    terms = desk.running()
    desk.do(e.CancelAsked(TASK), e.CancelAsked(TASK))
    desk.hear(BOB, beat(terms))
    desk.hear(BOB, result(terms))
    stop = (BOB, CancelJob(TASK, terms.fence, "cancelled"))
    assert desk.take(CancelJob) == [stop, stop]
    assert desk.record().state is TaskState.CANCELLED


def test_what_a_cancelled_task_left_is_taken_once_and_receipted_as_often_as_it_comes() -> None:
    desk = Desk()
    terms = desk.running()
    desk.do(e.CancelAsked(TASK))
    left = Outcome("stopped", 143, "cancelled", outputs=(StoredFile("log", 1, "swarm:a"),))
    desk.hear(BOB, result(terms, left))
    desk.hear(BOB, result(terms, Outcome("stopped", 143, "cancelled")))
    assert len(desk.take(ResultReceipt)) == 2
    record = desk.record()
    assert (record.state, record.outcome) == (TaskState.CANCELLED, left)


def test_of_an_attempt_that_was_lost_before_its_task_was_cancelled_nothing_is_taken() -> None:
    desk = Desk()
    first = desk.running()
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    desk.know(CAROL)
    desk.run_for(2)
    desk.do(e.CancelAsked(TASK))
    desk.hear(BOB, result(first, Outcome("stopped", 143, "cancelled")))
    assert desk.record().outcome is None


def test_cancelling_an_auction_releases_everybody() -> None:
    desk = Desk()
    desk.know(BOB, CAROL)
    desk.submit()
    desk.do(e.CancelAsked(TASK))
    assert {peer for peer, _ in desk.take(Release)} == {BOB, CAROL}
    desk.run_for(60)
    assert desk.record().state is TaskState.CANCELLED


def test_a_task_fails_at_its_deadline_and_says_what_it_waited_for() -> None:
    desk = Desk()
    desk.submit(TaskSpec(("x",), deadline_ms=30_000))
    desk.run_for(29)
    assert desk.record().state is TaskState.SUBMITTED
    desk.run_for(1.1)
    record = desk.record()
    assert record.state is TaskState.FAILED
    assert "no machine is known yet" in record.why
    assert record.outcome is not None
    assert record.outcome.reason == "deadline"


def test_a_running_task_is_stopped_at_its_deadline() -> None:
    desk = Desk()
    terms = desk.running(BOB, TaskSpec(("x",), deadline_ms=10_000))
    desk.run_for(11)
    assert desk.take(CancelJob) == [(BOB, CancelJob(TASK, terms.fence, "deadline"))]
    assert desk.record().state is TaskState.FAILED
