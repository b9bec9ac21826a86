"""What rests of a person opens with the key in their home alone."""

import os
from dataclasses import dataclass, field

import msgspec
import pytest
import trio

from p2p.ids import PeerId
from p2p.wire.codec import encode
from storage.engine.memory_tables import MemoryTables
from storage.engine.stored import stored
from storage.facade import ReadCap
from storage.ids import Address, LeaseId, ObjectKey
from storage.manifests.capability import is_sealed, parse_kept, text_of_cap
from storage.objects.keyring import TABLE, Keyring, KeyRow
from swarmnode.errors import PersonKeyError, PersonLockedError
from swarmnode.people.book import TABLE as PEOPLE
from swarmnode.people.book import People
from swarmnode.people.sealed_tasks import at_rest, spec_in_clear
from swarmnode.people.seals import Seals
from swarmnode.people.unlocking import Unlocking
from swarmnode.tasks.checkpoint import CheckpointRecord, OlderStep, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.secrets.hidden import HIDDEN, masked
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.store import TASKS, task_key
from testnet.sim.seeded import simulated

ADDRESS = Address(bytes(range(32)))
CAP = ReadCap(ADDRESS, ObjectKey(bytes(range(100, 132))))
TEXT = text_of_cap(CAP)
BEN, OTHER, SALT = bytes([7] * 32), bytes([8] * 32), bytes(16)


@dataclass
class Lab:
    """The tables of a node to which ben was let in."""

    tables: MemoryTables = field(default_factory=MemoryTables)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """As after a start of the daemon: nobody has unlocked anything."""
        self.people = People(self.tables, lambda: 7)
        self.seals = Seals(self.people, os.urandom)
        self.keyring = Keyring(self.tables)
        self.keyring.rest_by(self.seals.seal_key)
        self.unlocking = Unlocking(self.people, self.seals, self.keyring, self.tables)

    async def people_back(self, name: bytes, row: bytes) -> None:
        await self.tables.transact(lambda view: view.put(PEOPLE, name, row))

    def row(self) -> KeyRow:
        data = self.tables.get(TABLE, ADDRESS)
        assert data is not None
        return stored(KeyRow, data, "store.lmdb")

    def task(self) -> TaskRecord:
        data = self.tables.get(TASKS, task_key(TaskId("t1")))
        assert data is not None
        return stored(TaskRecord, data, "state.lmdb")


def row_of(person: str) -> KeyRow:
    return KeyRow(CAP.key, LeaseId(bytes(16)), "plan", 5, 0, 1, 2, person=person)


def ended(person: str = "ben") -> TaskRecord:
    file = StoredFile("out", 5, TEXT)
    spec = TaskSpec(
        ("true",),
        inputs=(("a", TEXT),),
        variables=(("API_TOKEN", "hush"), ("MODE", "fast"), ("X", "swarm-read-0")),
    )
    return TaskRecord(
        TaskId("t1"), spec, 1, TaskState.DONE, person=person,
        checkpoint=CheckpointRecord(2, (file,), 1, (OlderStep(1, file, beside=True),)),
        outcome=Outcome("done", 0, "exit", outputs=(file,)), left=(file,),
    )  # fmt: skip


@simulated
async def test_an_object_of_a_person_with_a_key_rests_sealed_and_opens_while_unlocked() -> None:
    lab = Lab()
    await lab.people.add("ben", 1001)
    await lab.unlocking.unlock("ben", BEN, SALT)
    await lab.keyring.add(ADDRESS, row_of("ben"))
    (entry,) = lab.keyring.entries()
    assert is_sealed(entry.cap)
    assert bytes(CAP.key) not in encode(lab.row())
    assert lab.seals.open_cap("ben", entry.cap) == CAP
    assert lab.seals.lock("ben")
    assert not lab.seals.lock("ben")
    with pytest.raises(PersonLockedError, match="swarmnode unlock"):
        lab.seals.open_cap("ben", entry.cap)


@simulated
async def test_what_is_put_while_nobody_is_logged_in_is_sealed_too_and_renewed() -> None:
    lab = Lab()
    await lab.people.add("ben", 1001)
    await lab.unlocking.unlock("ben", BEN, SALT)
    lab.start()
    await lab.keyring.add(ADDRESS, row_of("ben"))
    await lab.keyring.renewed([ADDRESS], 99)
    assert bytes(CAP.key) not in encode(lab.row())
    assert lab.row().until_ms == 99
    await lab.unlocking.unlock("ben", BEN, SALT)
    assert lab.seals.open_cap("ben", lab.keyring.entries()[0].cap) == CAP


@simulated
async def test_what_rested_in_clear_is_sealed_when_the_key_comes_and_only_that_person_s() -> None:
    lab = Lab()
    await lab.people.add("ben", 1001)
    mine = Address(bytes([1] * 32))
    await lab.keyring.add(ADDRESS, row_of("ben"))
    await lab.keyring.add(mine, msgspec.structs.replace(row_of(""), lease=LeaseId(bytes([2] * 16))))
    await lab.tables.transact(lambda view: view.put(TASKS, task_key(TaskId("t1")), encode(ended())))
    assert lab.row().key == CAP.key
    await lab.unlocking.unlock("ben", BEN, SALT)
    assert bytes(CAP.key) not in encode(lab.row())
    assert TEXT.encode() not in encode(lab.task())
    ours = lab.keyring.get(mine)
    assert ours is not None
    assert ours.key == CAP.key
    before = (lab.row(), lab.task())
    await lab.unlocking.unlock("ben", BEN, SALT)
    assert (lab.row(), lab.task()) == before


@simulated
async def test_a_copy_of_the_keyring_is_sealed_as_well_and_opens_where_it_is_brought_back() -> None:
    lab, blank = Lab(), Lab()
    await lab.people.add("ben", 1001)
    await lab.unlocking.unlock("ben", BEN, SALT)
    await lab.keyring.add(ADDRESS, row_of("ben"))
    rows, people = lab.keyring.dump(), lab.tables.scan(PEOPLE)
    assert not any(bytes(CAP.key) in row for _, row in rows)
    await blank.keyring.restore(rows)
    for name, person in people:
        await blank.people_back(name, person)
    await blank.unlocking.unlock("ben", BEN, SALT)
    assert blank.seals.open_cap("ben", blank.keyring.entries()[0].cap) == CAP


@simulated
async def test_another_key_is_refused_until_it_is_meant_and_opens_only_what_comes_then() -> None:
    lab = Lab()
    await lab.people.add("ben", 1001)
    await lab.unlocking.unlock("ben", BEN, SALT)
    await lab.keyring.add(ADDRESS, row_of("ben"))
    old = lab.keyring.entries()[0].cap
    with pytest.raises(PersonKeyError, match="--new-key"):
        await lab.unlocking.unlock("ben", OTHER, SALT)
    assert lab.seals.open_cap("ben", old) == CAP, "a refusal changes nothing"
    await lab.unlocking.unlock("ben", OTHER, SALT, anew=True)
    with pytest.raises(PersonLockedError, match="earlier key"):
        lab.seals.open_cap("ben", old)
    later = lab.seals.seal_key("ben", ADDRESS, CAP.key)
    assert lab.seals.open_cap("ben", ReadCap(ADDRESS, later)) == CAP


@simulated
async def test_the_key_stays_known_of_who_was_removed_and_let_in_again() -> None:
    lab = Lab()
    await lab.people.add("ben", 1001)
    await lab.unlocking.unlock("ben", BEN, SALT)
    await lab.people.remove("ben")
    assert lab.seals.has_key("ben"), "their tasks run on and leave things"
    await lab.people.add("ben", 1001)
    with pytest.raises(PersonKeyError):
        await lab.unlocking.unlock("ben", OTHER, SALT)


@simulated
async def test_a_box_opens_for_its_own_address_and_person_only() -> None:
    lab = Lab()
    for name, uid, secret in (("ben", 1001, BEN), ("ann", 1002, OTHER)):
        await lab.people.add(name, uid)
        await lab.unlocking.unlock(name, secret, SALT)
    key = lab.seals.seal_key("ben", ADDRESS, CAP.key)
    assert lab.seals.seal_key("ben", ADDRESS, key) == key, "nothing is sealed twice"
    with pytest.raises(PersonLockedError):
        lab.seals.open_cap("ann", ReadCap(ADDRESS, key))
    with pytest.raises(PersonLockedError):
        lab.seals.open_cap("ben", ReadCap(Address(bytes(32)), key))


@simulated
async def test_a_task_that_has_ended_rests_with_sealed_capabilities_and_secrets() -> None:
    lab = Lab()
    await lab.people.add("ben", 1001)
    assert at_rest(lab.seals, ended()) == ended(), "no key was brought yet"
    await lab.unlocking.unlock("ben", BEN, SALT)
    running = msgspec.structs.replace(ended(), state=TaskState.RUNNING)
    for same in (running, ended("")):
        assert at_rest(lab.seals, same) == same
    made = at_rest(lab.seals, ended())
    for secret in (TEXT.encode(), b"hush", b"swarm-read-0"):
        assert secret not in encode(made)
    assert dict(made.spec.variables)["MODE"] == "fast"
    assert masked(dict(made.spec.variables))["X"] == HIDDEN
    assert made.outcome is not None
    assert parse_kept(made.outcome.outputs[0].cap).address == ADDRESS
    assert at_rest(lab.seals, made) == made, "nothing is sealed twice"
    assert spec_in_clear(lab.seals, made) == ended().spec
    lab.seals.lock("ben")
    with pytest.raises(PersonLockedError):
        spec_in_clear(lab.seals, made)


@simulated
async def test_a_task_that_is_kept_for_another_machine_is_not_sealed_for_a_namesake_of_ours() -> (
    None
):
    lab = Lab()
    await lab.people.add("ben", 1001)
    await lab.unlocking.unlock("ben", BEN, SALT)
    theirs = msgspec.structs.replace(ended(), submitter=PeerId("bob"))
    assert at_rest(lab.seals, theirs) == theirs
    await lab.tables.transact(lambda view: view.put(TASKS, task_key(TaskId("t1")), encode(theirs)))
    await lab.unlocking.unlock("ben", BEN, SALT)
    assert lab.task() == theirs


@simulated
async def test_of_two_first_commands_at_once_one_key_counts_and_it_opens_everything() -> None:
    lab = Lab()
    lab.tables = MemoryTables(commit_s=0.01)
    lab.start()
    await lab.people.add("ben", 1001)
    await lab.keyring.add(ADDRESS, row_of("ben"))
    refused: list[PersonKeyError] = []

    async def bring(secret: bytes, salt: bytes, after_s: float) -> None:
        await trio.sleep(after_s)
        try:
            await lab.unlocking.unlock("ben", secret, salt)
        except PersonKeyError as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bring, BEN, SALT, 0.0)
        nursery.start_soon(bring, OTHER, bytes([1] * 16), 0.005)
    assert len(refused) == 1
    assert lab.people.salt_of("ben") == SALT
    assert lab.seals.open_cap("ben", lab.keyring.entries()[0].cap) == CAP


@simulated
async def test_what_a_provider_made_up_is_left_as_it_is() -> None:
    lab = Lab()
    await lab.people.add("ben", 1001)
    await lab.unlocking.unlock("ben", BEN, SALT)
    outcome = Outcome("done", 0, "exit", outputs=(StoredFile("out", 5, "no capability"),))
    record = msgspec.structs.replace(ended(), outcome=outcome, provider=PeerId("bob"))
    made = at_rest(lab.seals, record).outcome
    assert made == outcome
