"""A task is run again from another machine of its person than it was submitted to."""

from collections.abc import AsyncIterator

import trio

from storage.facade import Mark, ObjectKind
from storage.manifests.capability import parse_cap, text_of_cap
from swarmnode.estate.inputs import with_own_inputs
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.seeded import simulated
from testnet.sim.world import World


@simulated
async def test_its_inputs_outlive_those_of_the_first_machine() -> None:
    world = World(1, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        await trio.sleep(20)

        async def pieces() -> AsyncIterator[bytes]:
            yield b"photons" * 1000

        mark = Mark(ObjectKind.INPUT)
        given = await world["m0"].up.storage.objects.put(pieces(), name="in", mark=mark)
        spec = TaskSpec(("true",), inputs=(("in.csv", text_of_cap(given.cap)),))
        again = await with_own_inputs(world["m1"].up.storage.objects, spec, "")
        await world["m0"].up.storage.objects.forget(given.cap.address)
        await trio.sleep(60)
        ((name, cap),) = again.inputs
        read = b"".join(
            [piece async for piece in world["m2"].up.storage.objects.get(parse_cap(cap))]
        )
        assert (name, read) == ("in.csv", b"photons" * 1000)
        kinds = [one.mark.kind for one in world["m1"].up.storage.objects.entries()]
        assert kinds == [ObjectKind.INPUT]
