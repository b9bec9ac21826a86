"""A seller's machine and its owner."""

import trio

from swarmnode.market.messages import BidKind
from swarmnode.tasks.messages import Phase, PreemptNotice, State
from swarmnode.tasks.spec import CheckpointSpec
from testnet.sim.seeded import simulated
from tests.seller_lab import TASK, SellerLab, task


@simulated
async def test_a_paused_machine_is_its_owner_s_within_the_grace() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("stubborn", "100000"), TASK)
        await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        began_s = trio.current_time()
        await lab.bob.pause(3.0)
        assert trio.current_time() - began_s <= 5.0
        assert lab.bob.lending.stats().jobs_running == 0
        assert lab.bob.lending.stats().paused
        assert (await alice.until(PreemptNotice)).grace_ms == 3000
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("stopped", "paused")
        assert (await alice.bid_for(task("echo", "x"))).reason == "paused"
        await lab.bob.resume()
        assert (await alice.bid_for(task("echo", "x"))).kind is BidKind.HELD


@simulated
async def test_a_task_stopped_by_its_owner_s_machine_keeps_its_last_step() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        rare = CheckpointSpec("checkpoint", every_ms=3_600_000)
        await alice.award(task("train", "600", "1", "10", checkpoint=rare), TASK)
        await trio.sleep(55)
        await lab.bob.pause(3.0)
        result = await alice.result(TASK)
        assert result.checkpoint is not None
        assert result.checkpoint.step == 50


@simulated
async def test_the_advert_follows_what_is_lent() -> None:
    lab = SellerLab()
    changes: list[int] = []
    async with lab.running() as alice:
        lab.bob.lending.on_changed(lambda: changes.append(1))
        before = lab.bob.lending.advert()
        await alice.award(task("sleep", "100"), TASK)
        during = lab.bob.lending.advert()
        assert before is not None
        assert during is not None
        assert before.lends
        assert before.cpu_free_millis - during.cpu_free_millis == 1000
        assert before.tasks_free - during.tasks_free == 1
        assert changes
