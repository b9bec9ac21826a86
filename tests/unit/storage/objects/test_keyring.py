"""The table of what is ours."""

from collections.abc import Callable
from typing import TypeVar

from p2p.wire.codec import encode
from storage.engine.memory_tables import MemoryTables
from storage.engine.port import WriteView
from storage.ids import Address, LeaseId, ObjectKey
from storage.objects.keyring import RESTORED_AT_ONCE, TABLE, Keyring, KeyRow
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
    target.on_change(lambda: told.append(1))
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


@simulated
async def test_what_the_labs_key_removed_is_known_without_a_look_at_everything() -> None:
    tables = Unlisted()
    book = Keyring(tables)
    for number in range(5):
        await book.add(address(number), row(number, f"thing {number}"))
    assert book.newest_removed() is None
    assert await book.mark_removed(address(1), 10, "a mistake")
    assert await book.mark_removed(address(3), 20, "another")
    assert not await book.mark_removed(address(3), 30, "again")
    newest = book.newest_removed()
    assert newest is not None
    assert (newest.name, newest.removed_ms, newest.removed_why) == ("thing 3", 20, "another")
    blank = Keyring(MemoryTables())
    await blank.restore([(bytes(key), encode(found)) for key, found in marked(book)])
    assert blank.newest_removed() == newest
    assert await book.remove(address(3))
    left = book.newest_removed()
    assert left is not None
    assert left.name == "thing 1"


def marked(book: Keyring) -> list[tuple[Address, KeyRow]]:
    found = [(address(number), book.get(address(number))) for number in range(5)]
    return [(key, row) for key, row in found if row is not None]


class Unlisted(MemoryTables):
    """Tables in which the keyring may not be read from end to end."""

    def scan(
        self, table: str, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        assert table != TABLE
        return super().scan(table, prefix, after=after, limit=limit)
