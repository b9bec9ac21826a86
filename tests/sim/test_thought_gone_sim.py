"""A machine that was taken over returns: what goes on elsewhere is not its own any more."""

from collections.abc import AsyncIterator

import pytest
import trio
from msgspec.structs import replace

from p2p.limits import CLOCK_SKEW_MAX_MS
from storage.facade import Mark, ObjectKind
from storage.manifests.capability import text_of_cap
from swarmnode.errors import TaskUnknownError
from swarmnode.estate import plan
from swarmnode.estate import service as estate
from swarmnode.estate.service import TIMES_UP_EVERY_S
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.own_machines.standing import Here
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.messages import FindTask
from swarmnode.market.service import MarketService
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import CheckpointSpec, Repeatability, TaskSpec
from testnet.sim.chaos.run import SETTINGS
from testnet.sim.seeded import simulated, until_slowly
from testnet.sim.world import World
from tests.my_machines_lab import SHAPE, nothing_runs, running_task

MINUTES = ("sleep", "300")
TAKEN_MS = 1
"""Later than what its tasks knew of: nothing."""
UNUSED_S, KEPT_S = 300, 90
"""How long inputs stay that no task has used, and those of what is done: an hour, ten minutes."""


async def taken_over(world: World, *tasks: TaskId) -> None:
    """m0 is lost, and m3 has these tasks of it."""
    records = [world["m0"].up.market.buyer.task(task).record for task in tasks]
    await world.kill("m0")
    await trio.sleep(40)
    await world["m3"].up.market.own_machines.take_up(records)


async def hands_over(world: World) -> None:
    """As m0 does every few seconds once it knows."""
    node = world["m0"].up
    for record in await node.market.own_machines.hand_over.gone_on(TAKEN_MS):
        await node.estate.leave([record])
        await node.market.own_machines.hand_over.let_go(record.task, record.submitter)


async def is_told(market: MarketService, task: TaskId, within_s: float = 5) -> None:
    """Who waits for it there is not left waiting."""
    with trio.fail_after(within_s), pytest.raises(TaskUnknownError):
        await market.buyer.wait(task)


@pytest.mark.parametrize("effects", list(Repeatability))
def test_its_tasks_are_its_takers_and_it_shows_how_they_end(effects: Repeatability) -> None:
    @simulated
    async def returns() -> None:
        world = World(1, ["m0", "m1", "m2", "m3", "m4"], labs=1)
        async with world.running():
            task = await running_task(world, "m0", MINUTES, effects)
            await taken_over(world, task)
            market = (await world.start("m0")).market
            await trio.sleep(1)
            assert market.buyer.task(task).state is TaskState.RUNNING
            async with trio.open_nursery() as nursery:
                nursery.start_soon(is_told, market, task, 60)
                while market.buyer.tasks():  # or a keeper of it tells first whose it is now
                    await trio.sleep(5)
                    await hands_over(world)
            assert market.own_machines.hand_over.moved(task) == {task: world["m3"].peer}
            found = (await market.own_machines.elsewhere.find(task)).record
            assert (found.state, found.submitter) == (TaskState.RUNNING, world["m3"].peer)
            await until_slowly(lambda: world["m3"].up.market.buyer.task(task).has_ended, 500)
            ended = world["m3"].up.market.buyer.task(task).record
            assert (ended.state, len(ended.attempts)) == (TaskState.DONE, 1)
            assert (await market.own_machines.elsewhere.find(task)).state is TaskState.DONE
            await trio.sleep(120)
            assert nothing_runs(world)
            for name in world.machines:
                core = world[name].up.market.buyer._core
                assert core.custody.post_of(task) in (None, Post.KEEPS), name

    returns()


@simulated
async def test_what_its_taker_does_not_know_stays_and_runs_to_its_end() -> None:
    world = World(2, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        known = await running_task(world, "m0", MINUTES)
        unknown = await running_task(world, "m0", ("sleep", "301"))
        await taken_over(world, known)
        market = (await world.start("m0")).market
        await trio.sleep(20)
        await hands_over(world)
        assert [one.task for one in market.buyer.tasks()] == [unknown]
        await until_slowly(lambda: market.buyer.task(unknown).state is TaskState.DONE, 500)


@simulated
async def test_what_is_submitted_knowing_of_the_takeover_is_nobody_elses() -> None:
    world = World(3, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        market = world["m0"].up.market
        await hands_over(world)
        task = await running_task(world, "m0", MINUTES)
        await world["m3"].up.market.own_machines.take_up([market.buyer.task(task).record])
        await hands_over(world)
        assert [one.task for one in market.buyer.tasks()] == [task]
        assert (
            await world["m2"].up.market.own_machines.left_behind.kept_for(
                world["m0"].peer, TAKEN_MS
            )
            == []
        )


@simulated
async def test_a_machine_of_somebody_else_that_says_it_has_a_task_is_not_believed() -> None:
    """Its guardians have its key: any of them can say so."""
    world = World(4, ["m0", "n0", "m1", "n1", "m2", "n2"], labs=2)
    async with world.running():
        market = world["m0"].up.market
        task = await running_task(world, "m0", MINUTES)
        said = Here(replace(market.buyer.task(task).record, submitter=world["n0"].peer), True, True)
        liar = world["n0"].up.market.own_machines.elsewhere
        liar._taken = lambda _caller, _task: said  # type: ignore[method-assign,assignment]
        await hands_over(world)
        assert [one.task for one in market.buyer.tasks()] == [task]


@simulated
async def test_what_must_not_run_twice_is_not_begun_before_it_is_known_whose_it_is() -> None:
    world = World(5, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        await trio.sleep(20)
        away = world["m3"].peer
        spec = TaskSpec(("sleep", "5"), effects=Repeatability.ONCE, require=(away,))
        await world.kill("m3")
        task = await world["m0"].up.market.buyer.submit(spec)
        await trio.sleep(20)
        await world.kill("m0")
        await world.start("m3")
        market = (await world.start("m0")).market
        await trio.sleep(BuyerConfig().returned_s - 1)
        assert market.buyer.task(task).record.attempts == ()
        await until_slowly(lambda: market.buyer.task(task).state is TaskState.DONE, 60)


@simulated
async def test_of_a_machine_that_is_back_only_what_is_old_is_taken() -> None:
    """Its new tasks may not say yet that it knows."""
    world = World(6, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        old = await running_task(world, "m0", MINUTES)
        await world.kill("m0")
        await trio.sleep(40)
        taken_over_ms = world["m3"].up.edges.wall_ms()
        await world.start("m0")
        await trio.sleep(CLOCK_SKEW_MAX_MS / 1000)
        new = await running_task(world, "m0", MINUTES)
        peer, market = world["m0"].peer, world["m3"].up.market
        assert [
            one.task for one in await market.own_machines.left_behind.kept_for(peer, taken_over_ms)
        ] == [old]
        await world.kill("m0")
        await trio.sleep(40)
        assert {
            one.task for one in await market.own_machines.left_behind.kept_for(peer, taken_over_ms)
        } == {old, new}


@simulated
async def test_what_belongs_to_a_task_that_goes_on_elsewhere_is_not_freed_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its input, and the checkpoint that it goes on from when its machine is lost."""
    for part in (plan, estate):
        monkeypatch.setattr(part, "INPUT_UNUSED_MS", UNUSED_S * 1000)
    monkeypatch.setattr(plan, "INPUT_KEPT_MS", KEPT_S * 1000)
    world = World(7, ["m0", "m1", "m2", "m3", "m4"], labs=1, settings=SETTINGS)
    async with world.running():
        await trio.sleep(20)

        async def pieces() -> AsyncIterator[bytes]:
            yield b"photons" * 1000

        mark = Mark(ObjectKind.INPUT)
        given = await world["m0"].up.storage.objects.put(pieces(), name="in", mark=mark)
        market = world["m0"].up.market
        spec = TaskSpec(
            run=("train", "9000", "1", "5"),
            inputs=(("in.csv", text_of_cap(given.cap)),),
            checkpoint=CheckpointSpec("checkpoint", every_ms=60_000, keep=3),
            shape=SHAPE,
            avoid=(world["m0"].peer,),
        )
        task = await market.buyer.submit(spec)
        await until_slowly(lambda: market.buyer.task(task).record.checkpoint is not None, 900)
        await trio.sleep(UNUSED_S + 2 * TIMES_UP_EVERY_S)
        rows = world["m0"].up.storage.objects.keyring.dump()
        reads = TaskSpec(("sleep", "1"), inputs=spec.inputs, shape=SHAPE)
        done = await market.buyer.submit(reads)  # another one that reads it, and is over there
        await until_slowly(lambda: market.buyer.task(done).has_ended, 60)
        await taken_over(world, task)
        await world["m3"].up.storage.objects.keyring.restore(rows)
        market = (await world.start("m0")).market
        await trio.sleep(30)
        await hands_over(world)
        assert [one.task for one in market.buyer.tasks()] == [done]
        await trio.sleep(KEPT_S + 2 * TIMES_UP_EVERY_S)
        kinds = {one.mark.kind for one in world["m3"].up.storage.objects.entries()}
        assert kinds == {ObjectKind.INPUT, ObjectKind.CHECKPOINT}
        assert {one.mark.kind for one in world["m0"].up.storage.objects.entries()} <= {
            ObjectKind.LOG
        }
        read = [piece async for piece in world["m3"].up.storage.objects.get(given.cap)]
        assert b"".join(read) == b"photons" * 1000
        taker = world["m3"].up.market
        provider = taker.buyer.task(task).record.provider
        await world.power_cut(next(name for name in world.machines if world[name].peer == provider))
        await until_slowly(lambda: len(taker.buyer.task(task).record.attempts) == 2, 300)
        await until_slowly(lambda: taker.buyer.task(task).state is TaskState.RUNNING, 300)
        assert taker.buyer.task(task).record.attempts[-1].restored_step > 0


@simulated
async def test_a_guest_s_task_is_let_go_and_nobody_is_told_more_of_it() -> None:
    world = World(8, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        task = await running_task(world, "m0", MINUTES, person="bob")
        await taken_over(world, task)
        market = (await world.start("m0")).market
        await trio.sleep(30)
        asked = FindTask(task, is_taken=True)
        told = await market.own_machines.elsewhere.ask(world["m3"].peer, asked)
        assert told is not None
        assert (told.record.person, told.record.spec.run, told.record.submitted_ms) == ("", (), 0)
        assert await market.own_machines.elsewhere.ask(world["m3"].peer, FindTask(task)) is None
        await hands_over(world)
        assert market.buyer.tasks() == ()


@simulated
async def test_two_that_were_taken_over_do_not_give_a_task_to_each_other() -> None:
    """The first one's taker was taken over itself, before it let go."""
    world = World(9, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        task = await running_task(world, "m0", MINUTES)
        await taken_over(world, task)
        await world["m3"].up.market.own_machines.hand_over.gone_on(
            TAKEN_MS
        )  # it is back, and knows
        market = (await world.start("m0")).market
        await trio.sleep(20)
        await hands_over(world)
        assert [one.task for one in market.buyer.tasks()] == [task]


@simulated
async def test_that_it_was_taken_over_is_known_after_a_restart() -> None:
    world = World(10, ["m0", "m1"], labs=1)
    async with world.running():
        await trio.sleep(20)
        await world["m0"].up.market.own_machines.hand_over.gone_on(77)
        await world.kill("m0")
        market = (await world.start("m0")).market
        task = await market.buyer.submit(TaskSpec(("sleep", "5"), shape=SHAPE))
        assert market.buyer.task(task).record.after_taken_over_ms == 77
