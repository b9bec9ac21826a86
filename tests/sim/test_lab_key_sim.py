"""What the key of a lab ends stays so, and its owner is told by whom and why."""

import pytest

from p2p.ids import PeerId
from swarmnode.errors import TaskUnknownError
from swarmnode.tasks.lifecycle import TaskState
from testnet.sim.seeded import simulated
from testnet.sim.signer import KeyedHashSigner
from testnet.sim.world import World
from tests.sim.test_my_machines_sim import nothing_runs, running_task, until

WHY = "it was put by mistake"


def key_of(world: World, lab: str) -> KeyedHashSigner:
    return KeyedHashSigner(PeerId(lab), world.seed)


# -- tasks


@pytest.mark.parametrize("is_away", [False, True], ids=["at home", "away"])
@pytest.mark.parametrize("person", ["", "bob"], ids=["of the owner", "of a guest"])
def test_a_task_is_cancelled_and_says_by_whom_and_why(is_away: bool, person: str) -> None:
    @simulated
    async def cancelled() -> None:
        world = World(7, ["m0", "n0", "m1", "n1", "m2"], labs=2)
        async with world.running():
            task = await running_task(world, "m0", person=person)
            if is_away:
                await world.kill("m0")
            market = world["n0"].up.market
            said = await market.cancel_as_lab(task, key_of(world, "lab-0"), WHY)
            assert said.state is TaskState.CANCELLED
            await until(lambda: nothing_runs(world), 30)
            if is_away:
                await world.start("m0")
            home = world["m0"].up.market
            await until(lambda: home.task(task).state is TaskState.CANCELLED, 60)
            assert home.task(task).record.why == f"the key of its lab cancelled it: {WHY}"
            again = await market.cancel_as_lab(task, key_of(world, "lab-0"), "again")
            assert again.record.why == f"the key of its lab cancelled it: {WHY}"

    cancelled()


@simulated
async def test_the_key_of_another_lab_cancels_nothing() -> None:
    world = World(8, ["m0", "n0", "m1", "n1"], labs=2)
    async with world.running():
        task = await running_task(world, "m0")
        for lab in ("lab-1", "elsewhere"):
            with pytest.raises(TaskUnknownError):
                await world["n0"].up.market.cancel_as_lab(task, key_of(world, lab), WHY)
        assert world["m0"].up.market.task(task).state is TaskState.RUNNING


@simulated
async def test_where_it_was_submitted_the_labs_key_cancels_as_well() -> None:
    world = World(9, ["m0", "m1", "m2"], labs=1)
    async with world.running():
        task = await running_task(world, "m0", person="bob")
        said = await world["m0"].up.market.cancel_as_lab(task, key_of(world, "lab-0"), WHY)
        assert said.state is TaskState.CANCELLED
