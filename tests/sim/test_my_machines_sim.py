"""What a machine of a person may do with tasks that another of theirs has begun, and who not."""

from dataclasses import dataclass

import pytest
import trio
from msgspec.structs import replace
from msgspec.structs import replace as replace_one

from p2p.ids import PeerId
from p2p.membership.service import MembershipService
from p2p.membership.view import View
from swarmnode.errors import TaskUnknownError, TaskUnreachableError
from swarmnode.market.buyer.own_machines.standing import Here
from swarmnode.market.guardians.kept import Post
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import Repeatability, TaskSpec
from testnet.sim.seeded import simulated, until_slowly
from testnet.sim.world import World
from tests.my_machines_lab import HOURS, PRINTS, SHAPE, nothing_runs, printed, running_task


@dataclass(frozen=True)
class Forgetful:
    """A view from which a machine has gone: a day after it was last seen."""

    members: MembershipService
    gone: PeerId

    def view(self) -> View:
        view = self.members.view()
        return replace_one(view, members=tuple(m for m in view.members if m.peer != self.gone))


@simulated
async def test_a_task_is_shown_and_cancelled_from_another_machine_of_its_owner() -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        task = await running_task(world, "m0")
        found = (await world["m3"].up.market.own_machines.elsewhere.find(task)).record
        assert (found.state, found.submitter, found.key) == (
            TaskState.RUNNING,
            world["m0"].peer,
            b"",
        )
        found = (await world["m3"].up.market.own_machines.elsewhere.find(task, cancel=True)).record
        assert found.state is TaskState.CANCELLED
        at_home = world["m0"].up.market.buyer.task(task)
        assert (at_home.state, at_home.record.why) == (TaskState.CANCELLED, "cancelled from m3")
        await until_slowly(lambda: nothing_runs(world), 30)


@pytest.mark.parametrize("effects", list(Repeatability))
def test_guardians_cancel_it_while_its_submitter_is_away(effects: Repeatability) -> None:
    @simulated
    async def away() -> None:
        world = World(2, ["m0", "m1", "m2", "m3", "m4"], labs=1)
        async with world.running():
            task = await running_task(world, "m0", effects=effects)
            await world.kill("m0")
            # At once: the guardians have yet to find out who acts.
            found = (
                await world["m4"].up.market.own_machines.elsewhere.find(task, cancel=True)
            ).record
            assert (found.state, found.submitter) == (TaskState.CANCELLED, world["m0"].peer)
            await until_slowly(lambda: nothing_runs(world), 30)
            await world.start("m0")
            await until_slowly(
                lambda: world["m0"].up.market.buyer.task(task).state is TaskState.CANCELLED, 60
            )
            assert world["m0"].up.market.buyer.task(task).record.why == "cancelled from m4"

    away()


@simulated
async def test_the_owner_is_known_when_its_machine_is_forgotten() -> None:
    world = World(3, ["m0", "m1", "m2", "m3", "m4"], labs=1)
    async with world.running():
        task = await running_task(world, "m0")
        await world.power_cut("m0")
        for name in ("m1", "m2", "m3", "m4"):
            elsewhere = world[name].up.market.own_machines.elsewhere
            elsewhere._members = Forgetful(world[name].up.peers.membership, world["m0"].peer)
        found = (await world["m4"].up.market.own_machines.elsewhere.find(task, cancel=True)).record
        assert found.state is TaskState.CANCELLED


@pytest.mark.parametrize("is_away", [False, True])
def test_somebody_else_neither_sees_nor_cancels_it(is_away: bool) -> None:
    @simulated
    async def others() -> None:
        world = World(4, ["m0", "n0", "m1", "n1", "m2", "n2"], labs=2)
        async with world.running():
            task = await running_task(world, "m0")
            if is_away:
                await world.kill("m0")
                await trio.sleep(60)
            for cancel in (False, True):
                with pytest.raises(TaskUnknownError, match="no machine that can be asked"):
                    await world["n1"].up.market.own_machines.elsewhere.find(task, cancel=cancel)
            assert not nothing_runs(world)
            assert (
                await world["m2"].up.market.own_machines.elsewhere.find(task)
            ).state is TaskState.RUNNING

    others()


@simulated
async def test_a_task_of_a_guest_of_the_machine_is_nobodys_elsewhere() -> None:
    world = World(5, ["m0", "m1", "m2"], labs=1)
    async with world.running():
        await trio.sleep(20)
        task = await world["m0"].up.market.buyer.submit(TaskSpec(HOURS, shape=SHAPE), "bob")
        await trio.sleep(20)
        with pytest.raises(TaskUnknownError):
            await world["m1"].up.market.own_machines.elsewhere.find(task, cancel=True)
        assert world["m0"].up.market.buyer.task(task).state is TaskState.RUNNING


@simulated
async def test_what_has_ended_stays_as_it_is_whoever_cancels_it_again() -> None:
    world = World(6, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        task = await running_task(world, "m0", ("sleep", "30"))
        await until_slowly(
            lambda: world["m0"].up.market.buyer.task(task).state is TaskState.DONE, 60
        )
        found = await world["m3"].up.market.own_machines.elsewhere.find(task, cancel=True)
        assert found.state is TaskState.DONE
        assert world["m0"].up.market.buyer.task(task).state is TaskState.DONE


@pytest.mark.parametrize("is_away", [False, True], ids=["at home", "away"])
def test_what_it_prints_is_read_and_followed_from_another_machine(is_away: bool) -> None:
    @simulated
    async def read() -> None:
        world = World(16, ["m0", "m1", "m2", "m3", "m4"], labs=1)
        async with world.running():
            task = await running_task(world, "m0", PRINTS)
            if is_away:
                await world.kill("m0")
                await trio.sleep(60)
            with trio.fail_after(600):
                text = await printed(world, "m4", task, follow=True)
            assert text == await printed(world, "m4", task)
            if is_away:
                await world.start("m0")
                await trio.sleep(90)
            assert text == await printed(world, "m0", task) != b""

    read()


@simulated
async def test_two_machines_cancel_at_once_and_one_of_them_again() -> None:
    world = World(7, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        task = await running_task(world, "m0")
        states = []

        async def cancel(name: str) -> None:
            market = world[name].up.market
            asked = (
                market.buyer.cancel(task)
                if name == "m0"
                else market.own_machines.elsewhere.find(task, cancel=True)
            )
            states.append((await asked).state)

        async with trio.open_nursery() as nursery:
            for name in ("m0", "m2", "m3"):
                nursery.start_soon(cancel, name)
        await cancel("m3")
        assert states == [TaskState.CANCELLED] * 4
        await until_slowly(lambda: nothing_runs(world), 30)
        assert world["m0"].up.market.buyer.task(task).record.attempts[-1].ended_as == "cancelled"


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.3, 1.0, 2.5])
def test_a_cancel_while_it_is_auctioned_awarded_or_just_begun_stops_it(after_s: float) -> None:
    @simulated
    async def young() -> None:
        world = World(int(after_s * 100), ["m0", "m1", "m2", "m3"], labs=1)
        async with world.running():
            await trio.sleep(20)
            task = await world["m0"].up.market.buyer.submit(TaskSpec(HOURS, shape=SHAPE))
            await trio.sleep(after_s)
            said = await world["m3"].up.market.own_machines.elsewhere.find(task, cancel=True)
            assert said.state is TaskState.CANCELLED
            await trio.sleep(60)
            assert nothing_runs(world)
            assert world["m0"].up.market.buyer.task(task).state is TaskState.CANCELLED

    young()


@pytest.mark.parametrize("seed", range(4))
def test_a_cancel_and_an_end_at_the_same_time_leave_one_truth(seed: int) -> None:
    @simulated
    async def race() -> None:
        world = World(seed, ["m0", "m1", "m2", "m3"], labs=1)
        async with world.running():
            task = await running_task(world, "m0", ("sleep", "60"))
            market = world["m0"].up.market
            began_s = trio.current_time()
            with trio.move_on_after(60 - 20 - 0.2 + 0.1 * seed):
                await market.buyer.wait(task)
            said = (
                await world["m3"].up.market.own_machines.elsewhere.find(task, cancel=True)
            ).state
            assert said in (TaskState.CANCELLED, TaskState.DONE)
            await trio.sleep(60)
            assert market.buyer.task(task).state is said, trio.current_time() - began_s
            assert (await world["m2"].up.market.own_machines.elsewhere.find(task)).state is said

    race()


@simulated
async def test_what_its_submitter_had_seen_end_before_a_cut_stays_ended() -> None:
    """The guardians had not heard of the end: who cancels there finds it done after the cut."""
    world = World(8, ["m0", "m1", "m2", "m3", "m4"], labs=1)
    async with world.running():
        task = await running_task(world, "m0", ("sleep", "60"))
        host = next(name for name in world.machines if world.is_busy(name))
        others = [name for name in world.machines if name not in ("m0", host)]
        await trio.sleep(38.5)  # it ends before the lease does
        world.cut(["m0", host], others)
        await until_slowly(
            lambda: world["m0"].up.market.buyer.task(task).state is TaskState.DONE, 200
        )
        kept = [name for name in others if _post(world, name, task) is Post.ACTS]
        asked = next(name for name in others if name not in kept)
        try:
            said = (
                await world[asked].up.market.own_machines.elsewhere.find(task, cancel=True)
            ).state
        except (TaskUnreachableError, TaskUnknownError):
            said = None
        world.heal()
        await trio.sleep(90)
        assert said in (TaskState.CANCELLED, None)
        assert world["m0"].up.market.buyer.task(task).state is TaskState.DONE
        assert (
            await world[asked].up.market.own_machines.elsewhere.find(task)
        ).state is TaskState.DONE


def _post(world: World, name: str, task: TaskId) -> Post | None:
    return world[name].up.market.buyer._core.custody.post_of(task)


@simulated
async def test_without_a_majority_of_its_keepers_a_cancel_says_so_and_can_be_repeated() -> None:
    world = World(9, ["m0", "m1", "m2", "m3", "m4"], labs=1)
    async with world.running():
        task = await running_task(world, "m0")
        keepers = world["m0"].up.market.buyer.task(task).keepers
        assert keepers is not None
        names = {one.peer: name for name, one in world.machines.items()}
        first = next(names[peer] for peer in keepers.roster if names[peer] != "m0")
        asking = next(n for n in world.machines if world[n].peer not in keepers.roster)
        rest = [name for name in world.machines if name not in (first, asking)]
        world.cut([first, asking], rest)
        await trio.sleep(30)
        with pytest.raises(TaskUnreachableError, match="try again"):
            await world[asking].up.market.own_machines.elsewhere.find(task, cancel=True)
        world.heal()
        await trio.sleep(30)
        found = await world[asking].up.market.own_machines.elsewhere.find(task, cancel=True)
        assert found.state is TaskState.CANCELLED


@simulated
async def test_a_member_that_keeps_nothing_of_it_cannot_answer_for_it() -> None:
    """What is told of a task must be signed by its key."""
    world = World(10, ["m0", "n0", "m1", "n1"], labs=2)
    async with world.running():
        task = await running_task(world, "m0")
        record = world["m0"].up.market.buyer.task(task).record
        ended = replace(record, state=TaskState.CANCELLED, key=bytes(32))
        for name in ("n0", "n1"):
            liar = world[name].up.market.own_machines.elsewhere
            liar._here = lambda _caller, _task: Here(ended, True, True)  # type: ignore[method-assign,assignment]
        found = await world["m1"].up.market.own_machines.elsewhere.find(task)
        assert (found.state, found.record.submitter) == (TaskState.RUNNING, world["m0"].peer)
