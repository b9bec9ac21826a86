"""Which checkpoints are kept, for how long, and what of a job that ended."""

import json
from itertools import pairwise

import trio

from swarmnode.executor.fake.programs import Process, Run
from swarmnode.limits import STEP_MAX
from swarmnode.tasks.checkpoint import is_newer, resume_step
from testnet.sim.seeded import simulated
from tests.memory_lab import TASK, Lab, _once, job_spec


@simulated
async def test_older_checkpoints_go_once_the_submitter_has_a_newer_one() -> None:
    lab = Lab()
    async with lab.watching():
        for step in (1, 2, 3, 4):
            await lab.stage(step)
            await lab.until_step(step)
        assert lab.kept_steps() == [1, 2, 3, 4]
        lab.memory.acknowledge(lab.job, lab.reported[1].made_ms)
        await trio.sleep(1)
        assert lab.kept_steps() == [1, 2, 3, 4]  # it has not heard of the newest one
        lab.acknowledge()
        await trio.sleep(1)
        assert lab.kept_steps() == [3, 4]


@simulated
async def test_a_node_that_was_restarted_still_forgets_what_it_stored_before() -> None:
    lab = Lab()
    async with lab.watching():
        for step in (1, 2):
            await lab.stage(step)
            await lab.until_step(step)
    async with trio.open_nursery() as nursery:
        spec = lab.watch_spec(last_step=2, last=lab.reported[-1])
        nursery.start_soon(lab.memory.watch, lab.job, spec, lab.on_checkpoint, lab.on_trouble)
        await lab.stage(3)
        await lab.until_step(3)
        lab.acknowledge()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert lab.kept_steps() == [2, 3]


@simulated
async def test_a_task_that_is_done_leaves_no_checkpoint() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.stage(1)
        await lab.until_step(1)
    await lab.memory.discard(TASK)
    assert not lab.objects.entries()
    assert not lab.pool.objects


@simulated
async def test_checkpoints_of_a_task_that_left_long_ago_go_after_a_month() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.stage(1)
        await lab.until_step(1)
    await lab.objects.put(_once(b"somebody's own"), name=f"checkpoint/{TASK}")
    lab.wall.step(29 * 86_400_000)
    await lab.memory.forget_stale(frozenset())
    assert len(lab.objects.entries()) == 2
    lab.wall.step(2 * 86_400_000)
    await lab.memory.forget_stale(frozenset({TASK}))
    assert len(lab.objects.entries()) == 2
    await lab.memory.forget_stale(frozenset())
    assert [entry.name for entry in lab.objects.entries()] == [f"checkpoint/{TASK}"]


@simulated
async def test_the_last_words_of_a_job_that_ended_are_kept() -> None:
    lab = Lab()
    async with lab.watching(every_ms=1_000_000):
        await lab.stage(1)
        await lab.until_step(1)
        await lab.stage(2)
        await lab.executor.stop(lab.job, 1)
        assert await lab.memory.flush(lab.job, is_orderly=True) == ""
    assert [one.step for one in lab.reported] == [1, 2]


BEYOND = json.dumps({"step": STEP_MAX + 1}).encode()


@simulated
async def test_where_the_newest_is_refused_the_one_before_it_is_kept_and_the_refusal_told() -> None:
    lab = Lab()
    async with lab.watching():
        await trio.sleep(5.5)  # between two looks, so that both come at once
        await lab.stage(1)
        await lab.write("checkpoint/step.json", BEYOND)
        await lab.until_step(1)
        await trio.sleep(10)
    assert [one.step for one in lab.reported] == [1]
    assert lab.troubles[0] == f"not kept: steps end at {STEP_MAX}: number them anew"
    assert lab.troubles[-1] == lab.troubles[0]


@simulated
async def test_so_it_is_with_the_last_words_of_a_job() -> None:
    lab = Lab()
    async with lab.watching(every_ms=1_000_000):
        await trio.sleep(5)
        await lab.stage(1)
        await lab.write("checkpoint/step.json", BEYOND)
        await lab.executor.stop(lab.job, 1)
        assert "number them anew" in await lab.memory.flush(lab.job, is_orderly=True)
    assert [one.step for one in lab.reported] == [1]


def _in_place(process: Process, _arguments: object) -> Run:
    """A first step by renaming, two more in place; the last one when it is about to be killed."""
    process.write("checkpoint/step-1/model", b"x")
    yield 3.0
    process.write("checkpoint/step-2/model", b"x", in_place=True)
    yield 20.0
    process.write("checkpoint/step-3/model", b"x", in_place=True)
    yield 1e6
    return 0


@simulated
async def test_of_a_killed_job_only_what_had_rested_is_kept() -> None:
    lab = Lab(programs={"in_place": _in_place})
    async with lab.watching("in_place", every_ms=1_000_000):
        await lab.until_step(1)
        await trio.sleep(23)
        await lab.executor.stop(lab.job, 0)
        assert await lab.memory.flush(lab.job, is_orderly=False) == ""
    assert [(one.step, one.sure) for one in lab.reported] == [(1, True), (2, True)]


def _torn(process: Process, _arguments: object) -> Run:
    """Whole at step 1; step 2 is filled in place with a gap in which its machine may die."""
    process.write("checkpoint/step-1/model", b"one")
    yield 3.0
    process.write("checkpoint/step-2/model", b"two", in_place=True)
    yield 20.0
    process.write("checkpoint/step-2/optimizer", b"two", in_place=True)
    yield 1e6
    return 0


@simulated
async def test_a_torn_checkpoint_is_not_gone_on_from_and_a_whole_one_follows() -> None:
    lab = Lab(programs={"torn": _torn})
    async with lab.watching("torn"):
        torn = await lab.until_step(2)
        assert not torn.sure
        other = await lab.restored()
        assert await other.files() == ["checkpoint/step-1/model"]
        assert resume_step(torn) == 1
        await trio.sleep(60)
    assert [(one.step, one.sure) for one in lab.reported[-2:]] == [(2, False), (2, True)]
    assert await (await lab.restored()).files() == [
        "checkpoint/step-1/model",
        "checkpoint/step-2/model",
        "checkpoint/step-2/optimizer",
    ]
    assert all(is_newer(two, one) for one, two in pairwise(lab.reported))


@simulated
async def test_as_many_steps_as_asked_come_back_with_what_lies_beside_them() -> None:
    lab = Lab()
    async with lab.watching(keep=3):
        for step in range(1, 6):
            await lab.stage(step, b"%d" % step)
            await lab.until_step(step)
        await lab.write("checkpoint/best.txt", b"4")
        await trio.sleep(10)
        lab.acknowledge()
        await trio.sleep(1)
    other = await lab.restored()
    assert await other.files() == [
        "checkpoint/best.txt",
        *(f"checkpoint/step-{step}/model" for step in (3, 4, 5)),
    ]
    assert len(lab.objects.entries()) == 4
    async with trio.open_nursery() as nursery:
        await nursery.start(other.executor.run)
        await other.executor.start(job_spec(other.job, "sleep", "1000000"))
        spec = other.watch_spec(last_step=5, last=lab.reported[-1], is_restored=True, keep=3)
        watch, ears = other.memory.watch, (other.on_checkpoint, other.on_trouble)
        nursery.start_soon(watch, other.job, spec, *ears)
        await trio.sleep(10)
        assert not other.reported
        await other.stage(6)
        newest = await other.until_step(6)
        assert [one.step for one in newest.older] == [5, 4]
        nursery.cancel_scope.cancel()


@simulated
async def test_a_folder_without_numbers_is_kept_each_time_it_has_come_to_rest() -> None:
    lab = Lab()
    async with lab.watching():
        for version in (b"one", b"two"):
            await lab.write("checkpoint/model.pt", version)
            await lab.write("checkpoint/.metadata", version)
            await trio.sleep(10)
    assert [one.step for one in lab.reported] == [1, 2]
    other = await lab.restored()
    assert await other.files() == ["checkpoint/.metadata", "checkpoint/model.pt"]
    assert await other.read("checkpoint/model.pt") == b"two"


def _never_at_rest(process: Process, _arguments: object) -> Run:
    while True:
        process.write("checkpoint/train.log", b"x" * int(process.now_ns % 1000 + 1), in_place=True)
        yield 1.0


@simulated
async def test_a_folder_that_never_rests_is_told_of_and_kept_at_the_end() -> None:
    lab = Lab(programs={"never": _never_at_rest})
    async with lab.watching("never"):
        await trio.sleep(600)
        assert not lab.reported
        assert "has not rested for 2 min: write under another name" in lab.troubles[0]
        await lab.executor.stop(lab.job, 0)
        assert await lab.memory.flush(lab.job, is_orderly=True) == ""
    assert len(lab.reported) == 1


@simulated
async def test_what_cannot_be_kept_is_told_and_so_is_that_it_can_again() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.stage(1)
        await lab.until_step(1)
        lab.pool.is_down = True
        await lab.stage(2)
        await trio.sleep(10)
        assert len(lab.troubles) == 1
        assert "the pool cannot take it now" in lab.troubles[0]
        lab.pool.is_down = False
        await lab.until_step(2)
        await trio.sleep(1)
    assert lab.troubles[1:] == [""]


def _fast_saver(process: Process, _arguments: object) -> Run:
    """As ctx.checkpoint does: two entries stay, older ones go while they are perhaps read."""
    for step in range(1, 4):
        process.write(f"checkpoint/step-{step}/m", b"x")
        process.files.pop(f"checkpoint/step-{step - 2}/m", None)
        yield 1.0
    yield 1e6
    return 0


@simulated
async def test_a_checkpoint_told_while_an_older_one_vanishes_is_not_lost() -> None:
    lab = Lab(programs={"saver": _fast_saver})
    lab.pool.seconds_per_put = 2.5
    async with lab.watching("saver", folder="", every_ms=0):
        for step in (1, 2, 3):
            await lab.ask(op="checkpoint", step=step, name=f"step-{step}", wait=False)
            await trio.sleep(1)
        await lab.until_step(3)
    assert [one.step for one in lab.reported] == [3]
