"""Removals: who may make them, whom they keep out, and whose room they take."""

from itertools import permutations

import msgspec

from p2p.identity.issue import proof_of
from p2p.identity.lineage import CertLink, may_remove
from p2p.identity.records import INVITE_DOMAIN, PERSON_DOMAIN
from p2p.identity.register.register import Register, remove
from p2p.limits import (
    CLOCK_SKEW_MAX_MS,
    REMOVALS_OF_ONE_PERSON_MAX,
    REMOVALS_PER_LAB_MAX,
    REMOVALS_PER_LABS_PEOPLE_MAX,
    REMOVALS_PER_PERSON_MAX,
)
from tests.register_lab import (
    ANCHOR,
    ANN,
    BOB,
    CAROL,
    DAVE,
    NOW,
    ROOT,
    ZOE,
    Person,
    is_out,
    key,
    register,
)


def test_those_above_in_the_certificates_may_remove_and_no_invite_key_may() -> None:
    assert ANN.keys.lab is not None
    above = may_remove(CAROL.who.lineage, CAROL.who.person)
    assert above == {ROOT.peer_id, ANN.keys.lab.peer_id, BOB.who.person}
    of_machine = may_remove(CAROL.who.lineage, CAROL.who.peer)
    assert of_machine == {*above, CAROL.who.person}
    assert may_remove(CAROL.who.lineage, DAVE.who.person) == frozenset()


def test_the_labs_key_and_the_inviter_remove() -> None:
    assert is_out(register(ANN.removes(CAROL, signer=ANN.keys.lab)), CAROL)
    assert is_out(register(BOB.removes(CAROL)), CAROL)
    assert is_out(register(ANN.removes(CAROL, signer=ROOT)), CAROL)


def test_whoever_stands_beside_or_in_another_lab_removes_nobody() -> None:
    made = register(
        DAVE.removes(CAROL),
        CAROL.removes(BOB),
        ZOE.removes(CAROL, signer=ZOE.keys.lab),
        BOB.removes(DAVE),
    )
    assert made.refused == 0
    assert not any(is_out(made, one) for one in (ANN, BOB, CAROL, DAVE, ZOE))


def test_whoever_is_removed_takes_along_those_they_invited() -> None:
    made = register(ANN.removes(BOB, signer=ANN.keys.lab))
    assert [is_out(made, one) for one in (ANN, BOB, CAROL, DAVE)] == [False, True, True, False]


def test_a_removal_without_a_good_proof_or_signature_is_refused() -> None:
    good = BOB.removes(CAROL)
    link = CertLink(PERSON_DOMAIN, CAROL.who.person, "", "carol")
    by_invite = key("i-carol")
    for bad in (
        remove(key("nobody"), ANCHOR.network, link, (), NOW),
        remove(by_invite, ANCHOR.network, link, BOB.token.certificates, NOW),
        remove(CAROL.keys.machine, ANCHOR.network, link, CAROL.token.certificates, NOW),
        BOB.removes(CAROL, at_ms=NOW + CLOCK_SKEW_MAX_MS + 1),
        msgspec.structs.replace(good, signature=bytes(64)),
    ):
        made = register(bad)
        assert made.refused == 1
        assert not is_out(made, CAROL)


def test_what_a_removed_one_signs_afterwards_counts_for_nothing_in_any_order() -> None:
    entries = (
        ANN.removes(BOB, NOW - 2000, ANN.keys.lab),
        BOB.removes(CAROL, NOW - 1000),
        BOB.removes(DAVE, NOW - 3000),
    )
    digests = set()
    for order in permutations(entries):
        made = register(*order)
        digests.add(made.removals.digest())
        assert [one.name for one in made.removals.all()] == ["dave", "bob"]
        assert not is_out(made, DAVE)  # ann invited dave: bob's word is nothing to him
    assert len(digests) == 1


def test_one_key_cannot_fill_the_register() -> None:
    link = CertLink(PERSON_DOMAIN, "12D3", "", "x")
    assert BOB.keys.person is not None
    proof = proof_of(BOB.keys.person, ANCHOR, BOB.token)
    made = Register(ANCHOR, ROOT)
    for number in range(REMOVALS_OF_ONE_PERSON_MAX + 10):
        made.take(remove(BOB.keys.person, ANCHOR.network, link, proof, NOW - number), NOW)
    assert len(made.removals.keys()) == REMOVALS_OF_ONE_PERSON_MAX
    made.take(ANN.removes(BOB, signer=ANN.keys.lab), NOW)
    assert is_out(made, BOB)


def test_people_who_make_people_leave_room_for_their_lab_and_their_network() -> None:
    made = Register(ANCHOR, ROOT)
    crowd = [child for mate in (BOB, DAVE) for child in mate.invites(f"{mate.name}'s", "x", "y")]
    for person in (*crowd, CAROL, BOB, DAVE):
        for number in range(REMOVALS_PER_PERSON_MAX):
            made.take(person.removes(ZOE, NOW - number), NOW)
    filled = 2 * (REMOVALS_PER_PERSON_MAX + REMOVALS_OF_ONE_PERSON_MAX)
    assert len(made.removals.keys()) == filled
    made.take(ANN.removes(BOB, signer=ANN.keys.lab), NOW)
    assert is_out(made, BOB)
    for number in range(REMOVALS_PER_LAB_MAX + 9):
        made.take(ZOE.removes(ANN, NOW - number, ZOE.keys.lab), NOW)
    assert len(made.removals.keys()) == filled + 1 + REMOVALS_PER_LAB_MAX
    made.take(ANN.removes(DAVE, signer=ANN.keys.lab), NOW)
    made.take(ANN.removes(ZOE, signer=ROOT), NOW)
    assert [is_out(made, one) for one in (DAVE, ZOE)] == [True, True]


def test_certificates_of_others_beside_ones_own_charge_nobody_else() -> None:
    """Tokens are no secrets: anybody may lay the invite of another lab before their own chain."""
    guest = ANN.invites("guest")[0]
    (borrowed,) = [one for one in guest.token.certificates if one.domain == INVITE_DOMAIN]
    assert BOB.keys.person is not None
    proof = proof_of(BOB.keys.person, ANCHOR, BOB.token)
    link = CertLink(PERSON_DOMAIN, "12D3", "", "x")
    made = Register(ANCHOR, ROOT)
    for number in range(REMOVALS_PER_PERSON_MAX + 9):
        shown = (proof[0], borrowed, *proof[1:]) if number % 2 else proof
        made.take(remove(BOB.keys.person, ANCHOR.network, link, shown, NOW - number), NOW)
    assert made.refused == 0
    assert len(made.removals.keys()) == REMOVALS_OF_ONE_PERSON_MAX


def fill(made: Register, person: Person) -> None:
    for number in range(REMOVALS_PER_PERSON_MAX):
        made.take(person.removes(ZOE, NOW - 10_000 - number), NOW)


def test_a_person_always_has_room_to_remove_those_they_invited() -> None:
    made = Register(ANCHOR, ROOT)
    for child in BOB.invites("bob's", "x", "y"):
        fill(made, child)
    made.take(BOB.removes(CAROL), NOW)
    assert is_out(made, CAROL)


def test_when_people_have_filled_their_labs_room_their_removal_makes_room_again() -> None:
    made = Register(ANCHOR, ROOT)
    mates = ANN.invites("the mates", *(f"m{number}" for number in range(5)), uses=9)
    lab = ANN.keys.lab
    assert lab is not None
    for mate in mates:
        for one in (mate, *mate.invites(f"{mate.name}'s", f"{mate.name}'s other")):
            fill(made, one)
    full = len(made.removals.keys())
    assert full == REMOVALS_PER_LABS_PEOPLE_MAX
    made.take(BOB.removes(CAROL), NOW)
    assert not is_out(made, CAROL), "as long as nobody did anything about those who filled it"
    made.take(ANN.removes(mates[0], NOW, lab), NOW)
    made.take(BOB.removes(CAROL), NOW)
    assert is_out(made, CAROL)
    assert made.removals.dropped
    assert len(made.removals.keys()) < full
    left = (made.removals.find(one) for one in made.removals.keys())  # noqa: SIM118
    again = register(*(one.sealed for one in left if one is not None))
    assert is_out(again, CAROL)
    assert is_out(again, mates[0])
