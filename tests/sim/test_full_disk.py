"""A disk that fills up ends no node: what needs room is refused or waits, and goes on later."""

from collections.abc import AsyncIterator

import pytest
import trio

from storage.errors import StorageError, StoreFullError
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import CheckpointSpec, Shape, TaskSpec
from testnet.sim.chaos.run import SETTINGS
from testnet.sim.seeded import simulated
from testnet.sim.world import World

SHAPE = Shape(cpu_millis=1500, memory_bytes=1 << 30, disk_bytes=1 << 20)
TRAINING = TaskSpec(
    run=("train", "30", "1", "5"),
    shape=SHAPE,
    checkpoint=CheckpointSpec("checkpoint", every_ms=1000),
    outputs=("result.json",),
)


@pytest.mark.parametrize("is_full", [False, True])
@simulated
async def test_every_disk_of_a_swarm_may_fill_up_under_its_tasks_and_names(is_full: bool) -> None:
    world = World(1, ["m0", "m1", "m2"], settings=SETTINGS)
    async with world.running():
        await trio.sleep(20)
        node = world["m0"].up
        task = await node.market.buyer.submit(TRAINING)
        kept = await node.storage.objects.put(_whole(b"x" * 50_000), name="kept")
        await trio.sleep(8)
        for machine in world.machines.values():
            for tables in (machine.state, machine.store):
                tables.capacity_bytes, tables.is_full = tables.used_bytes, is_full
        with pytest.raises(StoreFullError):
            await node.market.buyer.submit(TRAINING)
        with pytest.raises(StorageError):
            await node.storage.objects.put(_whole(b"y" * 50_000), name="no room")
        with pytest.raises(StorageError):
            await node.storage.names.machine().write("key", b"value", expected=0, fence=1)
        await world.kill("m2")
        await trio.sleep(60)
        await world.start("m2")
        await trio.sleep(60)
        for name in world.machines:
            world.free_disk(name)
        with trio.fail_after(120):
            assert (await node.market.buyer.wait(task)).state is TaskState.DONE
            await node.storage.names.machine().write("key", b"value", expected=0, fence=1)
            assert (
                b"".join([part async for part in node.storage.objects.get(kept.cap)])
                == b"x" * 50_000
            )
            assert await node.storage.objects.forget(kept.cap.address)


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data
