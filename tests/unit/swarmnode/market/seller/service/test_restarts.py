"""A seller that was killed, and one that lost its power."""

import random

import pytest
import trio

from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.market.messages import AwardTerms, BidKind, Decline
from swarmnode.market.seller.config import SellerConfig
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import Phase, Query, State
from swarmnode.tasks.store import JOBS
from testnet.sim.seeded import simulated
from tests.seller_lab import (
    BOB,
    CHECKPOINTS,
    TASK,
    TERMS,
    WHOLE_LOG,
    Alice,
    SellerLab,
    chatty,
    chatty_lab,
    task,
    until_settled,
)

OTHER = TaskId("b" * 16)


@simulated
async def test_a_restarted_node_goes_on_with_the_same_process_and_loses_no_byte() -> None:
    lab = chatty_lab()
    async with lab.running() as alice:
        await alice.award(task("chatty"), TASK)
        await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        await trio.sleep(3)
        pid = lab.bobs_executor.jobs()[0].pid
        await lab.kill_bob()
        await trio.sleep(2)
        await lab.start_bob()
        alice.rpc.cast(BOB, Query(TASK, 1))
        assert lab.bobs_executor.jobs()[0].pid == pid
        assert (await alice.result(TASK)).outcome.status == "done"
        assert alice.log(TASK) == WHOLE_LOG


@simulated
async def test_a_job_that_ended_while_the_node_was_away_is_reported() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        spec = task("train", "8", "1", "2", checkpoint=CHECKPOINTS, outputs=("result.json",))
        await alice.award(spec, TASK)
        await trio.sleep(2)
        await lab.kill_bob()
        await trio.sleep(60)
        await lab.start_bob()
        result = await alice.result(TASK)
        assert [file.name for file in result.outcome.outputs] == ["result.json"]
        assert result.outcome.usage.wall_ms == 8000


@simulated
async def test_processes_without_a_lease_are_swept_at_the_start() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("sleep", "100000"), TASK)
        await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        await lab.kill_bob()
        for key, _ in lab.tables.scan(JOBS):
            lab.tables.overwrite(JOBS, key, None)
        await lab.start_bob()
        assert not lab.job_ids()


@simulated
async def test_a_machine_that_lost_its_power_says_so() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("sleep", "100000"), TASK)
        await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        await lab.kill_bob()
        lab.bobs_executor.power_cut()
        await lab.start_bob()
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("stopped", "lost")


@simulated
async def test_an_attempt_whose_folder_was_removed_meanwhile_does_not_begin_again() -> None:
    """It would run without its inputs, and twice."""
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("sleep", "100000"), TASK)
        await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        await lab.kill_bob()
        lab.bobs_executor = FakeExecutor(wall_ms=lab.wall)
        await lab.start_bob()
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("stopped", "lost")
        assert "removed from this machine" in outcome.detail
        assert lab.job_ids() == []


@simulated
async def test_a_pause_that_a_crash_interrupted_is_carried_through() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("stubborn", "100000"), TASK)
        await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        with trio.move_on_after(0.5):
            await lab.bob.pause(30.0)
        await lab.kill_bob()
        await lab.start_bob()
        assert (await alice.result(TASK)).outcome.reason == "paused"
        assert lab.bob.lending.stats().paused


async def _survive(lab: SellerLab, alice: Alice, dice: random.Random) -> None:
    for _ in range(dice.randrange(1, 5)):
        await trio.sleep(dice.uniform(0.0, 8.0))
        await lab.kill_bob()
        await trio.sleep(dice.choice([0.0, 0.01, 3.0]))
        await lab.start_bob()


@pytest.mark.parametrize("seed", range(50))
@simulated
async def test_no_task_and_no_byte_is_lost_over_random_restarts(seed: int) -> None:
    executor = FakeExecutor(programs={"chatty": chatty})
    lab = SellerLab(executor=executor, seed=seed)
    dice = random.Random(seed)
    async with lab.running() as alice:
        alice.follows = dice.random() < 0.5
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_survive, lab, alice, dice)
            cap = await lab.put(b"input")
            accepted = await alice.award(task("chatty", inputs=(("a", cap),)), TASK)
        if isinstance(accepted, Decline):
            return  # the hold did not survive: a new auction would follow
        assert (await alice.result(TASK)).outcome.status == "done"
        assert alice.log(TASK) == WHOLE_LOG
        await until_settled(lab)


@simulated
async def test_room_frees_for_a_buyer_who_waits() -> None:
    lab = SellerLab(terms=SellerConfig(tasks_max=1))
    async with lab.running() as alice:
        await alice.award(task("sleep", "20"), TASK)
        queued = await alice.bid_for(task("echo", "x"))
        assert queued.kind is BidKind.QUEUED
        offer = await alice.until(
            type(queued), lambda b: b.auction == queued.auction and b.kind is BidKind.HELD
        )
        terms = AwardTerms(OTHER, 1, BOB, offer.bid, task("echo", "x"))
        alice.renewed[OTHER, 1] = 0
        alice.rpc.cast(BOB, alice.award_message(terms))
        assert (await alice.result(OTHER)).outcome.status == "done"


def test_the_terms_of_these_tests_are_the_defaults() -> None:
    assert SellerConfig() == TERMS
