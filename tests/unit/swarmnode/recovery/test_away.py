"""A machine that was only away while another one took it over: each task is one machine's."""

import msgspec
import pytest
import trio

from swarmnode.node import Node
from swarmnode.recovery import returned
from swarmnode.tasks.spec import Shape, TaskSpec
from testnet.sim.seeded import simulated, until
from testnet.sim.world import World
from tests.recovery_lab import NOWHERE, FakeVault, is_copied, machines, put, recover, shelf, things

HAND_OVER_S = 60.0
"""A tenth of what it is."""


@simulated
async def test_a_machine_that_was_only_away_overwrites_nothing_and_has_a_copy_again() -> None:
    """Its tasks of before are its taker's; what comes later is not lost with it."""
    async with machines() as world:
        await put(world["laptop"].up, "of laptop")
        before = await world["laptop"].up.market.buyer.submit(NOWHERE)
        await is_copied(world["laptop"].up)
        await world.power_cut("laptop")
        blank = await recover(world)
        await is_copied(blank)
        taker = world["blank"].peer
        laptop = await world.start("laptop")
        await until(lambda: bool(laptop.face.status().notes), within_s=60, look_s=0.1)
        assert "your machine blank took over what was here" in laptop.face.status().notes[0]
        assert laptop.face.status("ben").notes == ()
        await put(laptop, "after its return")
        after = await laptop.market.buyer.submit(NOWHERE)
        await is_copied(laptop)
        found = await shelf(blank).read()
        assert len({one.writer for one in found.pointers}) == len(found.pointers)
        assert {taker, world["laptop"].peer} <= {one.writer for one in found.pointers}
        await trio.sleep(60)  # time for the taker to ask for more
        await world.power_cut("laptop")
        await trio.sleep(60)
        assert [one.record.task for one in blank.market.buyer.tasks()] == [before]
        world.vaults["later"] = FakeVault(recovering=True)
        later = await world.start("later")
        await until(lambda: not world.vaults["later"].is_recovering(), within_s=300, look_s=0.1)
        assert "after its return" in things(later)
        assert [one.record.task for one in later.market.buyer.tasks()] == [after]


async def taken_over(world: World) -> tuple[Node, Node]:
    """`laptop` is thought gone, `blank` takes it over, and both are there: (laptop, blank)."""
    await is_copied(world["laptop"].up)
    await world.power_cut("laptop")
    blank = await recover(world)
    await is_copied(blank)
    return await world.start("laptop"), blank


@simulated
async def test_a_task_that_went_on_elsewhere_is_known_by_its_name_and_removed_there() -> None:
    async with machines() as world:
        spec = msgspec.structs.replace(NOWHERE, name="long one")
        task = await world["laptop"].up.market.buyer.submit(spec)
        laptop, blank = await taken_over(world)
        await until(lambda: not laptop.market.buyer.tasks(), within_s=120, look_s=0.5)
        await world.kill("laptop")
        laptop = await world.start("laptop")
        for text in ("long one", task, task[:5]):
            assert laptop.market.own_machines.hand_over.moved(text) == {task: world["blank"].peer}
        assert not laptop.market.own_machines.hand_over.moved("long")
        await trio.sleep(30)
        there = await laptop.market.own_machines.hand_over.remove(task)
        assert (there.at, there.left) == ((), (world["blank"].peer,)), "it has not ended"
        await blank.market.buyer.cancel(task)
        there = await laptop.market.own_machines.hand_over.remove(task)
        assert (there.at, there.left) == ((world["blank"].peer,), ())
        assert not blank.market.buyer.tasks()
        there = await laptop.market.own_machines.hand_over.remove(task)
        assert (there.at, there.left) == ((), ())


@simulated
async def test_an_ended_task_that_two_machines_have_is_removed_at_both() -> None:
    async with machines() as world:
        spec = TaskSpec(run=("echo", "hello"), shape=Shape(cpu_millis=100))
        tasks = [await world["laptop"].up.market.buyer.submit(spec) for _ in range(2)]
        for task in tasks:
            with trio.fail_after(120):
                await world["laptop"].up.market.buyer.wait(task)
        nodes = await taken_over(world)
        await trio.sleep(60)
        for node, other, task in (*zip(nodes, reversed(nodes), tasks, strict=True),):
            await node.market.buyer.forget(task)
            assert (await node.market.own_machines.hand_over.remove(task)).at == (
                other.edges.host.peer_id,
            )
        assert [node.market.buyer.tasks() for node in nodes] == [(), ()]


@simulated
async def test_a_task_that_was_removed_a_while_ago_does_not_come_back() -> None:
    """Also one that left nothing that could be freed."""
    async with machines() as world:
        laptop = world["laptop"].up
        task = await laptop.market.buyer.submit(NOWHERE)
        await trio.sleep(30)  # its guardians have it, too
        await laptop.market.buyer.cancel(task)
        await is_copied(laptop)
        await laptop.market.buyer.forget(task)
        await trio.sleep(30)
        await world.power_cut("laptop")
        world.lose_disk("laptop")
        blank = await recover(world)
        await trio.sleep(60)
        assert not blank.market.buyer.tasks()


@simulated
async def test_what_one_of_two_machines_removed_comes_back_from_no_copy_of_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(returned, "HAND_OVER_S", HAND_OVER_S)
    async with machines() as world:
        task = await world["laptop"].up.market.buyer.submit(NOWHERE)
        await world["laptop"].up.market.buyer.cancel(task)
        laptop, blank = await taken_over(world)
        await trio.sleep(HAND_OVER_S + 60)  # what is still there is in its copies again
        await blank.market.buyer.forget(task)  # while the other one cannot be told
        await is_copied(blank)
        await put(laptop, "later")
        await is_copied(laptop, blank)
        for name in ("laptop", "blank"):
            await world.power_cut(name)
            world.lose_disk(name)
        world.vaults["later"] = FakeVault(recovering=True)
        later = await world.start("later")
        await until(lambda: not world.vaults["later"].is_recovering(), within_s=300, look_s=0.1)
        assert things(later) == {"later"}
        assert not later.market.buyer.tasks()


@simulated
async def test_a_machine_without_the_key_that_comes_back_has_a_copy_of_what_is_new_alone() -> None:
    async with machines() as world:
        world.vaults["m2"] = FakeVault(seed=b"")
        await world.kill("m2")
        own = await world.start("m2")
        before = await own.market.buyer.submit(NOWHERE)
        await put(own, "before")
        await is_copied(own)
        await world.power_cut("m2")
        blank = await recover(world)
        await is_copied(blank)
        assert [one.record.task for one in blank.market.buyer.tasks()] == [before]
        own = await world.start("m2")
        after = await own.market.buyer.submit(NOWHERE)
        await put(own, "after")
        await is_copied(own)
        await world.power_cut("m2")
        world.vaults["later"] = FakeVault(recovering=True)
        later = await world.start("later")
        await until(lambda: not world.vaults["later"].is_recovering(), within_s=300, look_s=0.1)
        assert "after" in things(later)
        assert [one.record.task for one in later.market.buyer.tasks()] == [after]
