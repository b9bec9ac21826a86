"""Jobs whose buyer is away, or wants them no more."""

import trio

from swarmnode.executor.port import JobId
from swarmnode.tasks.messages import CancelJob, Phase, State
from swarmnode.tasks.store import JOBS
from testnet.sim.seeded import simulated
from tests.seller_lab import ALICE, BOB, TASK, SellerLab, task, until, until_settled


@simulated
async def test_a_job_whose_buyer_is_gone_saves_and_stops_after_the_grace() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("sleep", "100000"), TASK)
        lab.network.cut([ALICE], [BOB])
        began_s = trio.current_time()
        await until(lambda: lab.bob.lending.stats().jobs_running == 0)
        assert 60 <= trio.current_time() - began_s <= 75
        lab.network.heal()
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("stopped", "orphaned")


@simulated
async def test_a_job_ends_with_its_lease_while_its_node_is_dead() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("sleep", "100000"), TASK)
        await alice.until(State, lambda state: state.phase is Phase.RUNNING)
        began_s = trio.current_time()
        await lab.kill_bob()
        ended = await lab.bobs_executor.wait(JobId(f"{TASK}.1"))
        assert ended.reason == "lease"
        assert trio.current_time() - began_s <= 75
        await trio.sleep(900)
        await lab.start_bob()
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("stopped", "lease")


@simulated
async def test_a_job_found_unstarted_after_a_restart_starts_only_if_it_is_still_wanted() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        cap = await lab.put(b"data")
        kept, lab.pool.objects = lab.pool.objects, {}
        await alice.award(task("echo", "hello", inputs=(("in", cap),)), TASK)
        await lab.kill_bob()  # it was still looking for the input
        lab.pool.objects = kept
        alice.renewed.clear()
        await trio.sleep(600)
        await lab.start_bob()
        await until(lambda: lab.bob.lending.stats().jobs_running == 0)
        assert lab.job_ids() == []


@simulated
async def test_a_result_waits_for_a_buyer_who_comes_back() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("echo", "hello"), TASK)
        lab.network.cut([ALICE], [BOB])
        await trio.sleep(300)
        lab.network.heal()
        assert (await alice.result(TASK)).outcome.status == "done"
        assert alice.log(TASK) == b"hello\n"
        await until_settled(lab)


@simulated
async def test_a_result_nobody_takes_is_dropped_at_last() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        alice.gives_receipts = False
        await alice.award(task("echo", "hello"), TASK)
        await alice.result(TASK)
        await until_settled(lab)
        assert 600 <= trio.current_time() <= 660


@simulated
async def test_a_cancelled_job_ends_at_once_and_tells_what_it_left() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("sleep", "100000"), TASK)
        await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        alice.rpc.cast(BOB, CancelJob(TASK, 1, "cancelled"))
        with trio.fail_after(10):
            left = (await alice.result(TASK)).outcome
            await until_settled(lab)
        assert (left.status, left.reason) == ("stopped", "cancelled")


@simulated
async def test_a_job_cancelled_while_its_inputs_come_never_starts() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        cap = await lab.put(b"x")
        lab.pool.objects.clear()  # fetching takes its time
        await alice.award(task("echo", "x", inputs=(("a", cap),)), TASK)
        alice.rpc.cast(BOB, CancelJob(TASK, 1, "cancelled"))
        with trio.fail_after(3):
            await until(lambda: not lab.tables.scan(JOBS))
        assert not lab.job_ids()
