"""Awards to a seller: begun once, of the newest attempt only."""

import msgspec
import pytest

from p2p.effects import Persist, Send
from p2p.wire.codec import decode_as
from swarmnode.market.messages import Accept, AwardTerms, Decline
from swarmnode.market.run import events as run_events
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.records import FenceRecord, JobRecord
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.store import FENCES, JOBS
from tests.seller_core_lab import (
    ALICE,
    BOB,
    DONE,
    MALLORY,
    MIB,
    SMALL,
    TASK,
    answer,
    award,
    call,
    heard,
    idle,
    only,
    running,
    sent,
    terms,
    told,
)


def test_an_award_is_written_down_before_it_is_accepted() -> None:
    effects = award(idle())
    kinds = [type(effect) for effect in effects]
    accept = next(
        n for n, f in enumerate(effects) if isinstance(f, Send) and isinstance(f.message, Accept)
    )
    tables = [f.table for f in effects[:accept] if isinstance(f, Persist)]
    assert sorted(tables) == [FENCES, JOBS]
    assert Persist not in kinds[accept:]
    written = next(f for f in effects if isinstance(f, Persist) and f.table == JOBS)
    assert written.value is not None
    record = decode_as(JobRecord, written.value)
    assert (record.buyer, record.state, record.grant.cpu_millis) == (ALICE, JobState.LEASED, 1000)


def test_an_award_turns_the_hold_into_the_job_s_room() -> None:
    seller = idle()
    award(seller)
    seller.handle(e.HoldOver(bid=0), 5.0)
    assert seller.room.taken().cpu_millis == 1000
    assert seller.offers.held() == 0


def test_a_repeated_award_is_accepted_again_and_begins_nothing() -> None:
    seller = idle()
    bid = answer(seller, heard(call()))
    first = seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.0)
    again = seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.3)
    assert only(sent(first, Accept)) == only(sent(again, Accept))
    assert not told(again, e.StartJob)


@pytest.mark.parametrize("fence", [0, 1, 2, 2**63])
def test_an_award_with_an_old_or_absurd_fence_is_stale(fence: int) -> None:
    seller = idle()
    award(seller, fence=2)
    bid = answer(seller, heard(call(auction=2)))
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid, fence)), 0.0)
    assert only(sent(effects, Decline)).reason == "stale"


def test_a_fence_is_remembered_across_a_restart() -> None:
    seller = idle()
    seller.handle(e.JobsLoaded((), ((TASK, FenceRecord(5, 1)),), is_paused=False), 0.0)
    bid = answer(seller, heard(call()))
    assert only(sent(seller.handle(e.AwardHeard(ALICE, terms(bid, 5)), 0.0), Decline)).reason == (
        "stale"
    )


def test_an_award_for_a_hold_that_is_over_is_declined() -> None:
    seller = idle()
    bid = answer(seller, heard(call()))
    seller.handle(e.HoldOver(bid.bid), 2.0)
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid)), 2.1)
    assert only(sent(effects, Decline)).reason == "expired"


def test_nobody_takes_up_the_hold_of_another() -> None:
    seller = idle()
    bid = answer(seller, heard(call()))
    effects = seller.handle(e.AwardHeard(MALLORY, terms(bid)), 0.1)
    assert only(sent(effects, Decline)).reason == "expired"
    assert sent(seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.2), Accept)


def test_an_award_for_another_shape_is_declined_and_frees_the_hold() -> None:
    seller = idle()
    bid = answer(seller, heard(call()))
    larger = msgspec.structs.replace(SMALL, memory_bytes=512 * MIB)
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid, shape=larger)), 0.1)
    assert only(sent(effects, Decline)).reason == "shape"
    assert seller.room.taken().cpu_millis == 0


def test_an_award_of_a_task_that_reaches_more_than_was_asked_is_declined() -> None:
    seller = idle(SellerConfig(net=("pypi",)))
    bid = answer(seller, heard(call(net=("pypi",))))
    spec = TaskSpec(("true",), shape=SMALL, net=("internet",))
    more = AwardTerms(TASK, 1, BOB, bid.bid, spec)
    assert only(sent(seller.handle(e.AwardHeard(ALICE, more), 0.1), Decline)).reason == "shape"
    assert seller.room.taken().cpu_millis == 0


def test_a_spec_no_submitter_could_have_made_is_declined() -> None:
    seller = idle()
    bid = answer(seller, heard(call()))
    spec = TaskSpec(("true",), shape=SMALL, inputs=(("../../etc/passwd", "swarm:x"),))
    bad = AwardTerms(TASK, 1, BOB, bid.bid, spec)
    assert only(sent(seller.handle(e.AwardHeard(ALICE, bad), 0.1), Decline)).reason == "shape"


def test_an_award_that_comes_again_after_a_newer_one_is_stale() -> None:
    seller = idle()
    bid = answer(seller, heard(call()))
    seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.0)
    award(seller, fence=2)
    again = seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.5)
    assert only(sent(again, Decline)).reason == "stale"


def test_a_newer_attempt_here_ends_the_older_one_for_good() -> None:
    seller = running()
    effects = award(seller, fence=2)
    assert only(told(effects, e.Stop)) == e.Stop(f"{TASK}.1", 0.0, "superseded")
    ended = seller.handle(run_events.Ended(TASK, 1, DONE), 2.0)
    assert only(told(ended, e.Settle)).is_done is False
    assert not told(ended, e.SendResult)
