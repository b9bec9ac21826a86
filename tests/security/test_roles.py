"""Only a machine whose certificate lets it be a provider is taken for one, whatever it says."""

from collections.abc import AsyncIterator

import pytest
import trio
from msgspec.structs import replace

from p2p.ids import LabId, PeerId
from p2p.membership.view import COMPUTE, STORAGE, Liveness, Member
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.callers import KnownMachines
from testnet.sim.seeded import simulated
from testnet.sim.world import World


@pytest.mark.parametrize(
    ("roles", "computes", "stores"),
    [
        ((), True, True),  # a certificate without roles says nothing
        (("compute", "storage"), True, True),
        (("storage",), False, True),
        (("compute", "bootstrap"), True, False),
        (("client",), False, False),
    ],
)
def test_a_machine_offers_what_its_certificate_names(
    roles: tuple[str, ...], computes: bool, stores: bool
) -> None:
    member = Member(PeerId("m"), Liveness.ALIVE, 1, (), "m", LabId("l"), "", 0.0, roles=roles)
    assert (member.may_offer(COMPUTE), member.may_offer(STORAGE)) == (computes, stores)


async def chunks() -> AsyncIterator[bytes]:
    yield bytes(range(256)) * 100


@simulated
async def test_a_client_that_says_it_lends_gets_neither_shards_nor_tasks() -> None:
    world = World(3, ["m0", "m1", "m2"], labs=1)
    world["m2"].roles = ("client",)
    async with world.running():
        await trio.sleep(20)
        node, client = world["m0"].up, world["m2"]
        view = node.peers.membership.view().find(client.peer)
        assert view is not None
        assert view.liveness is Liveness.ALIVE
        receipt = await node.storage.objects.put(chunks())
        assert sorted(receipt.holders) == sorted((world["m0"].peer, world["m1"].peer))
        spec = TaskSpec(("sleep", "100000"))
        tasks = [await node.market.buyer.submit(spec) for _ in range(6)]
        await trio.sleep(60)
        found = [node.market.buyer.task(task).record for task in tasks]
        assert any(record.state is TaskState.RUNNING for record in found)
        assert all(record.provider != client.peer for record in found)
        assert not client.executor.jobs()


@simulated
async def test_a_machine_whose_certificate_says_so_only_later_gets_no_tasks_from_then_on() -> None:
    world = World(4, ["m0", "m1", "m2"], labs=1)
    async with world.running():
        await trio.sleep(20)
        node, client = world["m0"].up, world["m2"]
        await world.kill("m2")
        proofs = node.edges.proofs
        assert isinstance(proofs, KnownMachines)
        assert isinstance(proofs.machines, dict)
        proofs.machines[client.peer] = replace(proofs.machines[client.peer], roles=("client",))
        await world.start("m2")  # and what it says of its room is what it said before
        await trio.sleep(30)
        tasks = [await node.market.buyer.submit(TaskSpec(("sleep", "100000"))) for _ in range(6)]
        await trio.sleep(60)
        found = [node.market.buyer.task(task).record for task in tasks]
        assert any(record.state is TaskState.RUNNING for record in found)
        assert all(record.provider != client.peer for record in found)
