"""Every guardian of a task is gone for good, and its submitter comes back."""

import pytest
import trio

from swarmnode.market.buyer.book import MAY_HAVE_RUN
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import Repeatability
from testnet.sim.seeded import simulated, until_slowly
from testnet.sim.world import World
from tests.my_machines_lab import nothing_runs, running_task


@pytest.mark.parametrize("effects", list(Repeatability))
def test_a_task_that_waits_for_them_is_cancelled_and_run_anew_or_has_failed(
    effects: Repeatability,
) -> None:
    @simulated
    async def gone() -> None:
        world = World(2, ["m0", "m1", "m2", "m3", "m4", "m5"], labs=1)
        async with world.running():
            task = await running_task(world, "m0", effects=effects)
            keepers = world["m0"].up.market.buyer.task(task).keepers
            assert keepers is not None
            names = {one.peer: name for name, one in world.machines.items()}
            guardians = [names[peer] for peer in keepers.roster if names[peer] != "m0"]
            assert not any(world.is_busy(name) for name in guardians), "it runs on one: other seed"
            await world.kill("m0")
            for name in guardians:
                await world.power_cut(name)
                world.lose_disk(name)
            market = (await world.start("m0")).market
            await until_slowly(lambda: nothing_runs(world), 120)  # its lease has ended with them
            view = market.buyer.task(task)
            if effects is Repeatability.ONCE:
                assert (view.state, MAY_HAVE_RUN in view.record.why) == (TaskState.FAILED, True)
                return
            assert (view.state, view.may_act) == (TaskState.LOST, False)
            assert (await market.buyer.cancel(task)).state is TaskState.CANCELLED
            again = await market.buyer.submit(view.record.spec)
            await until_slowly(lambda: market.buyer.task(again).state is TaskState.RUNNING, 60)

    gone()


@simulated
async def test_one_that_ran_on_a_guardian_waits_in_words_and_may_be_cancelled() -> None:
    world = World(3, ["m0", "m1", "m2", "m3", "m4", "m5"], labs=1)
    async with world.running():
        task = await running_task(world, "m0")
        keepers = world["m0"].up.market.buyer.task(task).keepers
        assert keepers is not None
        names = {one.peer: name for name, one in world.machines.items()}
        guardians = [names[peer] for peer in keepers.roster if names[peer] != "m0"]
        assert any(world.is_busy(name) for name in guardians), "it runs on none: other seed"
        await world.kill("m0")
        for name in guardians:
            await world.power_cut(name)
            world.lose_disk(name)
        market = (await world.start("m0")).market
        await trio.sleep(120)
        view = market.buyer.task(task)  # they may have gone on with it: it is not run a second time
        assert (view.state, view.may_act) == (TaskState.RUNNING, False)
        assert (await market.buyer.cancel(task)).state is TaskState.CANCELLED
        again = await market.buyer.submit(view.record.spec)
        await until_slowly(lambda: market.buyer.task(again).state is TaskState.RUNNING, 60)
