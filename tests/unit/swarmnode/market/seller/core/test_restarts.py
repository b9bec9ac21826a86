"""A seller that was killed: its jobs, their room, its bids."""

import random

from swarmnode.market.messages import Decline
from swarmnode.market.run import events as run_events
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.core import Seller
from swarmnode.tasks.messages import State
from tests.seller_core_lab import (
    ALICE,
    BOB,
    DONE,
    PLAIN,
    TASK,
    answer,
    call,
    checkpoint,
    heard,
    idle,
    only,
    running,
    sent,
    survey,
    terms,
    timers,
    told,
)


def test_jobs_of_an_earlier_life_keep_their_room_and_go_on() -> None:
    before = running()
    before.handle(run_events.CheckpointStored(TASK, 1, checkpoint(10)), 3.0)
    after = Seller(SellerConfig(), BOB, random.Random(1), lambda: 2_000)
    effects = after.handle(e.JobsLoaded(before.jobs.records(), (), is_paused=False), 0.0)
    after.handle(survey(), 0.0)
    assert only(told(effects, e.StartJob)).record.checkpoint == checkpoint(10)
    assert after.room.taken().cpu_millis == 1000
    assert only(timers(effects, e.LeaseDue))[0] == 15.0


def test_a_bid_of_an_earlier_life_is_not_taken_for_a_new_one() -> None:
    old = answer(idle(seed=1), heard(call()))
    reborn = idle(seed=2)
    answer(reborn, heard(call()))
    effects = reborn.handle(e.AwardHeard(ALICE, terms(old)), 0.1)
    assert only(sent(effects, Decline)).reason == "expired"


def test_that_a_node_died_is_told_with_every_result_too() -> None:
    """At the start nobody may be connected yet, and a result that comes too late ends the job."""
    before = running()
    job = before.jobs.records()[0].job
    after = Seller(PLAIN, BOB, random.Random(1), lambda: 2_000)
    died = {job: 4000}
    after.handle(e.JobsLoaded(before.jobs.records(), (), is_paused=False, node_died_ms=died), 0.0)
    after.handle(run_events.Ended(TASK, 1, DONE), 1.0)
    effects = after.handle(run_events.LogsDelivered(TASK, 1, ALICE), 2.0)
    assert [one.node_died_ms for one in sent(effects, State)] == [4000]
    again = after.handle(e.ResultDue(TASK, 1), 3.0)
    assert [one.node_died_ms for one in sent(again, State)] == [4000]
