"""Bob's machine runs alice's tasks, on virtual time."""

import json
import random
from collections.abc import Callable

import msgspec
import pytest
import trio

from swarmnode.executor.fake import FakeExecutor
from swarmnode.executor.fake_programs import Process, Run
from swarmnode.executor.port import JobId, Limit
from swarmnode.market.contractor_config import ContractorConfig
from swarmnode.market.messages import Accept, Award, AwardTerms, BidKind, Decline
from swarmnode.tasks.checkpoint import Checkpoint
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import CancelJob, Checkpointed, Phase, PreemptNotice, Query, State
from swarmnode.tasks.spec import CheckpointSpec, Shape, TaskSpec
from swarmnode.tasks.store import JOBS
from testnet.sim.seeded import simulated
from tests.seller_lab import ALICE, BOB, TERMS, Alice, SellerLab

TASK = TaskId("a" * 16)
OTHER = TaskId("b" * 16)
MIB = 1024 * 1024
CHECKPOINTS = CheckpointSpec("checkpoint", every_ms=1000)


def task(*run: str, **changes: object) -> TaskSpec:
    values: dict[str, object] = {"shape": Shape(1000, 64 * MIB, 64 * MIB), **changes}
    return TaskSpec(run, **values)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    """Looks ten times a (virtual) second: some things that happen tell nobody."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.1)


async def until_settled(lab: SellerLab) -> None:
    """Everything of the job is gone at bob's."""
    await until(lambda: not lab.tables.scan(JOBS) and not lab.job_ids())


# -- from award to receipt


@simulated
async def test_a_task_runs_and_leaves_nothing_behind() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        assert isinstance(await alice.award(task("echo", "hello"), TASK), Accept)
        result = await alice.result(TASK)
        assert (result.outcome.status, result.outcome.exit_code) == ("done", 0)
        assert alice.log(TASK) == b"hello\n"
        await until_settled(lab)
        assert lab.bob.stats().free == lab.bob.stats().capacity
        assert lab.bob.stats().jobs_reporting == 0


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


# -- logs


def _chatty(process: Process, _arguments: object) -> Run:
    for line in range(200):
        process.say(f"line {line}")
        process.say(f"warning {line}", "stderr")
        yield 0.05
    return 0


WHOLE_LOG = b"".join(b"line %d\n" % line for line in range(200))


def chatty_lab(seed: int = 0) -> SellerLab:
    return SellerLab(executor=FakeExecutor(programs={"chatty": _chatty}), seed=seed)


@simulated
async def test_output_gathers_while_nobody_reads_along() -> None:
    lab = chatty_lab()
    async with lab.running() as alice:
        await alice.award(task("chatty"), TASK)
        await alice.result(TASK)
        assert alice.log(TASK) == WHOLE_LOG
        assert alice.log(TASK, stream="stderr").count(b"\n") == 200
        assert alice.logs[TASK, 1, "stdout"].pushes < 30


@simulated
async def test_small_pieces_go_at_once_while_somebody_reads_along() -> None:
    lab = chatty_lab()
    async with lab.running() as alice:
        alice.follows = True
        await alice.award(task("chatty"), TASK)
        await alice.result(TASK)
        assert alice.log(TASK) == WHOLE_LOG
        assert alice.logs[TASK, 1, "stdout"].pushes > 100


@simulated
async def test_the_result_waits_for_the_last_byte_of_the_log() -> None:
    lab = chatty_lab()
    async with lab.running() as alice:
        alice.takes_logs = False
        await alice.award(task("chatty"), TASK)
        await trio.sleep(60)
        assert not [m for m in alice.heard if type(m).__name__ == "ResultTerms"]
        alice.takes_logs = True
        await alice.result(TASK)
        assert alice.log(TASK) == WHOLE_LOG


@simulated
async def test_a_log_goes_on_where_a_restarted_buyer_has_it() -> None:
    lab = chatty_lab()
    async with lab.running() as alice:
        await alice.award(task("chatty"), TASK)
        await trio.sleep(5)
        alice.logs[TASK, 1, "stdout"].data = alice.log(TASK)[:100]  # what was on its disk
        await alice.result(TASK)
        assert alice.log(TASK) == WHOLE_LOG


# -- checkpoints


@simulated
async def test_a_task_that_moves_goes_on_from_its_last_checkpoint() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        spec = task("train", "60", "1", "10", checkpoint=CHECKPOINTS, outputs=("result.json",))
        await alice.award(spec, TASK)
        told = await alice.until(Checkpointed, lambda m: m.checkpoint.step >= 30)
        alice.rpc.cast(BOB, CancelJob(TASK, 1, "moved"))
        del alice.renewed[TASK, 1]
        await until_settled(lab)
        await alice.award(spec, TASK, 2, restore=told.checkpoint)
        result = await alice.result(TASK, 2)
        first = json.loads(alice.log(TASK, 2).splitlines()[0])
        assert first == {"first_step": told.checkpoint.step}
        assert json.loads(await lab.bytes_of(result.outcome.outputs[0])) == {
            "total": sum(range(61))
        }


@simulated
async def test_checkpoints_of_a_task_that_is_done_are_given_up() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("train", "30", "1", "10", checkpoint=CHECKPOINTS), TASK)
        await alice.result(TASK)
        await until_settled(lab)
        await trio.sleep(1)
        assert not lab.objects.entries()


@simulated
async def test_a_checkpoint_that_cannot_be_restored_makes_the_machine_unfit() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        spec = task("train", "60", "1", "10", checkpoint=CHECKPOINTS)
        await alice.award(spec, TASK)
        told = await alice.until(Checkpointed)
        lost: Checkpoint = told.checkpoint
        lab.pool.objects.clear()
        await alice.award(spec, TASK, 2, restore=lost)
        assert (await alice.result(TASK, 2)).outcome.status == "unfit"


# -- the buyer goes away


@simulated
async def test_a_job_whose_buyer_is_gone_saves_and_stops_after_the_grace() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("sleep", "100000"), TASK)
        lab.network.cut([ALICE], [BOB])
        began_s = trio.current_time()
        await until(lambda: lab.bob.stats().jobs_running == 0)
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
        await until(lambda: lab.bob.stats().jobs_running == 0)
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


# -- the owner


@simulated
async def test_a_paused_machine_is_its_owner_s_within_the_grace() -> None:
    lab = SellerLab()
    async with lab.running() as alice:
        await alice.award(task("stubborn", "100000"), TASK)
        await alice.until(State, lambda s: s.phase is Phase.RUNNING)
        began_s = trio.current_time()
        await lab.bob.pause(3.0)
        assert trio.current_time() - began_s <= 5.0
        assert lab.bob.stats().jobs_running == 0
        assert lab.bob.stats().paused
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
        lab.bob.on_room_changed(lambda: changes.append(1))
        before = lab.bob.advert()
        await alice.award(task("sleep", "100"), TASK)
        during = lab.bob.advert()
        assert before is not None
        assert during is not None
        assert before.lends
        assert before.cpu_free_millis - during.cpu_free_millis == 1000
        assert before.tasks_free - during.tasks_free == 1
        assert changes


# -- forgeries


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


# -- restarts


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
        assert lab.bob.stats().paused


async def _survive(lab: SellerLab, alice: Alice, dice: random.Random) -> None:
    for _ in range(dice.randrange(1, 5)):
        await trio.sleep(dice.uniform(0.0, 8.0))
        await lab.kill_bob()
        await trio.sleep(dice.choice([0.0, 0.01, 3.0]))
        await lab.start_bob()


@pytest.mark.parametrize("seed", range(50))
@simulated
async def test_no_task_and_no_byte_is_lost_over_random_restarts(seed: int) -> None:
    executor = FakeExecutor(programs={"chatty": _chatty})
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
    lab = SellerLab(terms=ContractorConfig(tasks_max=1))
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
    assert ContractorConfig() == TERMS
