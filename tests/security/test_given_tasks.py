"""A member hands others tasks of its own making as theirs: nobody takes them on."""

import pytest
import trio

from p2p.ids import TrafficClass
from p2p.wire.codec import encode
from swarmnode.market.guardians.messages import KeepTaken, KeepTask
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import PriorityClass, Shape, TaskSpec
from testnet.sim.clock import START_MS
from testnet.sim.seeded import simulated
from testnet.sim.signer import KeyedHashSigner
from testnet.sim.world import World

SHAPE = Shape(cpu_millis=1000, memory_bytes=1 << 30, disk_bytes=1 << 20)
KEY = b"z" * 32


async def gives(world: World) -> TaskId:
    """m2 says that m0 had submitted this; its owner's class, on its owner's machine."""
    victim, giver = world["m0"].peer, world["m2"].peer
    task = task_id_of(KeyedHashSigner(giver, world.seed).from_seed(KEY).peer_id)
    spec = TaskSpec(
        ("sleep", "600"), shape=SHAPE, priority_class=PriorityClass.OWNER, require=(victim,)
    )
    known = TaskRecord(task, spec, START_MS, key=KEY)
    record = GuardRecord(task, victim, 1, 1, giver, (victim, giver), (), known)
    await world["m2"].up.peers.rpc.call(
        victim, KeepTask(task), KeepTaken,
        traffic_class=TrafficClass.NORMAL, timeout_s=5, body=encode(record),
    )  # fmt: skip
    return task


@pytest.mark.parametrize("labs", [1, 4])
def test_a_task_that_a_machine_never_submitted_is_not_its_own(labs: int) -> None:
    @simulated
    async def given() -> None:
        world = World(1, ["m0", "m1", "m2", "m3"], labs=labs)
        async with world.running():
            await trio.sleep(20)
            task = await gives(world)
            await trio.sleep(40)
            assert world["m0"].up.market.buyer.tasks() == ()
            record = world["m2"].up.market.buyer._core.custody.find(task)
            assert record is None or record.rights == ()
            assert not any(world.is_busy(name) for name in world.machines)

    given()
