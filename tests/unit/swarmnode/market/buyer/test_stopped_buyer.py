"""A buyer that was stopped itself asks before it judges."""

import pytest

from p2p.membership.view import Liveness
from swarmnode.market.buyer import events as e
from swarmnode.market.guardians import events as g
from swarmnode.market.messages import Accept, Decline
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import Query
from swarmnode.tasks.records import Outcome
from swarmnode.tasks.spec import TaskSpec
from tests.buyer_lab import BOB, CAROL, ONCE, SPEC, STOPPED, TASK, Desk, beat, result


@pytest.mark.parametrize("spec", [SPEC, ONCE])
def test_a_buyer_that_was_stopped_asks_before_it_judges(spec: TaskSpec) -> None:
    desk = Desk()
    terms = desk.running(BOB, spec)
    desk.hear(BOB, beat(terms))
    desk.run_for(6)
    desk.take(Query)
    desk.now_s += 3600
    desk.do(e.MemberStands(BOB, Liveness.DEAD))  # so it looked to us, who heard nothing
    desk.run_for(0)
    assert desk.record().state is TaskState.RUNNING
    assert desk.take(Query)
    desk.hear(BOB, beat(terms))
    desk.run_for(14)
    assert desk.record().state is TaskState.RUNNING
    assert len(desk.record().attempts) == 1


def test_a_provider_that_does_not_answer_after_we_were_stopped_is_lost() -> None:
    desk = Desk()
    terms = desk.running()
    desk.hear(BOB, beat(terms))
    desk.now_s += 3600
    desk.run_for(25)
    assert desk.record().attempts[0].ended_as == "lost"


def test_sleep_that_only_the_boot_clock_shows_is_no_reason_to_judge_either() -> None:
    desk = Desk()
    desk.running()
    desk.do(g.Woke())
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    assert desk.record().state is TaskState.RUNNING
    assert desk.take(Query)


def test_a_task_that_must_not_run_twice_moves_on_when_it_was_never_started() -> None:
    desk = Desk()
    terms = desk.awarded(BOB, ONCE)
    desk.hear(BOB, Decline(TASK, terms.fence, "expired"))
    desk.run_for(1.1)
    terms = desk.running(BOB, ONCE)
    desk.hear(BOB, result(terms, Outcome("unfit", -1, "inputs")))
    assert desk.record().state is TaskState.SUBMITTED
    desk.know(CAROL)
    desk.run_for(1.1)
    terms = desk.running(CAROL, ONCE)
    desk.hear(CAROL, result(terms, STOPPED))
    assert desk.record().state is TaskState.FAILED


def test_an_unanswered_award_that_must_not_run_twice_is_repeated_for_a_whole_lease() -> None:
    desk = Desk()
    terms = desk.awarded(BOB, ONCE)
    desk.run_for(14)
    assert desk.record().state is TaskState.AWARDED
    desk.hear(BOB, Accept(TASK, terms.fence))
    assert desk.record().state is TaskState.RUNNING
