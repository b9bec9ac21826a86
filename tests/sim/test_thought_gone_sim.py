"""A machine that was taken over returns: what goes on elsewhere is not its own any more."""

import pytest
import trio
from msgspec.structs import replace

from p2p.limits import CLOCK_SKEW_MAX_MS
from swarmnode.errors import TaskUnknownError
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.own_machines.elsewhere import Here
from swarmnode.market.guardians.kept import Post
from swarmnode.market.service import MarketService
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import Repeatability, TaskSpec
from testnet.sim.seeded import simulated
from testnet.sim.world import World
from tests.sim.test_my_machines_sim import nothing_runs, running_task, until

MINUTES = ("sleep", "300")
TAKEN_MS = 1
"""Later than what its tasks knew of: nothing."""


async def taken_over(world: World, *tasks: TaskId) -> None:
    """m0 is lost, and m3 has these tasks of it."""
    records = [world["m0"].up.market.task(task).record for task in tasks]
    await world.kill("m0")
    await trio.sleep(40)
    await world["m3"].up.market.take_up(records)


async def is_told(market: MarketService, task: TaskId) -> None:
    """Who waits for it there is not left waiting."""
    with trio.fail_after(5), pytest.raises(TaskUnknownError):
        await market.wait(task)


@pytest.mark.parametrize("effects", list(Repeatability))
def test_its_tasks_are_its_takers_and_it_shows_how_they_end(effects: Repeatability) -> None:
    @simulated
    async def returns() -> None:
        world = World(1, ["m0", "m1", "m2", "m3", "m4"], labs=1)
        async with world.running():
            task = await running_task(world, "m0", MINUTES, effects)
            await taken_over(world, task)
            market = (await world.start("m0")).market
            await trio.sleep(20)
            assert market.task(task).state is TaskState.RUNNING
            async with trio.open_nursery() as nursery:
                nursery.start_soon(is_told, market, task)
                await trio.sleep(1)
                await market.hand_over(TAKEN_MS)
            assert market.tasks() == ()
            found = (await market.elsewhere(task)).record
            assert (found.state, found.owner) == (TaskState.RUNNING, world["m3"].peer)
            await until(lambda: world["m3"].up.market.task(task).has_ended, 500)
            ended = world["m3"].up.market.task(task).record
            assert (ended.state, len(ended.attempts)) == (TaskState.DONE, 1)
            assert (await market.elsewhere(task)).state is TaskState.DONE
            await trio.sleep(120)
            assert nothing_runs(world)
            for name in world.machines:
                core = world[name].up.market._buyer._core
                assert core.post_of(task) in (None, Post.KEEPS), name

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
        await market.hand_over(TAKEN_MS)
        assert [one.task for one in market.tasks()] == [unknown]
        await until(lambda: market.task(unknown).state is TaskState.DONE, 500)


@simulated
async def test_what_is_submitted_knowing_of_the_takeover_is_nobody_elses() -> None:
    world = World(3, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        market = world["m0"].up.market
        await market.hand_over(TAKEN_MS)
        task = await running_task(world, "m0", MINUTES)
        await world["m3"].up.market.take_up([market.task(task).record])
        await market.hand_over(TAKEN_MS)
        assert [one.task for one in market.tasks()] == [task]
        assert await world["m2"].up.market.kept_for(world["m0"].peer, TAKEN_MS) == []


@simulated
async def test_a_machine_of_somebody_else_that_says_it_has_a_task_is_not_believed() -> None:
    """Its guardians have its key: any of them can say so."""
    world = World(4, ["m0", "n0", "m1", "n1", "m2", "n2"], labs=2)
    async with world.running():
        market = world["m0"].up.market
        task = await running_task(world, "m0", MINUTES)
        said = Here(replace(market.task(task).record, owner=world["n0"].peer), True, True)
        liar = world["n0"].up.market._buyer.elsewhere
        liar._here = lambda _asker, _task: said  # type: ignore[method-assign,assignment]
        await market.hand_over(TAKEN_MS)
        assert [one.task for one in market.tasks()] == [task]


@simulated
async def test_what_must_not_run_twice_is_not_begun_before_it_is_known_whose_it_is() -> None:
    world = World(5, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        await trio.sleep(20)
        away = world["m3"].peer
        spec = TaskSpec(("sleep", "5"), effects=Repeatability.ONCE, require=(away,))
        await world.kill("m3")
        task = await world["m0"].up.market.submit(spec)
        await trio.sleep(20)
        await world.kill("m0")
        await world.start("m3")
        market = (await world.start("m0")).market
        await trio.sleep(BuyerConfig().returned_s - 1)
        assert market.task(task).record.attempts == ()
        await until(lambda: market.task(task).state is TaskState.DONE, 60)


@simulated
async def test_of_a_machine_that_is_back_only_what_is_old_is_taken() -> None:
    """Its new tasks may not say yet that it knows."""
    world = World(6, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        old = await running_task(world, "m0", MINUTES)
        await world.kill("m0")
        await trio.sleep(40)
        taken_ms = world["m3"].up.edges.wall_ms()
        await world.start("m0")
        await trio.sleep(CLOCK_SKEW_MAX_MS / 1000)
        new = await running_task(world, "m0", MINUTES)
        peer, market = world["m0"].peer, world["m3"].up.market
        assert [one.task for one in await market.kept_for(peer, taken_ms)] == [old]
        await world.kill("m0")
        await trio.sleep(40)
        assert {one.task for one in await market.kept_for(peer, taken_ms)} == {old, new}
