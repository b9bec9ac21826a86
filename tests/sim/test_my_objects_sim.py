"""What a machine of a person may do with objects that another of theirs has put, and who not."""

from collections.abc import AsyncIterator

import pytest
import trio
from msgspec.structs import replace

from p2p.ids import PeerId
from p2p.wire.codec import encode
from storage.errors import ObjectUnknownError
from storage.facade import Mark
from storage.manifests.manifest import address_of
from testnet.sim.seeded import simulated, until_slowly
from testnet.sim.signer import KeyedHashSigner
from testnet.sim.world import World
from tests.my_machines_lab import DATA, put, used


def listed(world: World, name: str) -> list[str]:
    return [entry.name for entry in world[name].up.storage.objects.entries()]


@simulated
async def test_an_object_is_removed_from_another_machine_of_its_owner() -> None:
    world = World(11, ["m0", "m1", "m2", "m3"], labs=1)
    async with world.running():
        receipt = await put(world, "m0")
        address = receipt.cap.address
        gone = await world["m3"].up.storage.objects.remove(address)
        assert gone is not None
        assert (set(gone.waiting), used(world)) == (set(), 0)
        assert listed(world, "m0") == []
        assert not world["m0"].up.storage.objects.own.troubles
        with pytest.raises(ObjectUnknownError):
            await world["m3"].up.storage.objects.remove(address)
        await trio.sleep(120)
        assert used(world) == 0


@simulated
async def test_who_put_it_and_was_away_learns_that_it_is_removed() -> None:
    world = World(12, ["m0", "m1", "m2", "m3", "m4"], labs=1)
    async with world.running():
        receipt = await put(world, "m0")
        await world.kill("m0")
        await trio.sleep(60)
        gone = await world["m3"].up.storage.objects.remove(receipt.cap.address)
        assert gone is not None
        await trio.sleep(10)
        await world.start("m0")
        await until_slowly(lambda: listed(world, "m0") == [] and used(world) == 0, 120)
        await trio.sleep(120)
        assert used(world) == 0


@simulated
async def test_who_put_it_learns_of_it_also_when_the_remover_is_gone() -> None:
    world = World(13, ["m0", "m1", "m2", "m3", "m4"], labs=1)
    async with world.running():
        receipt = await put(world, "m0")
        await world.kill("m0")
        await trio.sleep(20)
        await world["m3"].up.storage.objects.remove(receipt.cap.address)
        await trio.sleep(10)
        await world.power_cut("m3")
        await world.start("m0")
        await until_slowly(lambda: listed(world, "m0") == [], 120)


@simulated
async def test_an_object_of_somebody_else_is_not_removed() -> None:
    world = World(14, ["m0", "n0", "m1", "n1"], labs=2)
    async with world.running():
        receipt = await put(world, "m0")
        before = used(world)
        assert await world["n1"].up.storage.objects.remove(receipt.cap.address) is None
        assert used(world) == before


@simulated
async def test_a_manifest_that_names_the_lease_of_another_object_removes_nothing() -> None:
    """Mallory makes one up with a lease of her victim's, who removes it on another machine."""
    world = World(15, ["m0", "m1", "m2"], labs=1)
    async with world.running():
        receipt = await put(world, "m0")
        node = world["m1"].up
        precious = await node.storage.parts.catalog.manifest(receipt.cap.address)
        lure = replace(precious, size=precious.size + 1)
        address = address_of(encode(lure))
        node.storage.parts.catalog._manifests[address] = lure
        before = used(world)
        await node.storage.objects.remove(address)
        assert used(world) == before
        assert listed(world, "m0") == ["precious"]


@simulated
async def test_what_a_guest_of_one_machine_put_is_removed_from_no_other_by_its_owner() -> None:
    world = World(31, ["m0", "n0", "m1", "n1", "m2", "n2", "m3"], labs=2)
    async with world.running():

        async def chunks() -> AsyncIterator[bytes]:
            await trio.lowlevel.checkpoint()
            yield DATA

        await trio.sleep(20)
        mark = Mark(person="ann")
        receipt = await world["m0"].up.storage.objects.put(chunks(), name="hers", mark=mark)
        address = receipt.cap.address
        assert await world["m3"].up.storage.objects.remove(address) is None
        assert used(world) > 0
        key = KeyedHashSigner(PeerId("lab-0"), world.seed)
        assert (
            await world["n0"].up.storage.objects.remove(address, lab_key=key, reason="why")
            is not None
        )
