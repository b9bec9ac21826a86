"""Tasks that must not run twice, on both sides of every doubt."""

import msgspec

from p2p.membership.view import Liveness
from swarmnode.market.buyer import events as e
from swarmnode.market.messages import Accept
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import CancelJob, Phase
from swarmnode.tasks.records import Outcome, Usage
from tests.buyer_lab import BOB, ONCE, TASK, Desk, beat, held, result


def test_a_task_that_must_not_run_twice_fails_when_its_machine_is_lost() -> None:
    desk = Desk()
    desk.running(BOB, ONCE)
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    desk.run_for(75)
    assert desk.record().state is TaskState.RUNNING  # until then it may run there
    desk.run_for(8)
    record = desk.record()
    assert record.state is TaskState.FAILED
    assert "must not run twice" in record.why


def test_what_must_not_run_twice_waits_as_long_as_its_provider_said_it_goes_on_alone() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit(ONCE)
    desk.run_for(0)
    bid = msgspec.structs.replace(held(desk.calls()[BOB]), alone_ms=300_000)
    desk.hear(BOB, bid)
    desk.hear(BOB, Accept(TASK, desk.awards()[-1].fence))
    desk.run_for(300)
    assert desk.record().state is TaskState.RUNNING
    desk.run_for(8)
    assert desk.record().state is TaskState.FAILED


def test_the_deadline_of_what_must_not_run_twice_is_told_when_it_has_really_stopped() -> None:
    desk = Desk()
    spec = msgspec.structs.replace(ONCE, deadline_ms=20_000)
    terms = desk.running(BOB, spec)
    for _ in range(6):
        desk.hear(BOB, beat(terms))
        desk.run_for(5)
    assert desk.record().state is TaskState.RUNNING  # its deadline has passed, it may still run
    assert desk.take(CancelJob)
    desk.hear(BOB, beat(terms, Phase.UNKNOWN))
    record = desk.record()
    assert record.state is TaskState.FAILED
    assert record.outcome is not None
    assert record.outcome.reason == "deadline"


def test_an_award_that_may_have_begun_fails_what_must_not_run_twice_when_it_can_run_no_more() -> (
    None
):
    desk = Desk()
    desk.awarded(BOB, ONCE)
    desk.run_for(75)
    assert desk.record().state is TaskState.AWARDED
    desk.run_for(8)
    assert desk.record().state is TaskState.FAILED


def test_what_an_attempt_used_is_kept_when_its_machine_is_taken_back() -> None:
    desk = Desk()
    terms = desk.running(BOB, ONCE)
    used = Usage(5_000, 4_900, 1_000_000)
    desk.hear(
        BOB, result(terms, Outcome("stopped", -1, "paused", "stopped by its provider", (), used))
    )
    record = desk.record()
    assert record.state is TaskState.FAILED
    assert record.outcome is not None
    assert (record.outcome.reason, record.outcome.usage) == ("lost", used)
