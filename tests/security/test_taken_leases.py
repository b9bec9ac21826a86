"""A lease id is told to every holder: whoever takes it first somewhere stands in nobody's way."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from msgspec.structs import replace

from p2p.errors import RefusalError
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, PersonId
from p2p.limits import PAYLOAD_BYTES_MAX
from p2p.wire.codec import encode
from p2p.wire.envelope import seal
from storage import messages as m
from storage.holder.leases.keys import key_of, lease_of
from storage.holder.leases.row import LEASES, LeaseRow
from storage.holder.tombstones import DOMAIN, Tombstone
from storage.ids import Address, LeaseId, LeaseKey
from storage.limits import ROWS_OF_ONE_LEASE_MAX
from storage.manifests.manifest import Manifest, SegmentRef, address_of
from testnet.sim.callers import LAB, machine_of
from testnet.sim.seeded import simulated, until_slowly
from tests.repair_lab import CONFIG, got, is_whole, newest_record, some_bytes
from tests.repair_lab import put as put_object
from tests.storage_lab import NETWORK, StorageLab, storage_lab
from tests.unit.storage.transfer.test_lease_rights import (
    DATA,
    FAR_MS,
    LAB_MATE,
    LEASE,
    OWNER,
    OWNERS_MACHINE,
    ROOT,
    drop,
    key,
    put,
    server,
    terms,
)

MALLORY = machine_of(PeerId("mallory"))
MENDER = LAB_MATE


def manifest_of(size: int, owner: str = OWNER) -> tuple[Address, bytes]:
    """An object of that owner under the lease: whoever knows the id can write one."""
    data = encode(
        Manifest(
            1, size, 4096, 1, 1, 1, LEASE, PersonId(owner), LAB, 1, 0,
            (SegmentRef(size + 16, ROOT),),
        )
    )  # fmt: skip
    return address_of(data), data


TRUE, TRUE_DATA = manifest_of(1000)


async def keep(
    lab: StorageLab, caller: Caller, address: Address, data: bytes, what: m.LeaseTerms
) -> None:
    await server(lab).answer(caller, m.PutManifest(address, address, what), data)


async def as_her_own(lab: StorageLab) -> None:
    await put(lab, MALLORY, terms(MALLORY.person))
    await keep(lab, MALLORY, *manifest_of(7, MALLORY.person), terms(MALLORY.person))


async def as_the_owners(lab: StorageLab) -> None:
    """By another object in the owner's name."""
    await put(lab, MALLORY, terms())
    await keep(lab, MALLORY, *manifest_of(7), terms())


async def as_the_owners_and_given_up(lab: StorageLab) -> None:
    for named in (Address(b""), TRUE):
        mine = machine_of(PeerId(f"mallory{len(named)}"))
        await put(lab, mine, replace(terms(is_hold=True), address=named))
        await drop(lab, mine)


async def with_a_tombstone(lab: StorageLab) -> None:
    await as_her_own(lab)
    stone = Tombstone(LEASE, manifest_of(7, MALLORY.person)[0])
    sealed = seal(key(MALLORY.peer), NETWORK, DOMAIN, stone, sequence=0, expires_ms=0)
    await server(lab).answer(MALLORY, m.DropLease(LEASE, tombstone=sealed), b"")
    assert lab["p0"].tombstones.of([LEASE]) == [sealed]


async def under_the_key_itself(lab: StorageLab) -> None:
    """The name of the place where the mended object is to be kept, as an id."""
    for place in (key_of(LEASE, OWNER, LAB, TRUE), key_of(LEASE, OWNER, LAB)):
        with pytest.raises(RefusalError, match="a lease id has"):
            await put(lab, MALLORY, replace(terms(MALLORY.person), lease=LeaseId(place)))


Take = Callable[[StorageLab], Awaitable[None]]
TAKES = [
    as_her_own,
    as_the_owners,
    as_the_owners_and_given_up,
    with_a_tombstone,
    under_the_key_itself,
]


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("named", [TRUE, Address(b"")], ids=["new mender", "mender of before"])
@simulated
async def test_a_machine_where_the_id_was_taken_helps_to_mend(take: Take, named: Address) -> None:
    async with storage_lab(1) as lab:
        await take(lab)
        if take is as_the_owners and not named:
            return  # it does not say which object it mends: in nobody's way, but not kept apart
        mending = replace(terms(), address=named)
        await put(lab, MENDER, mending)
        await keep(lab, MENDER, TRUE, TRUE_DATA, mending)
        leases = lab["p0"].leases
        assert leases.is_of(LEASE, TRUE)
        assert leases.roots(LEASE, TRUE) == [ROOT]
        renewal = m.RenewLeases(LEASE, FAR_MS)
        assert (await server(lab).answer(OWNERS_MACHINE, renewal, b""))[0] == m.LeasesRenewed(b"\1")


@pytest.mark.parametrize("take", TAKES)
@simulated
async def test_a_machine_where_the_id_was_taken_takes_the_owners_put_and_gives_it_up(
    take: Take,
) -> None:
    async with storage_lab(1) as lab:
        await take(lab)
        await put(lab, OWNERS_MACHINE, terms(is_hold=True))
        await keep(lab, OWNERS_MACHINE, TRUE, TRUE_DATA, terms())
        leases = lab["p0"].leases
        assert leases.is_of(LEASE, TRUE)
        with pytest.raises(RefusalError, match="not-yours"):
            await drop(lab, machine_of(PeerId("m9")))
        await drop(lab, OWNERS_MACHINE)
        assert not leases.is_of(LEASE, TRUE)
        assert leases.manifest(TRUE) is None
        with pytest.raises(RefusalError, match="given up"):
            await put(lab, MENDER, replace(terms(), address=TRUE))


@simulated
async def test_what_several_keep_under_one_id_ends_each_with_its_own() -> None:
    async with storage_lab(1) as lab:
        leases = lab["p0"].leases
        await put(lab, OWNERS_MACHINE, terms())
        await keep(lab, OWNERS_MACHINE, TRUE, TRUE_DATA, terms())
        await as_her_own(lab)
        await as_the_owners(lab)
        assert leases.roots(LEASE, TRUE) == [ROOT]
        await drop(lab, MALLORY)
        assert leases.is_of(LEASE, TRUE)
        assert lab["p0"].parts.transfer._server._shards.length(ROOT) is not None
        assert await drop(lab, OWNERS_MACHINE) >= len(DATA)
        assert not leases.rows(LEASE)


@simulated
async def test_nobody_ends_anothers_manifest_by_keeping_its_parts_under_a_lease_of_their_own() -> (
    None
):
    page = b"a page of it, or the roots of its added shards"
    part = address_of(page)
    hers = replace(terms(MALLORY.person), lease=LeaseId(b"h" * 16))
    async with storage_lab(1) as lab:
        answer, leases = server(lab).answer, lab["p0"].leases
        record = lab["p0"].holders.seal(TRUE, 0, ((PeerId("p0"),),), 1)
        await answer(OWNERS_MACHINE, m.PutManifest(TRUE, part, terms()), page)
        put_it = m.PutManifest(TRUE, TRUE, terms(), (record.sealed,))
        await answer(OWNERS_MACHINE, put_it, TRUE_DATA)
        await answer(MALLORY, m.PutManifest(TRUE, part, hers), page)
        await answer(MALLORY, m.DropLease(hers.lease), b"")
        assert leases.manifest(part) == page
        assert lab["p0"].holders.get(TRUE) == record
        await drop(lab, OWNERS_MACHINE)
        assert leases.manifest(part) is None
        assert lab["p0"].holders.get(TRUE) is None


@simulated
async def test_one_person_does_not_fill_an_id_with_leases() -> None:
    async with storage_lab(1) as lab:
        for number in range(ROWS_OF_ONE_LEASE_MAX):
            await put(lab, MALLORY, terms(f"nobody-{number}"))
        with pytest.raises(RefusalError, match="one person may use an id"):
            await put(lab, MALLORY, terms("nobody else"))
        await put(lab, MENDER, replace(terms(), address=TRUE))


@simulated
async def test_one_person_does_not_fill_the_table_of_tombstones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("storage.holder.tombstones.TOMBSTONES_PER_PERSON_MAX", 2)

    async def bury(lab: StorageLab, caller: Caller, number: int) -> int:
        lease = LeaseId(bytes([number]) * 16)
        await put(lab, caller, replace(terms(caller.person), lease=lease))
        stone = Tombstone(lease, TRUE)
        sealed = seal(key(caller.peer), NETWORK, DOMAIN, stone, sequence=0, expires_ms=0)
        await server(lab).answer(caller, m.DropLease(lease, tombstone=sealed), b"")
        return len(lab["p0"].tombstones.of([lease]))

    async with storage_lab(1) as lab:

        def kept() -> list[int]:
            leases = [LeaseId(bytes([number]) * 16) for number in range(9)]
            return [number for number in range(9) if lab["p0"].tombstones.of([leases[number]])]

        assert [await bury(lab, MALLORY, number) for number in range(2)] == [1, 1]
        assert await bury(lab, OWNERS_MACHINE, 2) == 1
        await trio.sleep(1)
        assert await bury(lab, MALLORY, 3) == 1
        assert len(kept()) == 3
        assert {2, 3} < set(kept()), "her older ones give way, and to hers alone"
        lab.kill("p0")
        await lab.start("p0")
        assert await bury(lab, MALLORY, 4) == 1
        assert kept() == [2, 3, 4], "counted from the start on"
        monkeypatch.setattr("storage.holder.tombstones.TOMBSTONES_MAX", 3)
        assert await bury(lab, OWNERS_MACHINE, 5) == 1
        assert kept() == [2, 4, 5], "where all is full, those of who has most"


@simulated
async def test_leases_of_a_state_folder_of_before_go_on_as_they_were() -> None:
    async with storage_lab(1) as lab:
        tables, leases = lab.keepers["p0"].tables, lab["p0"].leases
        before = LeaseKey(LEASE)
        row = LeaseRow(OWNER, LAB, OWNERS_MACHINE.peer, 1, FAR_MS, False)

        def write(view: object) -> None:
            view.put(LEASES, before, encode(row))  # type: ignore[attr-defined]
            view.put("lease_shards", before + ROOT, b"")  # type: ignore[attr-defined]
            view.put("shard_leases", ROOT + before, b"")  # type: ignore[attr-defined]
            view.put("lease_manifests", before + TRUE, TRUE)  # type: ignore[attr-defined]
            view.put("manifests", TRUE, TRUE_DATA)  # type: ignore[attr-defined]

        await lab.keepers["p0"].shards.put(ROOT, DATA, write)
        for caller in (OWNERS_MACHINE, MENDER):
            what = replace(terms(), address=TRUE)
            await put(lab, caller, what)
            await keep(lab, caller, TRUE, TRUE_DATA, what)
        assert [one for one, _ in leases.rows(LEASE)] == [before]
        await as_her_own(lab)
        assert len(leases.rows(LEASE)) == 2
        assert leases.roots(LEASE, TRUE) == [ROOT]
        await drop(lab, OWNERS_MACHINE)
        assert [lease_of(one) for one, _ in leases.rows(LEASE)] == [LEASE]
        await drop(lab, MALLORY)
        assert not tables.scan("lease_shards")
        assert not tables.scan("shard_leases")
        assert not tables.scan("part_leases")
        assert not tables.scan("manifests")


@simulated
async def test_an_object_is_mended_where_a_holder_had_taken_its_lease() -> None:
    """One of the machines that hold a copy takes the id everywhere else, then another dies."""
    data = some_bytes(3000)
    async with storage_lab(7, config=CONFIG) as lab:
        receipt = await put_object(lab["p0"], data)
        manifest = await lab["p0"].parts.catalog.manifest(receipt.cap.address)
        held = newest_record(lab, receipt).peers()
        free = [name for name in lab.names() if name not in held]
        assert free
        hers = m.LeaseTerms(
            manifest.lease, PersonId("mallory"), LabId("lab"), 1, manifest.until_ms + FAR_MS, False
        )
        for name in free:
            face = lab[name].parts.transfer._server
            await face.answer(MALLORY, m.PutShard(ROOT, len(DATA), hers), DATA)
        gone = next(peer for peer in held if peer != "p0")
        lab.kill(gone)
        await until_slowly(lambda: is_whole(lab, receipt), 300)
        record = newest_record(lab, receipt)
        assert gone not in record.peers()
        assert set(record.peers()) & set(free)
        await trio.sleep(1)
        assert await got(lab["p0"], receipt.cap) == data


@pytest.mark.parametrize(("size", "kept"), [(40_000, 0), (7_000, 12)])
@pytest.mark.parametrize("what", ["token", "reason"])
@simulated
async def test_tombstones_that_together_fit_no_message_end_no_node_that_is_asked(
    what: str, size: int, kept: int
) -> None:
    async with storage_lab(2) as lab:
        leases = [LeaseId(bytes([number]) * 16) for number in range(12)]
        for lease in leases:
            await put(lab, MALLORY, replace(terms(MALLORY.person), lease=lease))
            stone = replace(
                Tombstone(lease, TRUE), **{what: bytes(size) if what == "token" else "x" * size}
            )
            sealed = seal(key(MALLORY.peer), NETWORK, DOMAIN, stone, sequence=0, expires_ms=0)
            await server(lab).answer(MALLORY, m.DropLease(lease, tombstone=sealed), b"")
        assert len(lab["p0"].tombstones.of(leases)) == kept
        answer, _ = await server(lab).answer(MALLORY, m.AskDropped(b"".join(leases)), b"")
        assert len(encode(answer)) < PAYLOAD_BYTES_MAX
        found = await lab["p1"].parts.transfer.ask_dropped(PeerId("p0"), leases)
        assert {one.payload for one in found} == {
            one.payload for one in lab["p0"].tombstones.of(leases)
        }
