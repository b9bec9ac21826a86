"""Packs live as long as something that needs them, through removals, crashes and full disks."""

import trio
import trio.lowlevel
from blake3 import blake3

from storage.facade import Forgotten, Mark, ObjectHealth, ObjectKind, PutReceipt, StandsFor
from storage.ids import Address
from storage.objects.needs import Needs
from storage.service import StorageService
from swarmnode.limits import OBJECT_NAME_CHARS_MAX
from swarmnode.tree.limits import FOLDER_PACKS_MAX
from testnet.sim.seeded import simulated
from tests.storage_lab import OWNER, StorageLab, storage_lab
from tests.unit.storage.objects.test_objects import HASTY, chunks_of, some_bytes, used

PACK = Mark(ObjectKind.PACK)


async def put_pack(service: StorageService, seed: int = 1) -> Address:
    receipt = await service.objects.put(chunks_of(some_bytes(150_000, seed)), mark=PACK)
    return receipt.cap.address


async def put_folder(service: StorageService, *needs: Address, name: str = "f") -> PutReceipt:
    stands_for = StandsFor(blake3(name.encode()).digest(), 1_000_000, needs)
    return await service.objects.put(chunks_of(some_bytes(1000)), name=name, stands_for=stands_for)


def kept(service: StorageService) -> set[Address]:
    return {entry.cap.address for entry in service.objects.entries()}


async def freed(lab: StorageLab, name: str, address: Address, *, is_all: bool = True) -> None:
    """Return once the pack is off the keyring and off every disk."""
    with trio.fail_after(60):
        while address in kept(lab[name]) or (is_all and used(lab)):  # noqa: ASYNC110 - many things free it
            await trio.sleep(0.5)


@simulated
async def test_a_pack_goes_with_the_last_folder_that_needs_it() -> None:
    async with storage_lab(3) as lab:
        service = lab["p0"]
        with service.objects.holding() as held:
            pack = await put_pack(service)
            assert held.take(pack)
            first = await put_folder(service, pack, name="a")
            second = await put_folder(service, pack, name="b")
        await service.objects.forget(first.cap.address)
        assert pack in kept(service)
        gone = await service.objects.forget(second.cap.address)
        assert gone is not None
        assert set(gone.holders) == {"p0", "p1", "p2"}
        assert not kept(service)
        await freed(lab, "p0", pack)


@simulated
async def test_a_folder_of_as_many_packs_as_there_may_be_is_written_down_and_copied() -> None:
    async with storage_lab(3) as lab:
        service = lab["p0"]
        needs = tuple(Address(number.to_bytes(32)) for number in range(FOLDER_PACKS_MAX))
        folder = await put_folder(service, *needs, name="\N{SNOWMAN}" * OBJECT_NAME_CHARS_MAX)
        (entry,) = service.objects.entries()
        assert entry.needs == needs
        await lab["p1"].objects.keyring.restore(service.objects.keyring.dump())
        assert kept(lab["p1"]) == {folder.cap.address}
        assert await service.objects.forget(folder.cap.address) is not None


@simulated
async def test_a_pack_whose_folder_never_came_goes_when_its_put_ends() -> None:
    async with storage_lab(3) as lab:
        service = lab["p0"]
        with service.objects.holding() as held:
            pack = await put_pack(service)
            held.take(pack)
            await trio.sleep(5)
            assert pack in kept(service)
        await freed(lab, "p0", pack)


@simulated
async def test_a_crash_between_a_pack_and_its_folder_leaves_nothing() -> None:
    async with storage_lab(3) as lab:
        pack = await put_pack(lab["p0"])
        await trio.sleep(5)
        lab.kill("p0")
        await lab.start("p0")
        await freed(lab, "p0", pack)


@simulated
async def test_a_crash_in_the_middle_of_a_removal_leaves_nothing_either() -> None:
    async with storage_lab(3) as lab:
        service = lab["p0"]
        with service.objects.holding() as held:
            pack = await put_pack(service)
            held.take(pack)
            folder = await put_folder(service, pack)
        await service.objects.keyring.remove(folder.cap.address)  # and no more before the crash
        assert pack in kept(service)
        lab.kill("p0")
        await lab.start("p0")
        await freed(lab, "p0", pack, is_all=False)


@simulated
async def test_a_restart_takes_nothing_that_is_needed() -> None:
    async with storage_lab(3) as lab:
        pack = await put_pack(lab["p0"])
        folder = await put_folder(lab["p0"], pack)
        lab.kill("p0")
        await lab.start("p0")
        await trio.sleep(60)
        assert kept(lab["p0"]) == {pack, folder.cap.address}
        assert await lab["p0"].objects.forget(pack) is not None


@simulated
async def test_while_a_put_counts_on_a_pack_it_stays_though_its_folder_goes() -> None:
    async with storage_lab(3) as lab:
        service = lab["p0"]
        pack = await put_pack(service)
        old = await put_folder(service, pack, name="old")
        with service.objects.holding() as held:
            assert held.take(pack)
            await service.objects.forget(old.cap.address)
            assert pack in kept(service)
            await put_folder(service, pack, name="new")
        await trio.sleep(5)
        assert pack in kept(service)


@simulated
async def test_nobody_counts_on_a_pack_that_goes_already() -> None:
    async with storage_lab(3) as lab:
        pack = await put_pack(lab["p0"])
        begun, ends = trio.Event(), trio.Event()

        async def forget(address: Address) -> Forgotten | None:
            begun.set()
            await ends.wait()
            return None

        needs = Needs(lab["p0"].objects.keyring, forget)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(needs.free, [pack])
            await begun.wait()
            with needs.hold(lambda _packs: None) as held:
                assert not held.take(pack)
            assert needs.unneeded([pack]) == []
            ends.set()
        with needs.hold(lambda _packs: None) as held:
            assert held.take(pack)
            assert needs.unneeded([pack]) == []
        assert needs.unneeded([pack]) == [pack]


@simulated
async def test_nobody_counts_on_a_pack_that_is_being_left() -> None:
    async with storage_lab(3) as lab:
        service, taken = lab["p0"], set[Address]()
        packs = [await put_pack(service, seed) for seed in range(3)]
        folder = await put_folder(service, *packs)

        async def count_on_them() -> None:
            with service.objects.holding() as held:
                while folder.cap.address in kept(service):  # noqa: ASYNC110 - it stands there
                    await trio.sleep(1e-5)
                while here := [pack for pack in packs if pack in kept(service)]:
                    taken.update(pack for pack in here if held.take(pack))
                    await trio.sleep(1e-5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_on_them)
            await service.objects.leave(folder.cap.address)
        assert not taken


@simulated
async def test_a_folder_stands_as_badly_as_the_weakest_of_its_packs() -> None:
    async with storage_lab(3) as lab:
        service = lab["p0"]
        pack, lost = await put_pack(service), await put_pack(service, 2)
        folder = await put_folder(service, pack, lost)
        stat = await service.objects.stat(folder.cap.address)
        assert (stat.health, stat.survives, stat.size) == (
            ObjectHealth.WHOLE,
            "any 2 machines",
            1_000_000,
        )
        assert stat.segments == 1 + 3 + 3
        assert len({(segment, shard) for segment, shard, _, _ in stat.holders}) == 7 * 3
        await service.objects.forget(lost)
        stat = await service.objects.stat(folder.cap.address)
        assert stat.health is ObjectHealth.UNREADABLE
        assert stat.shards_live < stat.k
        assert "a part of it" in stat.survives


@simulated
async def test_packs_are_renewed_as_long_as_they_are_needed() -> None:
    async with storage_lab(3, config=HASTY) as lab:
        service = lab["p0"]
        pack = await put_pack(service)
        await put_folder(service, pack)
        await trio.sleep(600)
        assert (await service.objects.stat(pack)).health is ObjectHealth.WHOLE


@simulated
async def test_what_another_machine_goes_on_with_is_left_with_its_packs() -> None:
    async with storage_lab(3) as lab:
        service = lab["p0"]
        shared, alone = await put_pack(service), await put_pack(service, 2)
        folder = await put_folder(service, shared, alone)
        stays = await put_folder(service, shared, name="stays")
        await service.objects.leave(folder.cap.address)
        assert kept(service) == {shared, stays.cap.address}
        await trio.sleep(30)
        stat = await lab["p1"].objects.stat(alone)
        assert stat.health is ObjectHealth.WHOLE, "its leases stay"


@simulated
async def test_a_copy_of_the_keyring_brings_packs_that_no_new_folder_counts_on() -> None:
    async with storage_lab(3) as lab:
        service = lab["p0"]
        pack, unneeded = await put_pack(service), await put_pack(service, 2)
        folder = await put_folder(service, pack)
        copy = service.objects.keyring.dump()
        assert {Address(key) for key, _ in copy} == {pack, folder.cap.address}
        await lab["p1"].objects.keyring.restore(copy)
        assert kept(lab["p1"]) == {pack, folder.cap.address}
        with lab["p1"].objects.holding() as held:
            assert not held.take(pack)
        with service.objects.holding() as held:
            assert held.take(pack)
            assert held.take(unneeded)
        lab.kill("p1")
        await lab.start("p1")
        await trio.sleep(30)
        assert kept(lab["p1"]) == {pack, folder.cap.address}, "what is needed is not swept"
        await lab["p1"].objects.forget(folder.cap.address)
        assert not kept(lab["p1"])


@simulated
async def test_a_folder_that_another_machine_of_its_owner_removes_takes_its_packs_along() -> None:
    owners = dict.fromkeys(("p0", "p1", "p2"), OWNER)
    async with storage_lab(3, owners=owners) as lab:
        service = lab["p0"]
        pack = await put_pack(service)
        folder = await put_folder(service, pack)
        assert await lab["p1"].objects.remove(folder.cap.address) is not None
        await freed(lab, "p0", pack)
