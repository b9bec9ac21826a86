"""From award to receipt: inputs, outputs, failures, forgeries."""

import msgspec
import pytest
import trio

from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.port import Limit
from swarmnode.market.messages import Accept, Award, AwardTerms, BidKind, Decline
from swarmnode.tasks.messages import Phase, State
from swarmnode.tasks.spec import Shape, TaskSpec
from swarmnode.tasks.store import JOBS
from testnet.sim.seeded import simulated
from tests.seller_lab import ALICE, BOB, MIB, TASK, SellerLab, task, until_settled


@simulated
async def test_a_task_runs_and_leaves_nothing_behind() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        assert isinstance(await alice.award(task("echo", "hello"), TASK), Accept)
        result = await alice.result(TASK)
        assert (result.outcome.status, result.outcome.exit_code) == ("done", 0)
        assert alice.log(TASK) == b"hello\n"
        await until_settled(lab)
        assert lab.bob.lending.stats().free == lab.bob.lending.stats().capacity
        assert lab.bob.lending.stats().jobs_reporting == 0


@simulated
async def test_inputs_come_in_and_outputs_become_objects() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        cap = await lab.put(b"data of alice's" * 100_000)
        spec = task("copy", "in/a", "out/b", inputs=(("in/a", cap),), outputs=("out/*",))
        await alice.award(spec, TASK)
        result = await alice.result(TASK)
        (file,) = result.outcome.outputs
        assert file.name == "out/b"
        assert await lab.bytes_of(file) == b"data of alice's" * 100_000


@simulated
async def test_the_buyer_is_told_when_the_task_runs_and_what_it_took() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("sleep", "12"), TASK)
        state = await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        assert (state.task, state.fence) == (TASK, 1)
        result = await alice.result(TASK)
        assert result.outcome.usage.wall_ms == 12_000
        beats = [m for m in alice.heard if isinstance(m, State) and m.phase is Phase.RUNNING]
        assert len(beats) == 3


@pytest.mark.parametrize(
    ("spec", "status", "reason", "words"),
    [
        (task("exit", "3"), "failed", "exit", "exit code 3"),
        (task("allocate", "999999999", "9"), "failed", "oom", "64 MiB of memory"),
        (task("sleep", "99", timeout_ms=5000), "failed", "wall", "timeout of 5 s"),
        (task("write", "big", "x" * 4000, shape=Shape(1000, MIB, 99)), "failed", "disk", "disk"),
        (task("echo", "x", outputs=("out/*",)), "failed", "outputs", "no file matches 'out/*'"),
        (task("nonsense"), "failed", "exit", "exit code 127"),
    ],
)
@simulated
async def test_a_failure_is_told_in_words(
    spec: TaskSpec, status: str, reason: str, words: str
) -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(spec, TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == (status, reason)
        assert words in outcome.detail
        await until_settled(lab)


@simulated
async def test_an_input_nobody_has_makes_the_machine_unfit() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        cap = await lab.put(b"x")
        lab.pool.objects.clear()
        await alice.award(task("echo", "x", inputs=(("a", cap),)), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("unfit", "inputs")
        await until_settled(lab)


@simulated
async def test_limits_that_are_not_enforced_are_named() -> None:
    lab = SellerLab(executor=FakeExecutor(not_enforced={Limit.DISK: "no quota on this disk"}))
    async with lab.running() as alice:
        refused = await alice.bid_for(task("echo", "x", enforce=("disk",)))
        assert (refused.kind, refused.reason) == (BidKind.REFUSED, "limit")
        await alice.award(task("echo", "x"), TASK)
        assert (await alice.result(TASK)).outcome.not_enforced == ("disk",)


@simulated
async def test_outputs_wait_for_a_pool_that_is_away() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        lab.pool.is_down = True
        await alice.award(task("write", "out", "text", outputs=("out",)), TASK)
        await trio.sleep(30)
        lab.pool.is_down = False
        result = await alice.result(TASK)
        assert [file.name for file in result.outcome.outputs] == ["out"]


@simulated
async def test_a_pool_that_stays_away_gives_the_work_back_without_blame() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        lab.pool.is_down = True
        await alice.award(task("write", "out", "text", outputs=("out",)), TASK)
        outcome = (await alice.result(TASK)).outcome
        assert (outcome.status, outcome.reason) == ("stopped", "outputs")


@simulated
async def test_an_award_nobody_signed_is_not_taken() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        bid = await alice.bid_for(task("echo", "x"))
        good = alice.award_message(AwardTerms(TASK, 1, BOB, bid.bid, task("echo", "x"))).sealed
        alice.rpc.cast(BOB, Award(msgspec.structs.replace(good, signature=b"\0" * 64)))
        await trio.sleep(5)
        assert not lab.tables.scan(JOBS)
        assert isinstance(await alice.award(task("echo", "x"), TASK), Accept)


@simulated
async def test_an_award_for_another_machine_is_declined() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        bid = await alice.bid_for(task("echo", "x"))
        spec = task("echo", "x")
        alice.rpc.cast(BOB, alice.award_message(AwardTerms(TASK, 1, ALICE, bid.bid, spec)))
        assert (await alice.until(Decline)).reason == "shape"
