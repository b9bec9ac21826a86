import random
from collections.abc import AsyncIterator

import msgspec
import pytest
import trio
from msgspec.structs import replace

from storage.errors import (
    CapabilityError,
    ObjectDegradedError,
    ObjectUnknownError,
    StoreFullError,
    TooFewPeersError,
)
from storage.facade import Durability, PutReceipt, ReadCap
from storage.ids import Address, ObjectKey
from storage.service import StorageService
from testnet.sim.seeded import simulated
from tests.storage_lab import CONFIG, KIB, StorageLab, storage_lab

SEGMENT = 64 * KIB
HASTY = replace(CONFIG, hold_s=200, lease_s=240, renew_s=60, trash_s=120, sweep_s=12)
"""A month passes in four minutes."""


def some_bytes(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


async def chunks_of(data: bytes, chunk: int = 10_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), chunk):
        yield data[at : at + chunk]


async def put(
    service: StorageService, data: bytes, durability: Durability = Durability.DURABLE
) -> PutReceipt:
    with trio.fail_after(120):
        return await service.objects.put(chunks_of(data), durability=durability)


async def got(
    service: StorageService, cap: ReadCap, start: int = 0, length: int | None = None
) -> bytes:
    with trio.fail_after(120):
        parts = [part async for part in service.objects.get(cap, start=start, length=length)]
        return b"".join(parts)


def used(lab: StorageLab) -> int:
    return sum(service.stats().used_bytes for service in lab.up())


@pytest.mark.parametrize("size", [0, 1, 65 * KIB, SEGMENT - 1, SEGMENT, 300_000])
@pytest.mark.parametrize("peers", [1, 2, 3, 5, 7, 9, 13, 17])
@simulated
async def test_every_machine_reads_what_one_of_them_put(peers: int, size: int) -> None:
    data = some_bytes(size)
    async with storage_lab(peers) as lab:
        receipt = await put(lab["p0"], data)
        assert receipt.size == size
        for name in (lab.names()[0], lab.names()[-1]):
            assert await got(lab[name], receipt.cap) == data


@pytest.mark.parametrize(
    ("peers", "code", "survives"),
    [
        (1, (1, 1), "nothing: stored on this machine only"),
        (2, (1, 2), "any 1 machine"),
        (3, (1, 3), "any 2 machines"),
        (5, (1, 3), "any 2 machines"),
        (7, (3, 6), "any 3 machines"),
        (9, (4, 8), "any 4 machines"),
        (13, (8, 12), "any 4 machines"),
        (17, (8, 16), "any 8 machines"),
    ],
)
@simulated
async def test_the_receipt_says_what_the_object_survives(
    peers: int, code: tuple[int, int], survives: str
) -> None:
    async with storage_lab(peers) as lab:
        receipt = await put(lab["p0"], some_bytes(200_000))
        assert (receipt.k, receipt.n) == code
        assert receipt.survives == survives
        assert receipt.one_site == (peers == 1)
        stat = await lab["p0"].objects.stat(receipt.cap.address)
        assert (stat.survives, stat.segments, stat.shards_live) == (survives, 4, code[1])


@pytest.mark.parametrize("peers", [2, 3, 5, 7, 9, 13])
@simulated
async def test_the_object_survives_as_many_machines_as_the_receipt_says(peers: int) -> None:
    data = some_bytes(200_000)
    async with storage_lab(peers) as lab:
        receipt = await put(lab["p0"], data)
        loses = receipt.n - receipt.k
        for name in lab.names()[:loses]:
            lab.kill(name)
        survivor = lab.names()[-1]
        assert await got(lab[survivor], receipt.cap) == data


@simulated
async def test_one_loss_too_many_is_said_and_not_hidden() -> None:
    async with storage_lab(7) as lab:
        receipt = await put(lab["p0"], some_bytes(200_000))
        for name in lab.names()[:5]:
            lab.kill(name)
        with pytest.raises(ObjectDegradedError):
            await got(lab["p6"], receipt.cap)
        stat = await lab["p6"].objects.stat(receipt.cap.address)
        assert stat.survives.startswith("unreadable now: ")


@simulated
async def test_a_range_is_the_same_bytes_as_in_the_whole() -> None:
    data = some_bytes(1_000_000)
    for cipher in (1, 2):
        async with storage_lab(7) as lab:
            parts = lab["p0"].parts
            msgspec.structs.force_setattr(parts, "cipher", cipher)
            receipt = await put(lab["p0"], data)
            ranges = [(0, 1), (1, 100), (SEGMENT - 5, 10), (500_000, 30_000), (999_999, 10)]
            ranges += [(20_000, 9_000), (0, 1_000_000), (70_000, 0), (2_000_000, 5)]
            for start, length in ranges:
                expected = data[start : start + length]
                assert await got(lab["p3"], receipt.cap, start, length) == expected


@simulated
async def test_a_holder_killed_in_the_middle_of_a_put_is_replaced() -> None:
    data = some_bytes(600_000)
    for peers in (3, 5, 7, 9, 13):
        async with storage_lab(peers) as lab:

            async def dying(lab: StorageLab = lab) -> AsyncIterator[bytes]:
                async for number, chunk in numbered(data):
                    if number == 30:
                        lab.kill("p2", is_known=False)
                    yield chunk

            with trio.fail_after(120):
                receipt = await lab["p0"].objects.put(dying())
            assert await got(lab["p1"], receipt.cap) == data


async def numbered(data: bytes) -> AsyncIterator[tuple[int, bytes]]:
    number = 0
    async for chunk in chunks_of(data):
        yield number, chunk
        number += 1


@simulated
async def test_a_holder_killed_in_the_middle_of_a_get_is_not_missed() -> None:
    data = some_bytes(600_000)
    for peers in (2, 3, 5, 7, 9, 13):
        async with storage_lab(peers) as lab:
            receipt = await put(lab["p0"], data)
            read = b""
            with trio.fail_after(120):
                async for part in lab["p1"].objects.get(receipt.cap):
                    if not read:
                        lab.kill("p0", is_known=False)
                    read += part
            assert read == data


@simulated
async def test_wrong_bytes_of_a_holder_are_noticed_and_another_is_used() -> None:
    data = some_bytes(200_000)
    async with storage_lab(7) as lab:
        receipt = await put(lab["p0"], data)
        for name in lab.names()[1:4]:
            keeper = lab.keepers[name]
            for key, _ in keeper.tables.scan("lease_shards"):
                flip(lab, name, key[16:])
        assert await got(lab["p6"], receipt.cap) == data


def flip(lab: StorageLab, name: str, root: bytes) -> None:
    tables = lab.keepers[name].tables
    for table, rows in list(tables._tables.items()):
        if "inline" in table and root in rows.rows:
            rotten = bytearray(rows.rows[root])
            rotten[0] ^= 1
            tables.overwrite(table, root, bytes(rotten))


@simulated
async def test_a_full_machine_is_passed_over() -> None:
    data = some_bytes(600_000)
    async with storage_lab(5, quotas={"p1": 1000, "p2": 100 * KIB}) as lab:
        receipt = await put(lab["p0"], data)
        assert "p1" not in receipt.holders
        assert await got(lab["p4"], receipt.cap) == data


@simulated
async def test_a_full_pool_says_that_it_is_full() -> None:
    quotas = {f"p{number}": 50_000 for number in range(5)}
    async with storage_lab(5, quotas=quotas) as lab:
        with pytest.raises(StoreFullError):
            await put(lab["p0"], some_bytes(600_000))
        await trio.sleep(5)
        assert used(lab) == 0
        assert lab["p0"].objects.entries() == []


@simulated
async def test_too_few_machines_are_said_with_a_remedy() -> None:
    async with storage_lab(7) as lab:
        for name in lab.names()[3:]:
            lab.kill(name, is_known=False)
        with pytest.raises(TooFewPeersError, match="local"):
            await put(lab["p0"], some_bytes(200_000))
        receipt = await put(lab["p0"], some_bytes(200_000), durability=Durability.LOCAL)
        assert receipt.survives == "nothing: stored on this machine only"
        assert receipt.holders == ("p0",)


@simulated
async def test_a_local_put_stays_on_this_machine() -> None:
    async with storage_lab(5, not_lending=["p0"]) as lab:
        receipt = await put(lab["p0"], some_bytes(200_000), durability=Durability.LOCAL)
        assert used(lab) == lab["p0"].stats().used_bytes > 0
        assert await got(lab["p3"], receipt.cap) == some_bytes(200_000)


@simulated
async def test_a_machine_that_lends_nothing_is_given_nothing() -> None:
    async with storage_lab(5, not_lending=["p0", "p3"]) as lab:
        for seed in range(10):
            receipt = await put(lab["p0"], some_bytes(70_000, seed))
            assert not {"p0", "p3"} & set(receipt.holders)
        assert lab["p0"].stats().used_bytes == lab["p3"].stats().used_bytes == 0


@simulated
async def test_a_cancelled_put_leaves_nothing() -> None:
    for peers in (2, 5, 9):
        async with storage_lab(peers) as lab:

            async def endless() -> AsyncIterator[bytes]:
                for _ in range(60):
                    yield some_bytes(10_000)
                await trio.sleep_forever()

            with trio.move_on_after(30):
                await lab["p0"].objects.put(endless())
            await trio.sleep(10)
            assert used(lab) == 0
            assert all(not keeper.tables.scan("leases") for keeper in lab.keepers.values())
            assert lab["p0"].objects.entries() == []


@simulated
async def test_a_source_that_breaks_raises_its_own_error_and_leaves_nothing() -> None:
    class BrokenError(Exception):
        pass

    async with storage_lab(5) as lab:

        async def broken() -> AsyncIterator[bytes]:
            yield some_bytes(300_000)
            raise BrokenError

        with pytest.raises(BrokenError):
            await lab["p0"].objects.put(broken())
        await trio.sleep(10)
        assert used(lab) == 0


@simulated
async def test_a_holder_frees_what_a_dead_putter_left_when_its_hold_ends() -> None:
    async with storage_lab(5, config=HASTY) as lab:
        fed = trio.Event()

        async def halting() -> AsyncIterator[bytes]:
            yield some_bytes(300_000)
            await trio.sleep(5)
            fed.set()
            await trio.sleep_forever()

        lab.nursery.start_soon(lab["p0"].objects.put, halting())
        await fed.wait()
        lab.kill("p0")
        assert used(lab) > 0
        await trio.sleep(240)
        assert used(lab) == 0


@simulated
async def test_a_forgotten_object_frees_its_space_everywhere() -> None:
    async with storage_lab(9) as lab:
        kept = await put(lab["p0"], some_bytes(300_000, 1))
        before = used(lab)
        gone = await put(lab["p0"], some_bytes(300_000, 2))
        assert used(lab) == 2 * before
        assert await lab["p0"].objects.forget(gone.cap.address)
        assert not await lab["p0"].objects.forget(gone.cap.address)
        assert not await lab["p1"].objects.forget(kept.cap.address)
        assert used(lab) == before
        with pytest.raises(ObjectUnknownError):
            await got(lab["p5"], gone.cap)
        assert await got(lab["p5"], kept.cap) == some_bytes(300_000, 1)


@simulated
async def test_leases_of_objects_in_the_keyring_are_renewed_and_others_end() -> None:
    async with storage_lab(3, config=HASTY) as lab:
        kept = await put(lab["p0"], some_bytes(100_000))
        first_end = (await lab["p0"].objects.stat(kept.cap.address)).expires_ms
        await trio.sleep(720)
        assert await got(lab["p1"], kept.cap) == some_bytes(100_000)
        assert (await lab["p0"].objects.stat(kept.cap.address)).expires_ms > first_end
        lab.kill("p0")
        await trio.sleep(500)
        assert used(lab) == 0


@simulated
async def test_the_wrong_key_opens_nothing() -> None:
    async with storage_lab(3) as lab:
        receipt = await put(lab["p0"], some_bytes(10_000))
        with pytest.raises(CapabilityError):
            await got(lab["p1"], ReadCap(receipt.cap.address, ObjectKey(bytes(32))))


@simulated
async def test_an_address_nobody_knows_is_unknown() -> None:
    async with storage_lab(3) as lab:
        nowhere = ReadCap(Address(bytes(32)), ObjectKey(bytes(32)))
        with pytest.raises(ObjectUnknownError):
            await got(lab["p1"], nowhere)


@simulated
async def test_no_disk_but_the_owners_keyring_holds_plaintext_or_key() -> None:
    data = b"the quick brown fox jumps over the lazy dog " * 5000
    async with storage_lab(7) as lab:
        receipt = await put(lab["p0"], data)
        for keeper in lab.keepers.values():
            for table, rows in keeper.tables._tables.items():
                for value in rows.rows.values():
                    assert b"quick brown fox" not in value
                    assert table == "keyring" or bytes(receipt.cap.key) not in value


@simulated
async def test_entries_list_what_this_machine_put_oldest_first() -> None:
    async with storage_lab(3) as lab:
        for number in range(3):
            with trio.fail_after(60):
                await lab["p0"].objects.put(chunks_of(bytes(number)), name=f"file-{number}")
            await trio.sleep(1)
        entries = lab["p0"].objects.entries()
        assert [(entry.name, entry.size) for entry in entries] == [
            ("file-0", 0),
            ("file-1", 1),
            ("file-2", 2),
        ]
        assert lab["p1"].objects.entries() == []


@simulated
async def test_objects_are_there_again_after_the_whole_swarm_restarted() -> None:
    data = some_bytes(200_000)
    async with storage_lab(5) as lab:
        receipt = await put(lab["p0"], data)
        for name in lab.names():
            lab.kill(name)
        for name in lab.names():
            await lab.start(name)
        assert [entry.cap for entry in lab["p0"].objects.entries()] == [receipt.cap]
        assert await got(lab["p3"], receipt.cap) == data
