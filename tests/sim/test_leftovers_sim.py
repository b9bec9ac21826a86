"""A manifest that came late, of an object that its owner had given up, stays with nobody."""

from collections.abc import Sequence

import pytest
import trio
from msgspec.structs import replace

from p2p.ids import PeerId
from storage.config import StorageClass
from storage.facade import Mark, ObjectKind, PutReceipt
from storage.ids import Address, ShardRoot
from storage.manifests.manifest import read_manifest
from storage.messages import LeaseTerms
from testnet.sim.seeded import simulated
from tests.repair_lab import CONFIG, chunks_of
from tests.storage_lab import StorageLab, storage_lab

SLOW = replace(CONFIG, down_after_s=900.0)
TOLD_LATE_S = 700.0
"""Whoever was late is offered a manifest for so long."""


async def put(lab: StorageLab, size: int = 1000) -> PutReceipt:
    with trio.fail_after(60):
        return await lab["p0"].objects.put(chunks_of(bytes(size)), mark=Mark(ObjectKind.KEYRING))


async def restart(lab: StorageLab, name: str) -> None:
    lab.kill(name)
    await lab.start(name)
    await trio.sleep(1)


def manifest_of(lab: StorageLab, address: Address) -> bytes:
    data = lab["p0"].leases.manifest(address)
    assert data is not None
    return data


async def tell_late(lab: StorageLab, name: str, address: Address, data: bytes) -> None:
    """A manifest comes with its first record, of which one copy found no home, and no shard."""
    manifest = read_manifest(address, data)
    named = [PeerId(peer) for peer in lab.names() if peer != name]
    row = (*named, *(None,) * manifest.n)[: manifest.n - 1]
    record = lab["p0"].holders.seal(address, 0, ((*row, None),), 1)
    until_ms = SLOW.lease_ms(StorageClass.NORMAL, lab.keepers["p0"].wall())
    terms = LeaseTerms(manifest.lease, manifest.owner, manifest.lab, 0, until_ms, False)
    transfer = lab["p0"].parts.transfer
    await transfer.put_manifest(PeerId(name), address, address, data, terms, [record])


def has_it(lab: StorageLab, name: str, address: Address) -> bool:
    return lab[name].leases.manifest(address) is not None


@simulated
async def test_who_was_late_and_started_anew_is_not_offered_what_was_given_up_since() -> None:
    async with storage_lab(3, config=SLOW) as lab:
        lab.freeze("p2")
        first = await put(lab)
        await trio.sleep(20)  # it is offered again in a minute
        lab.thaw()
        await lab["p0"].objects.forget(first.cap.address)
        await trio.sleep(35)
        assert not lab["p0"].objects.dropping.rows(), "p2 has heard of it"
        await restart(lab, "p2")
        for _ in range(70):
            await trio.sleep(TOLD_LATE_S / 70)
            assert not has_it(lab, "p2", first.cap.address)
            assert lab["p2"].stats().repair.degraded == 0


@simulated
async def test_a_manifest_of_which_its_holders_have_nothing_is_given_up() -> None:
    async with storage_lab(4, config=SLOW) as lab:
        receipt = await put(lab)
        address = receipt.cap.address
        data = manifest_of(lab, address)
        await lab["p0"].objects.forget(address)
        await restart(lab, "p3")
        lab.kill("p1")
        await tell_late(lab, "p3", address, data)
        await trio.sleep(400)
        assert has_it(lab, "p3", address), "one that is away may have it"
        assert lab["p3"].stats().repair.degraded == 1
        await lab.start("p1")
        await trio.sleep(100)
        assert not has_it(lab, "p3", address)
        assert lab["p3"].stats().repair.degraded == 0


@simulated
async def test_a_manifest_whose_object_somebody_has_stays() -> None:
    async with storage_lab(4, config=SLOW) as lab:
        lab.kill("p3")
        address = (await put(lab, 10_000)).cap.address
        await lab.start("p3")
        await trio.sleep(1)
        await tell_late(lab, "p3", address, manifest_of(lab, address))
        for name in ("p1", "p2"):  # as with a clock that is wrong
            for lease, _ in list(lab[name].leases.all()):
                await lab[name].leases.drop_one(lease)
        for _ in range(40):
            await trio.sleep(5)
            assert has_it(lab, "p3", address)


@simulated
async def test_a_holder_that_names_itself_alone_frees_no_manifest_of_what_others_have() -> None:
    async with storage_lab(4, config=SLOW) as lab:
        lab.kill("p3")
        address = (await put(lab, 10_000)).cap.address
        await lab.start("p3")
        await trio.sleep(1)
        await tell_late(lab, "p3", address, manifest_of(lab, address))
        record = lab["p1"].holders.seal(address, 0, ((PeerId("p1"), None, None),), 50)
        await lab["p1"].parts.transfer.put_holders(PeerId("p3"), record)
        for lease, _ in list(lab["p1"].leases.all()):
            await lab["p1"].leases.drop_one(lease)
        for _ in range(40):
            await trio.sleep(5)
            assert has_it(lab, "p3", address), "p0 and p2 have all of it"


@simulated
async def test_what_a_mending_brings_while_holders_are_asked_stays() -> None:
    async with storage_lab(4, config=SLOW) as lab:
        receipt = await put(lab)
        address = receipt.cap.address
        data = manifest_of(lab, address)
        manifest = read_manifest(address, data)
        lease, until_ms = manifest.lease, lab.keepers["p0"].wall() + 10**9
        (segment,) = manifest.segments
        root = ShardRoot(segment.roots)
        shard = await lab["p0"].parts.transfer.get_shard(PeerId("p0"), root, segment.length)
        await lab["p0"].objects.forget(address)
        await restart(lab, "p3")
        await tell_late(lab, "p3", address, data)
        transfer, p3 = lab["p3"].parts.transfer, lab["p3"]
        ask = transfer.have

        async def have(holder: PeerId, roots: Sequence[ShardRoot]) -> list[bool]:
            if not p3.leases.roots(lease, address):
                terms = LeaseTerms(lease, manifest.owner, manifest.lab, 0, until_ms, False)
                await transfer.put_shard(PeerId("p3"), root, shard, terms)
                assert p3.leases.roots(lease, address) == [root]
            return await ask(holder, roots)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "have", have)
            await trio.sleep(200)
        assert p3.leases.roots(lease, address) == [root]
        assert has_it(lab, "p3", address)
