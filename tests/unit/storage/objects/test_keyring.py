"""The table of what is ours."""

from collections.abc import Callable
from typing import TypeVar

from storage.engine.memory_tables import MemoryTables
from storage.engine.port import WriteView
from storage.ids import Address, LeaseId, ObjectKey
from storage.objects.keyring import RESTORED_AT_ONCE, Keyring, KeyRow
from testnet.sim.seeded import simulated

ResultT = TypeVar("ResultT")


def row(number: int, name: str = "") -> KeyRow:
    lease = LeaseId(number.to_bytes(16))
    return KeyRow(ObjectKey(bytes(32)), lease, name, 1, 0, number, 0, digest=number.to_bytes(32))


def address(number: int) -> Address:
    return Address(number.to_bytes(32))


class CountedTables(MemoryTables):
    """Counts commits."""

    commits = 0

    async def transact(self, apply: Callable[[WriteView], ResultT]) -> ResultT:
        self.commits += 1
        return await super().transact(apply)


@simulated
async def test_many_rows_are_restored_by_few_commits_and_those_that_are_here_stay() -> None:
    count = 3 * RESTORED_AT_ONCE
    source = Keyring(MemoryTables())
    for number in range(count):
        await source.add(address(number), row(number))
    tables, told = CountedTables(), list[int]()
    target = Keyring(tables)
    await target.add(address(7), row(7, "ours"))
    target.on_change = lambda: told.append(1)
    before = tables.commits
    await target.restore(source.dump())
    assert tables.commits - before == 3
    assert told == [1]
    assert len(target.rows()) == count
    kept = target.get(address(7))
    assert kept is not None
    assert kept.name == "ours"
    assert target.holder_of(LeaseId((9).to_bytes(16))) == address(9)
    assert [one.cap.address for one in target.same((9).to_bytes(32))] == [address(9)]
