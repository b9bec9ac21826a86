"""Whole nodes beside a hostile member: whatever it says, they run on and keep their work."""

import random
from collections.abc import AsyncIterator

import pytest
import trio

from p2p.ids import PeerId
from storage.errors import StorageError
from storage.facade import ReadCap
from swarmnode.node import Node
from swarmnode.tasks.spec import Shape, TaskSpec
from testnet.sim.seeded import run_seeded
from testnet.sim.world import World
from tests.fuzz.mallory import Mallory

NAMES = ("a", "b", "c", "d")
SHAPE = Shape(cpu_millis=500, memory_bytes=1 << 28, disk_bytes=1 << 20)


class Load:
    """What people do meanwhile, so that there is something to disturb."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._dice = world, random.Random(f"load/{seed}")
        self._objects: list[tuple[ReadCap, bytes]] = []

    async def run(self) -> None:
        """Objects in and out, and tasks, without end; what comes out is what went in."""
        while True:
            node = self._world[self._dice.choice(NAMES)].up
            with trio.move_on_after(20):
                await self._dice.choice((self._put, self._read, self._submit))(node)
            await trio.sleep(0.2)

    async def _put(self, node: Node) -> None:
        data = self._dice.randbytes(self._dice.choice((100, 30_000)))
        try:
            receipt = await node.storage.objects.put(_whole(data))
        except StorageError:
            return
        self._objects.append((receipt.cap, data))

    async def _read(self, node: Node) -> None:
        if not self._objects:
            return
        cap, data = self._dice.choice(self._objects)
        try:
            found = b"".join([chunk async for chunk in node.storage.objects.get(cap)])
        except StorageError:
            return
        assert found == data

    async def _submit(self, node: Node) -> None:
        await node.market.buyer.submit(TaskSpec(run=("sleep", "1"), shape=SHAPE))


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def hostile(seed: int, seconds: float) -> int:
    """Run for so long of virtual time; what Mallory said, in messages."""
    world = World(seed, NAMES)
    mallory = Mallory(world, seed)
    async with world.running(), trio.open_nursery() as nursery:
        await nursery.start(mallory.run)
        nursery.start_soon(Load(world, seed).run)
        await trio.sleep(seconds)
        for name in NAMES:
            for other in NAMES:
                if name != other:
                    assert await world[name].up.face.ping(PeerId(world[other].peer), 1)
        nursery.cancel_scope.cancel()
    return mallory.sent


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_a_member_says_ends_a_node(seed: int) -> None:
    assert run_seeded(seed, lambda: hostile(seed, 8.0)) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_nothing_a_member_says_for_long_ends_a_node(seed: int) -> None:
    assert run_seeded(seed, lambda: hostile(seed, 120.0)) > 10_000
