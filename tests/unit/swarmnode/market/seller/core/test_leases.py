"""Leases of a seller: renewed, run out, cancelled."""

from collections.abc import Iterable

import pytest

from p2p.effects import Persist, Send
from swarmnode.market.run import events as run_events
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import CancelJob, Phase, Query, Renew, State
from swarmnode.tasks.store import JOBS, job_key
from tests.seller_core_lab import (
    ALICE,
    DONE,
    MALLORY,
    TASK,
    award,
    idle,
    only,
    running,
    sent,
    timers,
    told,
)


def test_a_renewed_lease_never_ends() -> None:
    seller = running(SellerConfig(lease_s=15, orphan_grace_s=60))
    for now_s in range(0, 300, 5):
        seller.handle(e.JobHeard(ALICE, Renew(TASK, 1)), float(now_s))
        assert not told(seller.handle(e.LeaseDue(TASK, 1), float(now_s)), e.Stop)


def test_a_job_without_a_buyer_goes_on_for_the_grace_and_then_stops() -> None:
    seller = running(SellerConfig(lease_s=15, orphan_grace_s=60))
    deadline_s, again = only(timers(seller.handle(e.LeaseDue(TASK, 1), 15.0), e.LeaseDue))
    assert deadline_s == 65.0  # with the notice it has ended at 75
    effects = seller.handle(again, deadline_s)
    assert only(told(effects, e.Stop)) == e.Stop(f"{TASK}.1", 10.0, "orphaned")
    assert seller.jobs.expired == 1
    assert any(isinstance(f, Persist) for f in effects)


def test_the_buyer_hears_of_every_job_all_the_time() -> None:
    seller = running()
    effects = seller.handle(e.BeatDue(TASK, 1), 5.0)
    said = only(sent(effects, State))
    assert said == State(TASK, 1, Phase.RUNNING, beat=said.beat)
    assert only(timers(effects, e.BeatDue))[0] == 10.0


def leased_until(effects: Iterable[e.Effect]) -> float:
    return only(told(effects, e.Leased)).until_s


def test_a_renewal_counts_from_the_word_it_answers_however_late_it_comes() -> None:
    seller = running(SellerConfig(lease_s=15, orphan_grace_s=60))
    said = only(sent(seller.handle(e.BeatDue(TASK, 1), 5.0), State))
    effects = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=said.beat)), 9.0)
    assert leased_until(effects) == 80.0
    again = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=said.beat)), 40.0)
    assert leased_until(again) == 80.0


def test_a_renewal_that_answers_nothing_we_said_promises_nothing() -> None:
    seller = running()
    effects = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=12345)), 9.0)
    assert not told(effects, e.Leased)


def test_a_new_job_is_leased_at_once_and_one_found_after_a_restart_only_by_its_buyer() -> None:
    effects = award(idle(SellerConfig(lease_s=15, orphan_grace_s=60)))
    assert leased_until(effects) == 75.0
    record = only(told(effects, e.StartJob)).record
    after = idle(seed=1)
    loaded = after.handle(e.JobsLoaded((record,), (), is_paused=False), 1000.0)
    assert not told(loaded, e.Leased)
    said = only(sent(loaded, State))  # so that its buyer can answer without delay
    renewed = after.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=said.beat)), 1001.0)
    assert leased_until(renewed) == 1075.0


def test_a_machine_that_was_stopped_itself_asks_before_it_gives_a_job_up() -> None:
    seller = running(SellerConfig(lease_s=15, orphan_grace_s=60))
    seller.handle(e.LeaseDue(TASK, 1), 15.0)
    effects = seller.handle(e.LeaseDue(TASK, 1), 70.0)  # due at 65
    assert not told(effects, e.Stop)
    said = only(sent(effects, State))
    deadline_s, again = only(timers(effects, e.LeaseDue))
    seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=said.beat)), 70.1)
    assert not told(seller.handle(again, deadline_s), e.Stop)


def test_a_machine_that_was_stopped_for_too_long_does_not_ask_any_more() -> None:
    seller = running(SellerConfig(lease_s=15, orphan_grace_s=60))
    seller.handle(e.LeaseDue(TASK, 1), 15.0)
    assert only(told(seller.handle(e.LeaseDue(TASK, 1), 75.0), e.Stop)).grace_s == 0


@pytest.mark.parametrize("fence", [0, 3])
def test_a_cancel_with_another_fence_stops_nothing_it_does_not_name(fence: int) -> None:
    seller = idle()
    award(seller, fence=2)
    effects = seller.handle(e.JobHeard(MALLORY, CancelJob(TASK, fence, "cancelled")), 1.0)
    assert not told(effects, e.Stop)
    assert only(sent(effects, State)).phase is Phase.UNKNOWN


def test_a_stranger_can_neither_renew_nor_cancel() -> None:
    seller = running()
    assert not told(seller.handle(e.JobHeard(MALLORY, CancelJob(TASK, 1, "")), 1.0), e.Stop)
    seller.handle(e.JobHeard(MALLORY, Renew(TASK, 1)), 14.0)
    assert only(timers(seller.handle(e.LeaseDue(TASK, 1), 15.0), e.LeaseDue))[0] == 65.0


def test_hearing_of_a_newer_attempt_stops_the_one_here() -> None:
    seller = running()
    effects = seller.handle(e.JobHeard(ALICE, Renew(TASK, 2)), 3.0)
    assert only(told(effects, e.Stop)).reason == "superseded"
    assert only(sent(effects, State)) == State(TASK, 2, Phase.UNKNOWN)


def test_hearing_of_an_older_attempt_changes_nothing() -> None:
    seller = idle()
    award(seller, fence=2)
    effects = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1)), 3.0)
    assert effects == [Send(ALICE, State(TASK, 1, Phase.UNKNOWN))]


def test_a_query_is_answered_truthfully() -> None:
    seller = running()
    known = seller.handle(e.JobHeard(ALICE, Query(TASK, 1)), 3.0)
    assert only(sent(known, State)).phase is Phase.RUNNING
    unknown = seller.handle(e.JobHeard(ALICE, Query(TaskId("b" * 16), 1)), 3.0)
    assert only(sent(unknown, State)).phase is Phase.UNKNOWN


def test_a_cancelled_job_is_stopped_and_tells_what_it_left_until_the_receipt() -> None:
    seller = running()
    cancel = e.JobHeard(ALICE, CancelJob(TASK, 1, "cancelled"))
    assert only(told(seller.handle(cancel, 3.0), e.Stop)).reason == "cancelled"
    seller.handle(run_events.Ended(TASK, 1, DONE), 4.0)
    assert told(seller.handle(run_events.LogsDelivered(TASK, 1, ALICE), 4.0), e.SendResult)
    assert not seller.handle(cancel, 5.0)  # it goes on telling until it has been heard
    assert seller.jobs.find(TASK, 1) is not None


def test_a_job_that_nobody_wants_any_more_is_stopped_and_its_result_kept_to_itself() -> None:
    seller = running()
    effects = seller.handle(e.JobHeard(ALICE, CancelJob(TASK, 1, "stale")), 3.0)
    assert only(told(effects, e.Stop)).reason == "unwanted"
    ended = seller.handle(run_events.Ended(TASK, 1, DONE), 4.0)
    assert Persist(JOBS, job_key(TASK, 1), None) in ended
    assert told(ended, e.Settle)
    assert seller.room.taken().cpu_millis == 0
