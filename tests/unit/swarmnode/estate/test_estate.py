"""Whole nodes on virtual time: what a task leaves is its submitter's, whoever ran it."""

import pytest
import trio

from storage.engine.port import ReadView
from storage.facade import ObjectKind
from storage.manifests.capability import parse_cap
from swarmnode.estate import plan
from swarmnode.estate.rows import ESTATES
from swarmnode.node import Node
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import CheckpointSpec, Shape, TaskSpec
from testnet.sim.chaos.run import SETTINGS
from testnet.sim.seeded import simulated, until
from testnet.sim.world import World

SHAPE = Shape(cpu_millis=1500, memory_bytes=1 << 30, disk_bytes=1 << 20)
NAMES = ["m0", "m1", "m2", "m3"]


def training(world: World, provider: str, steps: int) -> TaskSpec:
    return TaskSpec(
        run=("train", str(steps), "1", "5"),
        shape=SHAPE,
        checkpoint=CheckpointSpec("checkpoint", every_ms=1000, keep=3),
        outputs=("result.json",),
        require=(world[provider].peer,),
    )


async def ready(world: World) -> Node:
    await trio.sleep(20)
    return world["m0"].up


def kinds(node: Node) -> list[tuple[str, str]]:
    return [
        (one.mark.kind, one.name.split("/")[0])
        for one in node.storage.objects.entries()
        if one.mark.kind != ObjectKind.LOG
    ]


async def ended(node: Node, task: TaskId, within_s: float = 300) -> TaskState:
    with trio.fail_after(within_s):
        state = (await node.market.buyer.wait(task)).state
    await node.estate.settled()
    return state


@pytest.mark.parametrize("labs", [1, 4])
@simulated
async def test_outputs_are_the_submitters_and_outlive_the_machine_that_made_them(
    labs: int,
) -> None:
    """Also when that is another lab's."""
    world = World(3, NAMES, settings=SETTINGS, labs=labs)
    async with world.running():
        node = await ready(world)
        task = await node.market.buyer.submit(training(world, "m1", 7))
        assert await ended(node, task) is TaskState.DONE
        outcome = node.market.buyer.task(task).record.outcome
        assert outcome is not None
        assert kinds(node) == [(ObjectKind.OUTPUT, "output")]
        provider = world["m1"].up
        await until(lambda: not provider.storage.objects.entrusted(), within_s=30)
        assert provider.storage.objects.entries() == []
        await world.power_cut("m1")
        world.lose_disk("m1")
        cap = parse_cap(outcome.outputs[0].cap)
        with trio.fail_after(60):
            data = b"".join([part async for part in node.storage.objects.get(cap)])
        assert data == b'{"total": 28}'
        await node.estate.logs.settled(frozenset())
        assert await node.storage.objects.renew() == len(node.storage.objects.entries()) == 2
        assert await node.storage.objects.forget(cap.address)
        assert not await node.storage.objects.forget(cap.address)


@simulated
async def test_checkpoints_are_the_submitters_as_many_as_were_asked_for() -> None:
    world = World(4, NAMES, settings=SETTINGS)
    async with world.running():
        node = await ready(world)
        task = await node.market.buyer.submit(training(world, "m1", 60))
        await until(lambda: _step(node, task) >= 30, within_s=120)
        await trio.sleep(4)
        names = [one.name for one in node.storage.objects.entries()]
        assert len(names) == 3, names
        assert all(name.startswith(f"checkpoint/{task}/") for name in names)
        assert world["m1"].up.storage.objects.entrusted() == []
        assert await ended(node, task) is TaskState.DONE
        await until(lambda: kinds(node) == [(ObjectKind.OUTPUT, "output")], within_s=5)


@simulated
async def test_a_task_goes_on_from_a_checkpoint_whose_machine_is_gone() -> None:
    world = World(5, NAMES, settings=SETTINGS)
    async with world.running():
        node = await ready(world)
        spec = training(world, "m1", 40)
        task = await node.market.buyer.submit(
            TaskSpec(
                run=spec.run,
                shape=SHAPE,
                checkpoint=spec.checkpoint,
                outputs=spec.outputs,
                avoid=(world["m0"].peer,),
            )
        )
        await until(lambda: _step(node, task) >= 10, within_s=120)
        first = next(name for name in NAMES[1:] if world.is_busy(name))
        await world.power_cut(first)
        world.lose_disk(first)
        assert await ended(node, task, within_s=600) is TaskState.DONE
        assert max(one.restored_step for one in node.market.buyer.task(task).record.attempts) >= 10
        await until(lambda: kinds(node) == [(ObjectKind.OUTPUT, "output")], within_s=5)


@simulated
async def test_what_a_person_removed_does_not_come_back_with_a_restart() -> None:
    world = World(6, NAMES, settings=SETTINGS)
    async with world.running():
        node = await ready(world)
        await ended(node, await node.market.buyer.submit(training(world, "m1", 7)))
        await node.estate.logs.settled(frozenset())
        for one in node.storage.objects.entries():
            assert await node.storage.objects.forget(one.cap.address)
        await world.kill("m0")
        node = await world.start("m0")
        await trio.sleep(30)
        assert node.storage.objects.entries() == []


@simulated
async def test_what_a_crash_kept_from_the_keyring_is_taken_over_at_the_next_start() -> None:
    world = World(8, NAMES, settings=SETTINGS)
    async with world.running():
        node = await ready(world)
        task = await node.market.buyer.submit(training(world, "m1", 7))
        await ended(node, task)
        row = next(
            one for one in node.storage.objects.entries() if one.mark.kind == ObjectKind.OUTPUT
        )
        tables = world["m0"].store  # as if the node had ended before it was written
        await tables.transact(lambda view: view.delete("keyring", row.cap.address))
        await tables.transact(lambda view: view.delete("keyring_leases", _lease_of(view)))
        await node.edges.state.transact(lambda view: view.delete(ESTATES, task.encode()))
        await world.kill("m0")
        node = await world.start("m0")
        await until(lambda: kinds(node) == [(ObjectKind.OUTPUT, "output")], within_s=60)


def _lease_of(view: ReadView) -> bytes:
    return view.scan("keyring_leases")[0][0]


@simulated
async def test_a_cancelled_task_leaves_nothing_at_its_provider() -> None:
    world = World(7, NAMES, settings=SETTINGS)
    async with world.running():
        node = await ready(world)
        task = await node.market.buyer.submit(training(world, "m1", 60))
        await until(lambda: _step(node, task) >= 10, within_s=120)
        await node.market.buyer.cancel(task)
        await trio.sleep(30)
        provider = world["m1"].up
        assert (provider.storage.objects.entries(), provider.storage.objects.entrusted()) == (
            [],
            [],
        )
        assert kinds(node), "kept for a week, to be looked at"


def _step(node: Node, task: TaskId) -> int:
    made = node.market.buyer.task(task).record.checkpoint
    return 0 if made is None else made.step


@simulated
async def test_logs_of_tasks_that_end_together_are_one_object_and_go_with_the_last_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "INPUT_KEPT_MS", 60_000)  # logs that are younger stay, too
    world = World(9, NAMES, settings=SETTINGS)
    async with world.running():
        node = await ready(world)
        spec = TaskSpec(run=("echo", "hello"), shape=SHAPE)
        tasks = [await node.market.buyer.submit(spec) for _ in range(8)]
        for task in tasks:
            assert await ended(node, task) is TaskState.DONE
        await node.estate.logs.settled(frozenset())
        assert 1 <= len(logs_of(node)) <= 4
        for task in tasks[1:]:
            await node.market.buyer.forget(task)
        await trio.sleep(160)
        last = logs_of(node)
        assert len(last) == 1
        await node.market.buyer.forget(tasks[0])
        await until(lambda: not logs_of(node), within_s=120)


def logs_of(node: Node) -> list[str]:
    return [one.name for one in node.storage.objects.entries() if one.mark.kind == ObjectKind.LOG]
