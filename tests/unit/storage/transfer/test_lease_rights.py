"""Who may renew, take over and give up what is kept for somebody."""

import logging
import random
from collections.abc import AsyncIterator

import pytest
import trio
from msgspec.structs import replace

from p2p.errors import RefusalError
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, PersonId
from p2p.wire.codec import encode
from p2p.wire.envelope import Signed, Signer, seal
from storage import messages as m
from storage.coding.merkle import root_of
from storage.errors import HolderFailedError
from storage.holder.leases import shares
from storage.holder.server import ShardServer
from storage.holder.tombstones import DOMAIN as TOMBSTONE
from storage.ids import LeaseId
from storage.manifests.manifest import Manifest, SegmentRef, address_of
from testnet.sim.callers import LAB, machine_of
from testnet.sim.clock import START_MS
from testnet.sim.seeded import simulated
from testnet.sim.signer import KeyedHashSigner
from tests.storage_lab import NETWORK, StorageLab, storage_lab

LEASE = LeaseId(b"l" * 16)
OWNER, OTHERS = PersonId("owner"), LabId("others")
OWNERS_MACHINE = machine_of(PeerId("m0"), LAB, OWNER)
OWNERS_OTHER_MACHINE = machine_of(PeerId("m1"), LAB, OWNER)
LAB_MATE = machine_of(PeerId("m2"))
STRANGER = machine_of(PeerId("m3"), OTHERS)
DAY_MS = 24 * 3600 * 1000
FAR_MS = START_MS + 30 * DAY_MS
DATA = random.Random(1).randbytes(1000)
ROOT = root_of(DATA)


def server(lab: StorageLab) -> ShardServer:
    return lab["p0"].parts.transfer._server


def terms(owner: str = OWNER, lab: str = LAB, *, is_hold: bool = False) -> m.LeaseTerms:
    return m.LeaseTerms(LEASE, PersonId(owner), LabId(lab), 1, FAR_MS, is_hold)


async def put(lab: StorageLab, caller: Caller, what: m.LeaseTerms) -> None:
    await server(lab).answer(caller, m.PutShard(ROOT, len(DATA), what), DATA)


async def drop(lab: StorageLab, caller: Caller, order: Signed | None = None) -> int:
    reply, _ = await server(lab).answer(caller, m.DropLease(LEASE, order), b"")
    assert isinstance(reply, m.LeaseDropped)
    return reply.freed_bytes


def order(signer: Signer, *, lease: bytes = LEASE, until_ms: int = START_MS + DAY_MS) -> Signed:
    what = m.DropOrder(LeaseId(lease))
    return seal(signer, NETWORK, m.DROP_DOMAIN, what, sequence=1, expires_ms=until_ms)


def key(name: str) -> KeyedHashSigner:
    return KeyedHashSigner(PeerId(name))


@pytest.mark.parametrize("caller", [LAB_MATE, STRANGER])
@simulated
async def test_nobody_else_gives_up_a_lease(caller: Caller) -> None:
    async with storage_lab(1) as lab:
        await put(lab, OWNERS_MACHINE, terms())
        with pytest.raises(RefusalError, match="not-yours"):
            await drop(lab, caller)
        assert await drop(lab, OWNERS_OTHER_MACHINE) >= len(DATA)


@pytest.mark.parametrize("domain", [m.DROP_DOMAIN, TOMBSTONE])
@simulated
async def test_an_order_that_only_names_the_lab_is_never_told_of_as_the_labs(
    domain: str, caplog: pytest.LogCaptureFixture
) -> None:
    true = order(key(LAB), until_ms=FAR_MS)
    forged = replace(true, domain=domain, signature=bytes(len(true.signature)))
    async with storage_lab(1) as lab:
        await put(lab, OWNERS_MACHINE, terms())
        with caplog.at_level(logging.WARNING, "swarm.storage"):
            assert await drop(lab, OWNERS_MACHINE, forged) >= len(DATA)
    assert not caplog.records


@simulated
async def test_a_repairer_cannot_give_up_what_it_brought_for_another() -> None:
    async with storage_lab(1) as lab:
        await put(lab, LAB_MATE, terms(is_hold=True))
        assert await drop(lab, LAB_MATE) >= len(DATA)  # it failed, and cleans up
    async with storage_lab(1) as lab:
        await put(lab, LAB_MATE, terms())
        with pytest.raises(RefusalError, match="not-yours"):
            await drop(lab, LAB_MATE)


@simulated
async def test_an_order_of_the_owner_or_of_the_lab_is_obeyed_whoever_brings_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = [
        order(key("m2")),
        order(key(OTHERS)),
        order(key(OWNER), lease=b"m" * 16),
        order(key(OWNER), until_ms=START_MS - 1),
    ]
    for name in (OWNER, LAB):
        async with storage_lab(1) as lab:
            await put(lab, OWNERS_MACHINE, terms())
            for wrong in bad:
                with pytest.raises(RefusalError, match="not-yours"):
                    await drop(lab, LAB_MATE, wrong)
            with caplog.at_level(logging.WARNING, "swarm.storage"):
                assert await drop(lab, LAB_MATE, order(key(name))) >= len(DATA)
    said = [one.getMessage() for one in caplog.records]
    assert len(said) == 1
    assert "the key of lab lab gave up" in said[0]
    assert "of owner; m2 brought the order" in said[0]


@pytest.mark.parametrize(
    ("caller", "known"),
    [
        (OWNERS_MACHINE, 1), (OWNERS_OTHER_MACHINE, 1), (LAB_MATE, 1), (STRANGER, 0),
        (machine_of(PeerId("m1"), OTHERS, OWNER), 1),
    ],
)  # fmt: skip
@simulated
async def test_any_machine_of_the_lab_or_the_owner_renews_and_nobody_for_ever(
    caller: Caller, known: int
) -> None:
    async with storage_lab(1) as lab:
        await put(lab, OWNERS_MACHINE, terms())
        reply, _ = await server(lab).answer(caller, m.RenewLeases(LEASE, 1 << 52), b"")
        assert reply == m.LeasesRenewed(bytes([known]))
        row = lab["p0"].leases.row(LEASE)
        assert row is not None
        assert row.until_ms < START_MS + 100 * DAY_MS


@pytest.mark.parametrize("others", [terms("m2"), terms(lab=OTHERS)])
@simulated
async def test_a_lease_stays_with_its_owner(others: m.LeaseTerms) -> None:
    async with storage_lab(1) as lab:
        await put(lab, OWNERS_MACHINE, terms(is_hold=True))
        ((key_, before),) = lab["p0"].leases.rows(LEASE)
        for caller in (LAB_MATE, STRANGER):
            await put(lab, caller, others)
        assert dict(lab["p0"].leases.rows(LEASE))[key_] == before


@simulated
async def test_a_manifest_is_kept_for_the_owner_that_it_names() -> None:
    manifest = Manifest(
        1, 1000, 4096, 1, 1, 1, LEASE, OWNER, LAB, 1, 0, (SegmentRef(1016, ROOT),)
    )  # fmt: skip
    data = encode(manifest)
    address = address_of(data)
    async with storage_lab(1) as lab:
        for liar in (terms("m2"), terms(lab=OTHERS)):
            with pytest.raises(RefusalError, match="another owner's"):
                await server(lab).answer(LAB_MATE, m.PutManifest(address, address, liar), data)
        await server(lab).answer(LAB_MATE, m.PutManifest(address, address, terms()), data)
        row = lab["p0"].leases.row(LEASE)
        assert row is not None
        assert (row.owner, row.payer.person) == (OWNER, "owner-m2")


@simulated
async def test_what_another_lab_brings_is_held_until_its_manifest_comes() -> None:
    async with storage_lab(1) as lab:
        await put(lab, STRANGER, terms())
        row = lab["p0"].leases.row(LEASE)
        assert row is not None
        assert row.is_hold
        assert row.until_ms < FAR_MS


@simulated
async def test_giving_up_in_advance_refuses_only_ones_own() -> None:
    async with storage_lab(1) as lab:
        await drop(lab, LAB_MATE)
        await put(lab, OWNERS_MACHINE, terms())
    async with storage_lab(1) as lab:
        await drop(lab, OWNERS_OTHER_MACHINE)
        with pytest.raises(RefusalError, match="given up"):
            await put(lab, OWNERS_MACHINE, terms())


@simulated
async def test_each_person_has_a_share_of_the_leases_and_gets_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "LEASES_PER_PERSON_MAX", 3)

    async def bring(lab: StorageLab, caller: Caller, number: int) -> None:
        lease = LeaseId(bytes([number]) * 16)
        what = m.LeaseTerms(lease, OWNER, LAB, 1, FAR_MS, True)
        await server(lab).answer(caller, m.PutShard(ROOT, len(DATA), what), DATA)

    async with storage_lab(1) as lab:
        for number in range(3):
            await bring(lab, LAB_MATE, number)
            await bring(lab, LAB_MATE, number)  # the same again is no more
        with pytest.raises(RefusalError, match="one person may have 3"):
            await bring(lab, LAB_MATE, 3)
        await bring(lab, OWNERS_MACHINE, 4)
        lab.kill("p0")
        await lab.start("p0")
        with pytest.raises(RefusalError, match="one person may have 3"):
            await bring(lab, LAB_MATE, 3)
        await server(lab).answer(LAB_MATE, m.DropLease(LeaseId(bytes(16))), b"")
        await bring(lab, LAB_MATE, 3)


@simulated
async def test_puts_at_once_do_not_pass_a_persons_share_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "LEASES_PER_PERSON_MAX", 3)
    codes: list[str] = []

    async def bring(lab: StorageLab, number: int) -> None:
        what = m.LeaseTerms(LeaseId(bytes([number]) * 16), OWNER, LAB, 1, FAR_MS, True)
        try:
            await server(lab).answer(LAB_MATE, m.PutShard(ROOT, len(DATA), what), DATA)
        except RefusalError as error:
            codes.append(error.code)

    async with storage_lab(1) as lab:
        for number in range(2):
            await bring(lab, number)
        async with trio.open_nursery() as nursery:
            for number in range(2, 40):
                nursery.start_soon(bring, lab, number)
        assert sum(1 for _ in lab["p0"].leases.all()) <= 3
        assert set(codes) == {"full"}
        await bring(lab, 50)
        assert sum(1 for _ in lab["p0"].leases.all()) == 3


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    await trio.lowlevel.checkpoint()
    yield data


@simulated
async def test_an_object_of_one_person_is_removed_from_their_machines_only() -> None:
    owners = {"p0": OWNER, "p1": OWNER}
    async with storage_lab(4, owners=owners) as lab:
        receipt = await lab["p0"].objects.put(_chunks(DATA))
        manifest = await lab["p2"].parts.catalog.manifest(receipt.cap.address)
        holder = next(peer for peer in receipt.holders if peer not in ("p1", "p2"))
        with pytest.raises(HolderFailedError, match="not-yours"):
            await lab["p2"].parts.transfer.drop_lease(holder, manifest.lease)
        assert await lab["p1"].parts.transfer.drop_lease(holder, manifest.lease) > 0
