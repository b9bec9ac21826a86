from collections.abc import Sequence

import msgspec
import pytest
import trio

from p2p.errors import WireError
from p2p.ids import NetworkId, PeerId
from p2p.wire.envelope import Signed, seal
from storage.engine.memory_tables import MemoryTables
from storage.ids import Address
from storage.records.holders import HolderBook
from storage.records.holding import (
    HOLDERS_DOMAIN,
    HolderRecord,
    Holding,
    latest,
    newest,
    open_holders,
    prevailing,
    replaces,
)
from testnet.sim.seeded import simulated
from testnet.sim.signer import KeyedHashSigner

NETWORK = NetworkId("net")
THING = Address(bytes(32))
ALICE, BOB, CAROL = PeerId("alice"), PeerId("bob"), PeerId("carol")


def book(me: PeerId, tables: MemoryTables | None = None) -> HolderBook:
    return HolderBook(tables or MemoryTables(), KeyedHashSigner(me), NETWORK)


def record(signer: PeerId, sequence: int, holders: Sequence[PeerId | None]) -> Holding:
    return book(signer).seal(THING, 0, (tuple(holders),), sequence)


def test_a_record_opens_as_it_was_sealed() -> None:
    made = record(ALICE, 3, [BOB, None, CAROL])
    opened = book(CAROL).open(made.sealed)
    assert opened == made
    assert opened.peers() == (BOB, CAROL)


def test_a_changed_record_is_refused() -> None:
    sealed = record(ALICE, 3, [BOB]).sealed
    for change in ({"sequence": 4}, {"sender": BOB}, {"payload": b"\x90"}):
        with pytest.raises(WireError):
            book(CAROL).open(msgspec.structs.replace(sealed, **change))


@pytest.mark.parametrize(
    "bad",
    [
        HolderRecord(THING, 0, 0, (BOB,), b""),
        HolderRecord(THING, 0, 65, (BOB,), bytes(130)),
        HolderRecord(THING, 0, 2, (BOB,), bytes(3)),
        HolderRecord(THING, 0, 1, (BOB,), b"\x00\x01"),
        HolderRecord(THING, 0, 1, (BOB,), bytes(2), b"short"),
        HolderRecord(THING, -1, 1, (BOB,), bytes(2)),
        HolderRecord(THING, 1 << 32, 1, (BOB,), bytes(2)),
        HolderRecord(Address(b""), 0, 1, (BOB,), bytes(2)),
    ],
)
def test_senseless_records_are_refused_though_signed(bad: HolderRecord) -> None:
    signer = KeyedHashSigner(ALICE)
    sealed: Signed = seal(signer, NETWORK, HOLDERS_DOMAIN, bad, sequence=1, expires_ms=0)
    with pytest.raises(WireError):
        open_holders(signer, NETWORK, sealed)


def test_a_newer_record_counts_only_from_one_who_had_a_say() -> None:
    old = record(ALICE, 1, [BOB, BOB])
    assert replaces(record(BOB, 2, [BOB, CAROL]), old)
    assert replaces(record(ALICE, 2, [CAROL, CAROL]), old)
    assert not replaces(record(CAROL, 9, [CAROL, CAROL]), old)
    assert not replaces(record(ALICE, 1, [CAROL, CAROL]), old)
    assert not replaces(record(BOB, 0, [BOB, BOB]), old)


def test_of_two_repairs_at_once_the_same_one_wins_everywhere() -> None:
    old = record(ALICE, 1, [BOB, CAROL])
    mine, theirs = record(BOB, 2, [BOB, ALICE]), record(CAROL, 2, [CAROL, ALICE])
    assert replaces(mine, old)
    assert replaces(theirs, old)
    assert newest([mine, theirs]) == newest([theirs, mine]) == theirs


def test_of_two_repairs_that_never_met_the_one_that_most_keep_prevails() -> None:
    older, mine = record(ALICE, 1, [BOB, CAROL]), record(BOB, 2, [BOB, ALICE])
    theirs = record(CAROL, 2, [CAROL, ALICE])
    assert latest([older, mine, theirs, mine]) == [mine, theirs, mine]
    assert prevailing([older, mine, theirs, mine]) == mine
    assert prevailing([mine, theirs]) == prevailing([theirs, mine]) == theirs
    assert prevailing([mine, mine, record(ALICE, 3, [BOB, BOB])]) == record(ALICE, 3, [BOB, BOB])
    assert prevailing([]) is None


@simulated
async def test_the_book_keeps_the_newest_and_survives_a_restart() -> None:
    tables = MemoryTables()
    kept = book(BOB, tables)
    with trio.fail_after(5):
        for sequence in (1, 3, 2):
            await kept.accept(record(ALICE, sequence, [BOB, CAROL]))
        await kept.accept(book(ALICE).seal(THING, 1, ((CAROL,),), 1))
    again = book(BOB, tables)
    found = again.get(THING)
    assert found is not None
    assert found.sequence == 3
    assert [(holding.page, holding.sequence) for _, holding in again.scan()] == [(0, 3), (1, 1)]
    await tables.transact(lambda view: again.remove(view, THING))
    assert again.scan() == []
