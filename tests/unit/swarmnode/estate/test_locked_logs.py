"""Logs of one of several people of a machine, where they must be brought back from the pool."""

import os

import pytest
from msgspec.structs import replace

from p2p.ids import PeerId
from p2p.wire.codec import encode
from storage.engine.memory_tables import MemoryTables
from storage.facade import Mark, ObjectKind, ReadCap
from swarmnode.errors import PersonLockedError
from swarmnode.estate.log_bundle import pack_logs
from swarmnode.estate.logs import LogKeeper
from swarmnode.estate.rows import ESTATES, EstateRow
from swarmnode.market.logbook import LogBook
from swarmnode.people.book import People
from swarmnode.people.seals import Seals, public_of
from swarmnode.tasks.ids import TaskId
from testnet.sim.memory_objects import MemoryObjects, Pool
from testnet.sim.seeded import simulated
from tests.fake_market import FakeBuyer

TASK = TaskId("aaaaaaaaaaaaaaaa")
SECRET = bytes([7] * 32)


@simulated
async def test_they_are_opened_with_their_person_s_key_and_a_locked_person_is_told() -> None:
    tables, objects = MemoryTables(), MemoryObjects(Pool(), PeerId("me"))
    had, blank = LogBook(MemoryTables()), LogBook(MemoryTables())
    await had.take(TASK, 1, "stdout", 0, b"hello\n")
    mark = Mark(ObjectKind.LOG, TASK, "ben")
    receipt = await objects.put(pack_logs(had, [TASK]), mark=mark)
    row = encode(EstateRow(log_bytes=6, log_at=receipt.cap.address))
    await tables.transact(lambda view: view.put(ESTATES, TASK.encode(), row))
    people = People(tables, lambda: 0)
    seals = Seals(people, os.urandom)
    await people.add("ben", 1001)
    await people.set_key("ben", public_of(SECRET), b"", instead_of=b"")
    address, key = receipt.cap.address, receipt.cap.key
    sealed = ReadCap(address, seals.seal_key("ben", address, key))
    objects._entries[address] = replace(objects._entries[address], cap=sealed)
    keeper = LogKeeper(FakeBuyer(), blank, objects, tables)
    keeper.kept.open_by(seals.open_cap)
    with pytest.raises(PersonLockedError, match="swarmnode unlock"):
        await keeper.kept.bring(TASK)
    assert blank.length(TASK) == 0
    seals.unlock("ben", SECRET)
    await keeper.kept.bring(TASK)
    assert blank.length(TASK) > 0
