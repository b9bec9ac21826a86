"""Who may change a name, and who may not: whatever a member says or signs."""

from dataclasses import dataclass

import pytest
import trio
from msgspec.structs import replace

from p2p.errors import RemoteRefusalError, WireError
from p2p.ids import PeerId, TrafficClass
from p2p.wire.codec import Message, decode_as, encode
from p2p.wire.envelope import Signed, Signer, seal
from storage.errors import NameConflictError, StaleFenceError, TooFewPeersError
from storage.facade import NameValue
from storage.limits import NAME_PENDING_MS, NAMES_PENDING_MAX
from storage.records.names.config import NamesConfig
from storage.records.names.core import name_key
from storage.records.names.holder import TABLE, NameEntry
from storage.records.names.messages import (
    BALLOT_DOMAIN,
    NAME_DOMAIN,
    Ballot,
    BallotClaim,
    NameAccept,
    NameHeld,
    NamePrepare,
    NameRead,
    NameRecord,
    NameState,
)
from storage.records.names.rights import grant_names
from testnet.sim.clock import START_MS
from testnet.sim.seeded import simulated
from testnet.sim.signer import KeyedHashSigner
from tests.names_lab import NETWORK, OWNER, NamesLab, key_of, names_lab

THREE = ["peer0", "peer1", "peer2"]
MALLORY = KeyedHashSigner(PeerId("peer1"))
"""A member like the others: she has her machine's key and nobody else's."""
TASK = KeyedHashSigner(PeerId("task key"))
FAR_MS = START_MS + 100 * 24 * 3600 * 1000
VICTIM = PeerId("peer0")
HIGHEST = Ballot((1 << 53) - 1, (1 << 53) - 1, PeerId("peer1"), 0)


@dataclass
class Attack:
    """Mallory's machine speaks to another without the name service."""

    lab: NamesLab
    to: PeerId = VICTIM

    async def ask(self, request: Message) -> NameHeld:
        rpc = self.lab.nodes["peer1"].rpc
        assert rpc is not None
        held, _ = await rpc.call(
            self.to, request, NameHeld, traffic_class=TrafficClass.NORMAL, timeout_s=5
        )
        return held

    async def is_refused(self, request: Message, code: str = "not-yours") -> None:
        with pytest.raises(RemoteRefusalError) as caught:
            await self.ask(request)
        assert caught.value.code == code


def claim(
    signer: Signer, owner: str, name: str, ballot: Ballot, grant: Signed | None = None
) -> Signed:
    record = BallotClaim(owner, name, ballot, grant)
    return seal(signer, NETWORK, BALLOT_DOMAIN, record, sequence=1, expires_ms=FAR_MS)


def record(
    signer: Signer, owner: str, value: bytes, fence: int = 0, grant: Signed | None = None
) -> Signed:
    made = NameRecord(owner, "name", 1, fence, value, b"", grant)
    return seal(signer, NETWORK, NAME_DOMAIN, made, sequence=1, expires_ms=FAR_MS)


def grant(machine: str, fence: int, signer: Signer = TASK) -> Signed:
    return grant_names(signer, NETWORK, PeerId(machine), fence, 0)


@simulated
async def test_nobody_without_the_key_raises_the_fence_of_a_name() -> None:
    async with names_lab(THREE) as lab:
        wrote = await lab["peer0"].write("name", b"mine", expected=0, fence=1)
        attack, key = Attack(lab), key_of("name")
        await attack.is_refused(NamePrepare(key, HIGHEST))
        for signed in (
            claim(MALLORY, OWNER.peer_id, "name", HIGHEST),
            claim(MALLORY, MALLORY.peer_id, "name", HIGHEST),  # of a name of her own
            claim(OWNER, OWNER.peer_id, "other", HIGHEST),
            claim(OWNER, OWNER.peer_id, "name", Ballot(1, 1, PeerId("peer0"), 0)),
            claim(MALLORY, OWNER.peer_id, "name", HIGHEST, grant("peer1", HIGHEST.fence)),
        ):
            await attack.is_refused(NamePrepare(key, HIGHEST, signed))
        assert await lab["peer2"].read("name") == wrote
        await lab["peer2"].write("name", b"more", expected=1, fence=1)


@simulated
async def test_nobody_without_the_key_writes_a_name_or_brings_an_old_value_back() -> None:
    async with names_lab(THREE) as lab:
        await lab["peer0"].write("name", b"old", expected=0, fence=0)
        attack = Attack(lab)
        old = (await attack.ask(NameRead(key_of("name")))).state
        assert old.accepted is not None
        assert old.sealed is not None
        new = await lab["peer0"].write("name", b"new", expected=1, fence=0)
        own_claim = claim(MALLORY, OWNER.peer_id, "name", HIGHEST)
        await attack.is_refused(NameAccept(HIGHEST, old.sealed, own_claim))
        await attack.is_refused(NameAccept(HIGHEST, old.sealed, old.accept_claim))
        await attack.is_refused(NameAccept(HIGHEST, old.sealed))
        forged = record(MALLORY, OWNER.peer_id, b"hers")
        await attack.is_refused(NameAccept(HIGHEST, forged, own_claim))
        stale = await attack.ask(NameAccept(old.accepted, old.sealed, old.accept_claim))
        assert not stale.done
        assert await lab["peer2"].read("name") == new


@simulated
async def test_a_granted_machine_writes_under_its_fence_and_no_other() -> None:
    async with names_lab(THREE) as lab:
        names = lab["peer0"].service.attempt(grant("peer0", 3))
        assert await names.write("name", b"v", expected=0, fence=3) == NameValue(1, 3, b"v")
        with pytest.raises(ValueError, match="fence 3 only"):
            await names.write("name", b"w", expected=1, fence=4)
        with pytest.raises(WireError, match="is for peer1"):
            lab["peer0"].service.attempt(grant("peer1", 3))
        newer = lab["peer2"].service.attempt(grant("peer2", 4))
        await newer.write("name", b"w", expected=1, fence=4)
        with pytest.raises(StaleFenceError):
            await names.write("name", b"x", expected=2, fence=3)
        assert await lab["peer0"].service.of(TASK.peer_id).read("name") == NameValue(2, 4, b"w")
        with pytest.raises(PermissionError):
            await lab["peer0"].service.of(TASK.peer_id).write("name", b"", expected=2, fence=9)


@simulated
async def test_a_grant_is_good_for_its_machine_fence_and_task_only() -> None:
    async with names_lab(THREE) as lab:
        names = lab["peer0"].service.attempt(grant("peer0", 3))
        await names.write("name", b"v", expected=0, fence=3)
        attack = Attack(lab, PeerId("peer2"))
        key = (await attack.ask(NameRead(key_of("name")))).state  # another owner's: nothing there
        assert key.sealed is None
        theirs, ballot = grant("peer0", 3), Ballot(3, 1 << 50, PeerId("peer1"), 0)
        own = grant("peer1", 3, MALLORY)
        for sealed, right in (
            (record(MALLORY, TASK.peer_id, b"x", 3, theirs), theirs),  # her key, their grant
            (record(MALLORY, TASK.peer_id, b"x", 3, own), own),  # a grant she gave herself
            (record(MALLORY, TASK.peer_id, b"x", 3, grant("peer1", 2)), grant("peer1", 2)),
        ):
            under = claim(MALLORY, TASK.peer_id, "name", ballot, right)
            await attack.is_refused(NameAccept(ballot, sealed, under))
        assert await names.read("name") == NameValue(1, 3, b"v")


@simulated
async def test_a_grant_is_used_from_its_own_machine() -> None:
    async with names_lab(THREE) as lab:
        worker = KeyedHashSigner(PeerId("peer0"))
        ballot = Ballot(3, 5, PeerId("peer0"), 0)
        signed = claim(worker, TASK.peer_id, "name", ballot, grant("peer0", 3))
        opened = decode_as(BallotClaim, signed.payload)
        assert opened.ballot == ballot
        request = NamePrepare(name_key(TASK.peer_id, "name"), ballot, signed)
        await Attack(lab, PeerId("peer2")).is_refused(request)  # overheard, and told again


@simulated
async def test_a_holder_that_makes_up_a_promise_locks_nobody_out() -> None:
    async with names_lab(THREE) as lab:
        wrote = await lab["peer0"].write("name", b"mine", expected=0, fence=1)
        await trio.sleep(1)
        tables = lab.nodes["peer1"].tables
        packed = tables.get(TABLE, key_of("name"))
        assert packed is not None
        entry = decode_as(NameEntry, packed)
        lies = (
            NameEntry(_with(entry, HIGHEST, None), entry.payer, 0),
            NameEntry(_with(entry, HIGHEST, entry.state.accept_claim), entry.payer, 0),
            NameEntry(
                _with(entry, HIGHEST, claim(MALLORY, OWNER.peer_id, "name", HIGHEST)),
                entry.payer,
                0,
            ),
        )
        for number, lie in enumerate(lies):
            tables.overwrite(TABLE, key_of("name"), encode(lie))
            sequence = wrote.sequence + number
            await lab["peer0"].write("name", b"more", expected=sequence, fence=1)


def _with(entry: NameEntry, promised: Ballot, promise_claim: Signed | None) -> NameState:
    return replace(entry.state, promised=promised, promise_claim=promise_claim)


@simulated
async def test_a_person_writes_from_any_machine_that_has_their_key() -> None:
    bo = KeyedHashSigner(PeerId("bo"))
    async with names_lab(THREE) as lab:
        here, there = (lab[name].service.person(bo) for name in ("peer0", "peer2"))
        assert here.owner == bo.peer_id
        await here.write("keyring", b"1", expected=0, fence=0)
        await there.write("keyring", b"2", expected=1, fence=0)
        with pytest.raises(NameConflictError):
            await here.write("keyring", b"3", expected=1, fence=0)
        assert await lab["peer1"].service.of(bo.peer_id).read("keyring") == NameValue(2, 0, b"2")


@simulated
async def test_promises_without_a_record_end_at_a_bound_and_are_forgotten() -> None:
    config = NamesConfig(watch_s=1e6, sweep_s=NAME_PENDING_MS / 1000 + 60)
    async with names_lab(THREE, config=config) as lab:
        attack = Attack(lab)

        def prepare(number: int) -> NamePrepare:
            ballot, name = Ballot(0, 1, PeerId("peer1"), 0), f"junk {number}"
            signed = claim(MALLORY, MALLORY.peer_id, name, ballot)
            return NamePrepare(name_key(MALLORY.peer_id, name), ballot, signed)

        for number in range(NAMES_PENDING_MAX):
            await attack.ask(prepare(number))
        await attack.is_refused(prepare(NAMES_PENDING_MAX), "full")
        await lab["peer0"].write("name", b"mine", expected=0, fence=0)  # others have room
        assert lab["peer0"].stats().held == NAMES_PENDING_MAX + 1
        lab.crash("peer0")
        await trio.sleep(1)
        await lab.start("peer0")
        await attack.is_refused(prepare(NAMES_PENDING_MAX), "full")
        await trio.sleep(3 * config.sweep_s)
        assert lab["peer0"].stats().held == 1
        await attack.ask(prepare(NAMES_PENDING_MAX))


@simulated
async def test_a_reader_without_the_key_sees_what_a_writer_left_half_done() -> None:
    async with names_lab(THREE) as lab:
        await lab["peer0"].write("name", b"one", expected=0, fence=0)
        await trio.sleep(1)
        ballot = Ballot(0, 1 << 50, PeerId("peer0"), 0)
        half = NameRecord(OWNER.peer_id, "name", 2, 0, b"two", b"")
        sealed = seal(OWNER, NETWORK, NAME_DOMAIN, half, sequence=2, expires_ms=FAR_MS)
        under = claim(OWNER, OWNER.peer_id, "name", ballot)
        await Attack(lab).ask(NamePrepare(key_of("name"), ballot, under))
        await Attack(lab).ask(NameAccept(ballot, sealed, under))
        lab.crash("peer1")
        found = await lab["peer2"].service.of(OWNER.peer_id).read("name")
        assert found == NameValue(2, 0, b"two")
        lab.crash("peer0")
        with pytest.raises(TooFewPeersError):
            await lab["peer2"].read("name")
