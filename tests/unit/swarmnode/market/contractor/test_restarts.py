"""A contractor that was killed: its jobs, their room, its bids."""

import random

from swarmnode.market import contractor_events as e
from swarmnode.market.contractor import Contractor
from swarmnode.market.contractor_config import ContractorConfig
from swarmnode.market.messages import Decline
from tests.contractor_lab import (
    ALICE,
    BOB,
    TASK,
    answer,
    call,
    checkpoint,
    contractor,
    heard,
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
    before.handle(e.CheckpointStored(TASK, 1, checkpoint(10)), 3.0)
    after = Contractor(ContractorConfig(), BOB, random.Random(1), lambda: 2_000)
    effects = after.handle(e.Loaded(before.jobs.records(), (), is_paused=False), 0.0)
    after.handle(survey(), 0.0)
    assert only(told(effects, e.Begin)).record.checkpoint == checkpoint(10)
    assert after.room.taken().cpu_millis == 1000
    assert only(timers(effects, e.LeaseDue))[0] == 15.0


def test_a_bid_of_an_earlier_life_is_not_taken_for_a_new_one() -> None:
    old = answer(contractor(seed=1), heard(call()))
    reborn = contractor(seed=2)
    answer(reborn, heard(call()))
    effects = reborn.handle(e.AwardHeard(ALICE, terms(old)), 0.1)
    assert only(sent(effects, Decline)).reason == "expired"
