"""Tasks and objects of one machine of a person, to be seen and ended from another of theirs."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import trio

from storage.facade import PutReceipt
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import Repeatability, Shape, TaskSpec
from testnet.sim.seeded import until_slowly
from testnet.sim.world import World

SHAPE = Shape(cpu_millis=1000, memory_bytes=1 << 30, disk_bytes=1 << 20)
HOURS = ("sleep", "100000")
PRINTS = ("train", "150", "1", "10")
DATA = bytes(range(256)) * 200


async def running_task(
    world: World,
    name: str,
    argv: tuple[str, ...] = HOURS,
    effects: Repeatability = Repeatability.IDEMPOTENT,
    person: str = "",
) -> TaskId:
    """Submitted there, run elsewhere, kept by guardians."""
    await trio.sleep(20)
    market = world[name].up.market
    spec = TaskSpec(argv, shape=SHAPE, avoid=(world[name].peer,), effects=effects)
    task = await market.buyer.submit(spec, person)
    await until_slowly(lambda: market.buyer.task(task).state is TaskState.RUNNING, 60)
    await trio.sleep(20)
    return task


def nothing_runs(world: World) -> bool:
    return not any(world.is_busy(name) for name in world.machines)


async def printed(world: World, name: str, task: TaskId, *, follow: bool = False) -> bytes:
    market = world[name].up.market
    read = market.buyer.logs if name == "m0" else market.own_machines.elsewhere.log
    async with aclosing(read(task, "stdout", follow=follow)) as pieces:
        return b"".join([piece async for piece in pieces])


async def put(world: World, name: str) -> PutReceipt:
    async def chunks() -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield DATA

    await trio.sleep(20)
    return await world[name].up.storage.objects.put(chunks(), name="precious")


def used(world: World) -> int:
    """Bytes on all disks, of machines that are down, too."""
    return sum(machine.shards.used_bytes() for machine in world.machines.values())
