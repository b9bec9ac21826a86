"""Tasks that were removed where they were taken over, and that somebody still tells of."""

import trio

from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import Repeatability, TaskSpec
from testnet.sim.seeded import simulated, until_slowly
from testnet.sim.world import World
from tests.my_machines_lab import running_task


def names_of(world: World) -> dict[str, str]:
    return {machine.peer: name for name, machine in world.machines.items()}


async def take_over(world: World, taker: str, task: TaskId) -> int:
    """What the guardians tell of m0 is the taker's; when that was."""
    taken_over_ms = world[taker].up.edges.wall_ms()
    market = world[taker].up.market
    await market.own_machines.take_up(
        await market.own_machines.left_behind.kept_for(world["m0"].peer, taken_over_ms),
        is_told=True,
    )
    return taken_over_ms


def kept_at(world: World, name: str, task: TaskId) -> GuardRecord | None:
    return world[name].up.market.buyer._core.custody.find(task)


@simulated
async def test_a_task_that_was_removed_is_not_run_again_when_a_guardian_of_before_returns() -> None:
    world = World(1, ["m0", "m1", "m2", "m3", "m4", "m5"], labs=1)
    async with world.running():
        task = await running_task(world, "m0", ("sleep", "100"))
        await trio.sleep(10)
        names, view = names_of(world), world["m0"].up.market.buyer.task(task)
        assert view.keepers is not None
        guardians = [names[peer] for peer in view.keepers.roster if names[peer] != "m0"]
        provider = names[view.record.provider]
        away = next(name for name in guardians if name != provider)
        busy = (provider, *guardians, "m0")
        taker = next(name for name in names.values() if name not in busy)
        await world.kill(away)
        await world.kill("m0")
        await trio.sleep(40)
        taken_over_ms = await take_over(world, taker, task)
        await until_slowly(lambda: world[taker].up.market.buyer.task(task).has_ended, 600)
        await trio.sleep(120)
        await world[taker].up.market.buyer.forget(task)
        await world.start(away)
        await trio.sleep(120)
        await world.kill(taker)
        market = (await world.start(taker)).market
        await trio.sleep(10)
        told = await market.own_machines.left_behind.kept_for(world["m0"].peer, taken_over_ms)
        await market.own_machines.take_up(told, is_told=True)
        await trio.sleep(200)
        assert market.buyer.tasks() == ()
        assert not any(world.is_busy(name) for name in world.machines)


@simulated
async def test_what_must_not_run_twice_does_not_when_its_first_machine_returns() -> None:
    world = World(1, [f"m{number}" for number in range(7)], labs=1)
    async with world.running():
        await trio.sleep(20)
        names = names_of(world)
        for name in ("m4", "m6"):
            await world.kill(name)
        required = (world["m4"].peer, world["m6"].peer)
        spec = TaskSpec(("sleep", "5"), effects=Repeatability.ONCE, require=required)
        task = await world["m0"].up.market.buyer.submit(spec)
        await trio.sleep(20)
        kept = kept_at(world, "m0", task)
        assert kept is not None
        guardians = [names[peer] for peer in kept.roster if names[peer] != "m0"]
        taker = next(name for name in ("m5", "m3", "m2", "m1") if name not in guardians)
        await world.kill("m0")
        await trio.sleep(40)
        taken_over_ms = await take_over(world, taker, task)
        await world.start("m4")
        market = world[taker].up.market
        await until_slowly(lambda: market.buyer.task(task).has_ended, 600)
        assert market.buyer.task(task).state is TaskState.DONE
        await trio.sleep(60)
        await market.buyer.forget(task)
        await world.kill("m4")
        await world.start("m6")
        for name in guardians:  # what they were told is forgotten
            await world.kill(name)
            await world.start(name)
        await trio.sleep(30)
        node = await world.start("m0")
        for _ in range(20):
            await trio.sleep(15)
            for record in await node.market.own_machines.hand_over.gone_on(taken_over_ms):
                await node.estate.leave([record])
                await node.market.own_machines.hand_over.let_go(record.task, record.submitter)
            assert not any(view.has_ended for view in node.market.buyer.tasks())
            assert not world.is_busy("m6")
        assert node.market.buyer.tasks() == ()
