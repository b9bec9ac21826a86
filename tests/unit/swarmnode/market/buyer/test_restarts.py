"""A buyer that was killed goes on where it was."""

from swarmnode.market.messages import Award
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import CancelJob, Phase, Query, Renew, ResultReceipt
from swarmnode.tasks.spec import TaskSpec
from tests.buyer_lab import BOB, CAROL, TASK, Desk, beat, held, result


def test_a_running_task_survives_a_restart_without_a_new_attempt() -> None:
    desk = Desk()
    terms = desk.running()
    desk.restart()
    assert desk.take(Query) == [(BOB, Query(TASK, terms.fence))]
    desk.hear(BOB, beat(terms))
    desk.run_for(10)
    assert desk.take(Renew)
    desk.hear(BOB, result(terms))
    assert desk.record().state is TaskState.DONE
    assert len(desk.record().attempts) == 1


def test_an_award_that_left_before_the_crash_is_found_again() -> None:
    desk = Desk()
    terms = desk.awarded()
    desk.restart()
    desk.hear(BOB, beat(terms, Phase.LEASED))
    assert desk.record().state is TaskState.RUNNING
    assert desk.record().fence == 1


def test_an_award_that_never_left_is_made_anew() -> None:
    desk = Desk()
    terms = desk.awarded()
    desk.restart()
    desk.hear(BOB, beat(terms, Phase.UNKNOWN))
    desk.know(CAROL)
    desk.run_for(1)
    assert desk.awarded(CAROL).fence == 2


def test_an_interrupted_auction_is_held_again() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit()
    old = desk.calls()[BOB]
    desk.restart()
    assert desk.record().state is TaskState.SUBMITTED
    desk.know(BOB)
    desk.run_for(2)
    assert desk.calls()[BOB] > old
    desk.hear(BOB, held(old))
    assert not desk.take(Award)


def test_a_provider_that_does_not_answer_after_a_restart_is_lost() -> None:
    desk = Desk()
    desk.running()
    desk.restart()
    desk.run_for(16)
    assert desk.record().attempts[0].ended_as == "lost"


def test_a_receipt_is_given_again_after_a_restart() -> None:
    desk = Desk()
    terms = desk.running()
    desk.hear(BOB, result(terms))
    desk.restart()
    desk.hear(BOB, result(terms))
    assert desk.take(ResultReceipt)


def test_a_deadline_holds_across_a_restart() -> None:
    desk = Desk()
    desk.submit(TaskSpec(("x",), deadline_ms=30_000))
    desk.run_for(20)
    desk.restart()
    desk.run_for(10.1)
    assert desk.record().state is TaskState.FAILED


def test_the_job_of_a_task_nobody_knows_is_stopped() -> None:
    desk = Desk()
    terms = desk.running()
    desk.disk.clear()
    desk.restart()
    desk.hear(BOB, beat(terms))
    desk.hear(BOB, result(terms))
    stop = (BOB, CancelJob(TASK, terms.fence, "unknown"))
    assert desk.take(CancelJob) == [stop, stop]
