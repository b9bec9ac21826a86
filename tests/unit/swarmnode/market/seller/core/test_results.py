"""Checkpoints and results of a seller: told until they are taken."""

import random

from p2p.effects import Persist
from swarmnode.market.guardians.messages import ClaimTerms
from swarmnode.market.run import events as run_events
from swarmnode.market.seller import events as e
from swarmnode.market.seller.core import Seller
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.messages import Checkpointed, ReceiptTerms, Renew, State
from tests.seller_core_lab import (
    ALICE,
    BOB,
    DONE,
    MALLORY,
    PLAIN,
    TASK,
    checkpoint,
    only,
    running,
    sent,
    timers,
    told,
)


def test_a_checkpoint_is_written_down_and_then_told() -> None:
    effects = running().handle(run_events.CheckpointStored(TASK, 1, checkpoint(10)), 3.0)
    assert isinstance(effects[0], Persist)
    assert only(sent(effects, Checkpointed)).checkpoint.step == 10


def test_steps_only_grow() -> None:
    seller = running()
    seller.handle(run_events.CheckpointStored(TASK, 1, checkpoint(10)), 3.0)
    assert not seller.handle(run_events.CheckpointStored(TASK, 1, checkpoint(9)), 4.0)


def test_a_checkpoint_the_buyer_lacks_is_repeated_and_one_it_has_lets_older_ones_go() -> None:
    seller = running()
    seller.handle(run_events.CheckpointStored(TASK, 1, checkpoint(10)), 3.0)
    lacks = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, checkpoint_step=5)), 5.0)
    assert only(sent(lacks, Checkpointed)).checkpoint.step == 10
    has = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, checkpoint_step=10)), 10.0)
    assert only(told(has, e.CheckpointHad)) == e.CheckpointHad(f"{TASK}.1", 0)


def test_a_checkpoint_that_was_taken_again_replaces_the_one_before() -> None:
    seller = running()
    seller.handle(
        run_events.CheckpointStored(TASK, 1, CheckpointRecord(10, (), 5, sure=False)), 3.0
    )
    assert not seller.handle(run_events.CheckpointStored(TASK, 1, CheckpointRecord(10, (), 5)), 4.0)
    again = seller.handle(run_events.CheckpointStored(TASK, 1, CheckpointRecord(10, (), 6)), 4.0)
    assert only(sent(again, Checkpointed)).checkpoint.sure
    lacks = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, 10, checkpoint_ms=5)), 5.0)
    assert only(sent(lacks, Checkpointed)).checkpoint.made_ms == 6
    has = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, 10, checkpoint_ms=6)), 6.0)
    assert only(told(has, e.CheckpointHad)) == e.CheckpointHad(f"{TASK}.1", 6)


def test_that_a_checkpoint_is_not_kept_is_told_with_every_beat_until_one_is() -> None:
    seller = running()
    trouble = run_events.CheckpointTrouble(TASK, 1, "checkpoint not kept: it is a socket")
    assert only(sent(seller.handle(trouble, 3.0), State)).note == trouble.note
    assert not seller.handle(trouble, 4.0)
    assert only(sent(seller.handle(e.BeatDue(TASK, 1), 5.0), State)).note == trouble.note
    assert (
        only(sent(seller.handle(run_events.CheckpointTrouble(TASK, 1, ""), 6.0), State)).note == ""
    )


def test_room_is_free_as_soon_as_no_process_lives() -> None:
    seller = running()
    effects = seller.handle(run_events.Ended(TASK, 1, DONE), 9.0)
    assert seller.room.taken().cpu_millis == 0
    assert told(effects, e.RoomChanged)


def test_a_result_waits_for_the_log_and_is_repeated_until_its_receipt() -> None:
    seller = running()
    assert not told(seller.handle(run_events.Ended(TASK, 1, DONE), 9.0), e.SendResult)
    effects = seller.handle(run_events.LogsDelivered(TASK, 1, ALICE), 9.5)
    assert only(told(effects, e.SendResult)).record.outcome == DONE
    waits = []
    for _ in range(8):
        deadline_s, timer = only(timers(effects, e.ResultDue))
        waits.append(deadline_s)
        effects = seller.handle(timer, deadline_s)
        assert told(effects, e.SendResult)
    gaps = [round(b - a, 3) for a, b in zip([9.5, *waits], waits, strict=False)]
    assert gaps == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    settled = seller.handle(e.ReceiptHeard(ALICE, ReceiptTerms(TASK, 1, BOB)), 99.0)
    assert only(told(settled, e.Settle)).is_done
    assert not seller.handle(e.ResultDue(TASK, 1), 100.0)


def test_whoever_takes_over_after_the_result_has_log_and_result_again() -> None:
    seller = running()
    seller.handle(run_events.Ended(TASK, 1, DONE), 9.0)
    said = seller.handle(run_events.LogsDelivered(TASK, 1, ALICE), 9.5)
    due_s, timer = only(timers(said, e.ResultDue))
    claimed = seller.handle(e.ClaimHeard(MALLORY, ClaimTerms(TASK, 1, MALLORY, 2)), 9.8)
    assert only(told(claimed, e.BuyerChanged)).record.buyer == MALLORY
    assert only(told(claimed, e.StartJob)).record.state is JobState.REPORTING
    assert not told(claimed, e.SendResult), "the log comes first"
    waits = seller.handle(timer, due_s)
    assert not told(waits, e.SendResult)
    assert only(timers(waits, e.ResultDue))
    again = seller.handle(run_events.LogsDelivered(TASK, 1, MALLORY), 11.0)
    assert only(told(again, e.SendResult)).record.buyer == MALLORY
    assert not timers(again, e.ResultDue), "one is under way"
    assert not seller.handle(e.ReceiptHeard(ALICE, ReceiptTerms(TASK, 1, BOB)), 12.0)
    assert told(seller.handle(e.ReceiptHeard(MALLORY, ReceiptTerms(TASK, 1, BOB)), 13.0), e.Settle)


def test_a_receipt_of_another_peer_settles_nothing() -> None:
    seller = running()
    seller.handle(run_events.Ended(TASK, 1, DONE), 9.0)
    assert not seller.handle(e.ReceiptHeard(MALLORY, ReceiptTerms(TASK, 1, BOB)), 10.0)


def test_a_result_nobody_asks_for_is_dropped_after_ten_minutes() -> None:
    seller = running()
    ended = seller.handle(run_events.Ended(TASK, 1, DONE), 9.0)
    deadline_s, timer = only(timers(ended, e.PatienceOver))
    assert deadline_s == 609.0
    assert only(told(seller.handle(timer, deadline_s), e.Settle)).is_done is False


def test_room_that_an_ended_process_left_is_not_taken_back_by_a_restart() -> None:
    before = running()
    before.handle(run_events.ProcessGone(TASK, 1), 2.0)
    assert before.room.taken().cpu_millis == 0
    after = Seller(PLAIN, BOB, random.Random(1), lambda: 2_000)
    after.handle(e.JobsLoaded(before.jobs.records(), (), is_paused=False), 0.0)
    assert after.room.taken().cpu_millis == 0
    assert told(after.handle(run_events.Ended(TASK, 1, DONE), 1.0), e.Settle) == []
