"""Awards and leases of a buyer: accepted, renewed, lost."""

import pytest

from p2p.membership.view import Liveness
from swarmnode.market.buyer import events as e
from swarmnode.market.messages import Accept, Decline
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import (
    CancelJob,
    Checkpointed,
    Phase,
    PreemptNotice,
    Query,
    Renew,
    ResultReceipt,
    State,
)
from tests.buyer_lab import BOB, CAROL, STOPPED, TASK, Desk, beat, held, result


def test_an_award_is_repeated_and_then_goes_to_another_round_under_a_higher_fence() -> None:
    desk = Desk()
    desk.awarded(BOB)
    desk.know(CAROL)
    desk.run_for(1.9)
    assert {terms.fence for terms in desk.awards()} == {1}
    desk.run_for(1)
    assert [message for _, message in desk.take(CancelJob)] == [CancelJob(TASK, 1, "unanswered")]
    calls = desk.calls()
    assert set(calls) == {CAROL}  # the one that did not answer is left alone for a while
    desk.hear(CAROL, held(calls[CAROL]))
    assert [(terms.seller, terms.fence) for terms in desk.awards()] == [(CAROL, 2)]
    assert [one.ended_as for one in desk.record().attempts] == ["unanswered", ""]


def test_a_declined_award_costs_no_retry_and_is_tried_elsewhere() -> None:
    desk = Desk()
    terms = desk.awarded()
    desk.hear(BOB, Decline(TASK, terms.fence, "expired"))
    record = desk.record()
    assert (record.state, record.retries_used) == (TaskState.SUBMITTED, 0)
    assert record.attempts[0].ended_as == "refused"
    desk.run_for(1.1)
    assert BOB in desk.calls()


def test_an_answer_to_an_older_award_is_told_to_stop() -> None:
    desk = Desk()
    old = desk.awarded(BOB)
    desk.hear(BOB, Decline(TASK, old.fence, "expired"))
    desk.run_for(1.1)
    desk.awarded(BOB)
    desk.hear(BOB, Accept(TASK, old.fence))
    assert desk.take(CancelJob) == [(BOB, CancelJob(TASK, old.fence, "stale"))]
    assert desk.record().state is TaskState.AWARDED


def test_what_a_provider_notes_is_kept_but_not_more_often_than_once_a_second() -> None:
    desk = Desk()
    terms = desk.running()
    for note in ("one", "two", "three"):
        desk.hear(BOB, State(TASK, terms.fence, Phase.RUNNING, note=note))
    assert desk.record().note == "one"
    desk.run_for(1)
    desk.hear(BOB, State(TASK, terms.fence, Phase.RUNNING, note="three"))
    assert desk.record().note == "three"
    desk.run_for(1)
    desk.hear(BOB, State(TASK, terms.fence, Phase.RUNNING))
    assert desk.record().note == ""


def test_a_beat_counts_as_acceptance_when_that_was_lost() -> None:
    desk = Desk()
    terms = desk.awarded()
    desk.hear(BOB, beat(terms, Phase.LEASED))
    assert desk.record().state is TaskState.RUNNING
    assert desk.buyer.phase(TASK) is Phase.LEASED


def test_the_award_carries_the_newest_checkpoint() -> None:
    desk = Desk()
    terms = desk.running()
    for step in (3, 9, 5):
        desk.hear(BOB, Checkpointed(TASK, terms.fence, CheckpointRecord(step, (), 0)))
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    assert desk.record().state in (TaskState.LOST, TaskState.AUCTIONED)
    desk.run_for(1)
    terms = desk.awarded(CAROL)
    assert terms.fence == 2
    assert terms.restore is not None
    assert terms.restore.step == 9
    assert desk.record().attempts[1].restored_step == 9


def test_the_lease_is_renewed_while_beats_come() -> None:
    desk = Desk()
    terms = desk.running()
    for number in range(1, 21):
        desk.hear(BOB, State(terms.task, terms.fence, Phase.RUNNING, beat=number))
        desk.run_for(5)
    renewals = [message.beat for _, message in desk.take(Renew)]
    assert renewals == [1, *range(1, 21)]  # the first word is answered at once
    assert desk.record().state is TaskState.RUNNING


def test_a_silent_provider_is_asked_and_then_lost() -> None:
    desk = Desk()
    desk.running()
    desk.run_for(14)
    assert desk.take(Query)
    assert desk.record().state is TaskState.RUNNING
    desk.run_for(1.1)
    assert desk.record().attempts[0].ended_as == "lost"
    assert desk.record().retries_used == 0


@pytest.mark.parametrize("liveness", [Liveness.DEAD, Liveness.LEFT, None])
def test_a_provider_that_is_gone_is_replaced_at_once(liveness: Liveness | None) -> None:
    desk = Desk()
    desk.running()
    desk.know(CAROL)
    desk.run_for(5)
    desk.do(e.MemberStands(BOB, liveness))
    desk.run_for(0)
    assert set(desk.calls()) == {CAROL}


def test_a_suspect_keeps_its_task() -> None:
    desk = Desk()
    desk.running()
    desk.do(e.MemberStands(BOB, Liveness.SUSPECT))
    assert desk.record().state is TaskState.RUNNING


def test_a_provider_that_forgot_the_job_has_lost_it() -> None:
    desk = Desk()
    terms = desk.running()
    desk.hear(BOB, beat(terms, Phase.UNKNOWN))
    assert desk.record().attempts[0].ended_as == "lost"


def test_a_lost_provider_that_comes_back_is_told_to_stop() -> None:
    desk = Desk()
    old = desk.running()
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    desk.run_for(1)
    desk.running(CAROL)
    desk.hear(BOB, beat(old))
    desk.hear(BOB, result(old))
    stop = (BOB, CancelJob(TASK, old.fence, "stale"))
    assert desk.take(CancelJob) == [stop, stop]
    assert desk.record().state is TaskState.RUNNING


def test_a_notice_of_the_owner_is_shown_and_its_machine_not_asked_again() -> None:
    desk = Desk()
    terms = desk.running()
    desk.hear(BOB, PreemptNotice(TASK, terms.fence, 3000))
    assert desk.record().why == "its machine is wanted back within 3 s"
    desk.know(CAROL)
    desk.hear(BOB, result(terms, STOPPED, CheckpointRecord(4, (), 0)))
    assert desk.take(ResultReceipt)
    desk.run_for(1)
    calls = desk.calls()
    assert set(calls) == {CAROL}
    desk.hear(CAROL, held(calls[CAROL]))
    (award,) = desk.awards()
    assert award.restore == CheckpointRecord(4, (), 0)
    assert desk.record().retries_used == 0
