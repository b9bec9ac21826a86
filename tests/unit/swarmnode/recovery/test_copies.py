"""The list of the copies of a person's machines: each machine changes what is its own."""

import itertools
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2p.ids import PeerId
from p2p.wire.codec import Record, encode
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.limits import NAME_VALUE_BYTES_MAX
from storage.manifests.capability import text_of_cap
from swarmnode.errors import SnapshotError
from swarmnode.limits import MACHINES_PER_PERSON_MAX, TAKEN_OVER_KEPT_MAX
from swarmnode.recovery.copies.pointers import (
    KeyringCopies,
    Pointer,
    Taken,
    is_taken,
    taken_by,
    taken_from,
    taken_over,
    with_copy,
)
from swarmnode.recovery.copies.snapshot import _key, open_copies, seal_copies

LAPTOP, SERVER, NEW = PeerId("laptop"), PeerId("server"), PeerId("new")
BOTH = KeyringCopies((Pointer("l1", LAPTOP), Pointer("s1", SERVER)))


def test_a_machine_replaces_its_own_copy_alone() -> None:
    assert with_copy(KeyringCopies(), Pointer("l1", LAPTOP), None).pointers == (
        Pointer("l1", LAPTOP),
    )
    found = with_copy(BOTH, Pointer("l2", LAPTOP), None)
    assert set(found.pointers) == {Pointer("s1", SERVER), Pointer("l2", LAPTOP)}


def test_what_was_taken_over_stays_until_the_next_copy_of_its_taker() -> None:
    found = taken_over(BOTH, [Pointer("l1", LAPTOP)], NEW, 7)
    assert found.pointers == (Pointer("l1", NEW), Pointer("s1", SERVER))
    assert Pointer("s2", SERVER) in with_copy(found, Pointer("s2", SERVER), None).pointers
    found = with_copy(found, Pointer("n1", NEW), None)
    assert found.pointers == (Pointer("s1", SERVER), Pointer("n1", NEW))
    assert found.taken == (Taken(LAPTOP, NEW, 7),)


def test_a_machine_that_returns_writes_beside_its_taker_once_it_knows_of_it() -> None:
    found = taken_over(BOTH, [Pointer("l1", LAPTOP)], NEW, 7)
    with pytest.raises(SnapshotError, match="just taken over"):
        with_copy(found, Pointer("l2", LAPTOP), None)
    known = taken_from(found, LAPTOP)
    pointers = with_copy(found, Pointer("l2", LAPTOP), known).pointers
    assert pointers == (Pointer("l1", NEW), Pointer("s1", SERVER), Pointer("l2", LAPTOP))


def test_the_taker_of_several_has_them_all_and_can_be_taken_over_itself() -> None:
    found = taken_over(BOTH, BOTH.pointers, NEW, 7)
    again = PeerId("again")
    assert [one.writer for one in taken_over(found, found.pointers, again, 8).pointers] == [
        again
    ] * 2


def test_a_copy_that_changed_meanwhile_is_not_taken_over() -> None:
    now = with_copy(BOTH, Pointer("l2", LAPTOP), None)
    with pytest.raises(SnapshotError, match="changed"):
        taken_over(now, [Pointer("l1", LAPTOP)], NEW, 7)


def test_a_full_list_refuses_one_more_machine_and_drops_none_and_fits_under_a_name() -> None:
    cap = text_of_cap(ReadCap(Address(bytes(32)), ObjectKey(bytes(32))))
    long = [PeerId(f"12D3KooW{number:044}") for number in range(MACHINES_PER_PERSON_MAX)]
    copies = KeyringCopies(
        taken=tuple(Taken(one, one, 2**41) for one in long[:TAKEN_OVER_KEPT_MAX])
    )
    copies = KeyringCopies(tuple(Pointer(cap, one) for one in long), copies.taken, tuple(long))
    assert len(seal_copies(bytes(32), copies, os.urandom)) <= NAME_VALUE_BYTES_MAX
    with pytest.raises(SnapshotError, match=f"{MACHINES_PER_PERSON_MAX} machines of yours"):
        with_copy(copies, Pointer(cap, NEW), None)
    copies = KeyringCopies(copies.pointers)
    assert (
        len(with_copy(copies, Pointer("newer", long[0]), None).pointers) == MACHINES_PER_PERSON_MAX
    )


def test_the_single_copy_of_older_nodes_is_a_list_of_one() -> None:
    class Old(Record, frozen=True):
        cap: str
        writer: PeerId

    seed, nonce = bytes(32), bytes(12)
    value = nonce + ChaCha20Poly1305(_key(seed)).encrypt(nonce, encode(Old("l1", LAPTOP)), None)
    assert open_copies(seed, value) == KeyringCopies((Pointer("l1", LAPTOP),))


def test_a_copy_at_its_machines_own_place_is_taken_over_once() -> None:
    own = Pointer("o1", PeerId("own"))
    found = taken_over(BOTH, [], NEW, 7, [own])
    assert found.pointers == (*BOTH.pointers, Pointer("o1", NEW))
    assert is_taken(found, own)
    with pytest.raises(SnapshotError, match="changed"):
        taken_over(found, [], PeerId("slower"), 8, [own])
    after_its_return = Pointer("o2", PeerId("own"))
    assert not is_taken(found, after_its_return)
    found = taken_over(found, [], NEW, 9, [after_its_return])
    assert is_taken(found, after_its_return)
    assert len(found.taken) == 1


def test_machines_that_were_seen_are_remembered_as_many_as_fit() -> None:
    found = with_copy(BOTH, Pointer("l2", LAPTOP), None, [SERVER])
    found = with_copy(found, Pointer("l3", LAPTOP), None, [NEW, SERVER])
    assert found.siblings == (SERVER, NEW)
    many = [PeerId(f"m{number}") for number in range(MACHINES_PER_PERSON_MAX)]
    assert with_copy(found, Pointer("l4", LAPTOP), None, many).siblings == tuple(many)


def test_what_a_machine_has_is_that_of_all_it_took_over_and_of_those_they_had() -> None:
    """Each once, whatever order they stand in."""
    a, b, c, me = (PeerId(letter) for letter in ("a", "b", "c", "me"))
    other = Taken(PeerId("x"), PeerId("y"), 1)
    chain = (Taken(b, me, 3), Taken(a, b, 2), other, Taken(c, b, 1))
    for taken in itertools.permutations(chain):
        found = taken_by(KeyringCopies(taken=taken), me)
        assert sorted(one.writer for one in found) == [a, b, c]
    assert taken_by(KeyringCopies(taken=(other,)), me) == []


def test_a_later_takeover_is_later_whatever_its_clock_says() -> None:
    a, b, me = PeerId("a"), PeerId("b"), PeerId("me")
    copies = KeyringCopies((Pointer("cap", a), Pointer("cap2", b)), (Taken(a, b, 5000),))
    found = taken_over(copies, [copies.pointers[1]], me, 70)
    assert [(one.writer, one.at_ms) for one in found.taken] == [(a, 5000), (b, 5001)]
    found = taken_over(found, [found.pointers[0]], me, 80)
    assert [(one.writer, one.at_ms) for one in found.taken] == [(b, 5001), (a, 5002)]
