"""Removals and uses of invites: who may make them, and whom they keep out."""

import random
from itertools import permutations

import msgspec
import pytest

from p2p.errors import AdmissionError, WireError
from p2p.identity.admission import Admitted, Anchor, Clocks, check_token
from p2p.identity.issue import DAY_MS, Grant, Keys, Names, accept, found, proof_of
from p2p.identity.issue import invite as certify_invite
from p2p.identity.keys import KeySigner, network_id_of
from p2p.identity.lineage import CertLink, may_remove
from p2p.identity.records import (
    INVITE_DOMAIN,
    PERSON_DOMAIN,
    MachineCert,
    MembershipToken,
    PersonCert,
    certify,
)
from p2p.identity.register.register import Register, remove, witness
from p2p.identity.register.uses import certificate_of, uses_in
from p2p.ids import PersonId
from p2p.limits import (
    CLOCK_SKEW_MAX_MS,
    REMOVALS_OF_ONE_PERSON_MAX,
    REMOVALS_PER_LAB_MAX,
    REMOVALS_PER_LABS_PEOPLE_MAX,
    REMOVALS_PER_PERSON_MAX,
    USES_PER_PERSON_MAX,
)
from p2p.wire.envelope import Signed

NOW = 1_800_000_000_000


def key(name: str) -> KeySigner:
    return KeySigner.from_seed(name.encode().ljust(32, b"."))


ROOT = key("network")
ANCHOR = Anchor(network_id_of(ROOT.peer_id), ROOT.peer_id)


class Person:
    """Somebody with one machine: keys, token, and what the token proves."""

    def __init__(self, name: str, keys: Keys, token: MembershipToken, now_ms: int = NOW) -> None:
        self.name, self.keys, self.token = name, keys, token
        self.who = self.seen(now_ms)

    def seen(self, now_ms: int = NOW) -> Admitted:
        return check_token(self.token, self.keys.machine.peer_id, ANCHOR, ROOT, Clocks(now_ms))

    def invites(self, *names: str, uses: int = 1, can_invite: bool = True) -> list["Person"]:
        """People that come with one invite of ours."""
        grant, seed = Grant(uses=uses, can_invite=can_invite), key(f"i-{names[0]}")
        chain = certify_invite(ANCHOR, self.keys, self.token, grant, seed, NOW)
        made = []
        for name in names:
            keys = Keys(key(f"{name}'s machine"), key(name))
            token = accept(ANCHOR, chain, seed, keys, Names(f"{name}-1", name, ""), NOW)
            made.append(Person(name, keys, token))
        return made

    def removes(self, other: "Person", at_ms: int = NOW, signer: KeySigner | None = None) -> Signed:
        """A removal of another person, with the member key unless told otherwise."""
        signer = signer or self.keys.person
        assert signer is not None
        link = CertLink(PERSON_DOMAIN, other.who.person, "", other.name)
        return remove(signer, ANCHOR.network, link, proof_of(signer, ANCHOR, self.token), at_ms)


def founder(lab: str = "physics") -> Person:
    keys = Keys(key(f"{lab}'s machine"), key(f"{lab}'s founder"), key(lab), ROOT)
    token = found(ANCHOR, keys, Names(f"{lab}-1", f"{lab}-founder", lab), NOW)
    return Person(f"{lab}-founder", keys, token)


ANN = founder()
(BOB,) = ANN.invites("bob")
(CAROL,) = BOB.invites("carol")
(DAVE,) = ANN.invites("dave")
ZOE = founder("chemistry")


def register(*entries: Signed) -> Register:
    made = Register(ANCHOR, ROOT)
    made.take_all(entries, NOW)
    return made


def is_out(made: Register, person: Person) -> bool:
    return made.why_out(person.who) is not None


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


def test_machines_by_the_dozen_of_one_person_leave_room_for_true_uses() -> None:
    made = Register(ANCHOR, ROOT)
    assert BOB.keys.person is not None
    proof = proof_of(BOB.keys.person, ANCHOR, BOB.token)
    fake = key("an invite that nobody gave")
    for machine in range(3):
        mine = key(f"bob's {machine}")
        cert = MachineCert(mine.peer_id, BOB.who.lab, BOB.who.person, f"b-{machine}", "", ())
        ends = BOB.who.expires_ms
        own = certify(BOB.keys.person, ANCHOR.network, cert, issued_ms=NOW, expires_ms=ends)
        token = MembershipToken((*proof, own))
        for number in range(USES_PER_PERSON_MAX // 2):
            user = PersonCert(PersonId(f"nobody-{machine}-{number}"), "x", BOB.who.lab, False)
            seen = certify(fake, ANCHOR.network, user, issued_ms=NOW, expires_ms=ends)
            made.take(witness(mine, ANCHOR.network, token, seen, NOW), NOW)
    assert len(made.uses.keys()) == USES_PER_PERSON_MAX
    one, two = ANN.invites("here", "there")
    made.take_all((let_in(ANN, one, NOW - 9), let_in(ANN, two, NOW)), NOW)
    assert [is_out(made, person) for person in (one, two)] == [False, True]


def test_when_witnesses_have_filled_the_room_their_removal_makes_room_for_true_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2p.identity.register.uses.USES_PER_LAB_MAX", 4)
    made = Register(ANCHOR, ROOT)
    fakes = ANN.invites(*(f"fake {number}" for number in range(6)), uses=9)
    made.take_all((let_in(BOB, one) for one in fakes), NOW)
    one, two = ANN.invites("here", "there")
    uses = (let_in(ANN, one, NOW - 9), let_in(ANN, two, NOW))
    made.take_all(uses, NOW)
    assert len(made.uses.keys()) == 4
    assert not is_out(made, two)
    made.take(ANN.removes(BOB, NOW, ANN.keys.lab), NOW)
    made.take_all(uses, NOW)
    assert [is_out(made, person) for person in (one, two)] == [False, True]
    assert len(made.uses.dropped) == 4


def used_by(newcomer: Person) -> Signed | None:
    """What the invite that they came with signed for them."""
    use = next(one for one in uses_in(newcomer.who) if one.user == newcomer.who.person)
    return certificate_of(use, newcomer.token.certificates)


def let_in(by: Person, newcomer: Person, at_ms: int = NOW) -> Signed:
    certificate = used_by(newcomer)
    assert certificate is not None
    return witness(by.keys.machine, ANCHOR.network, by.token, certificate, at_ms)


def test_as_many_as_an_invite_is_for_may_stay_and_whoever_comes_later_is_named() -> None:
    one, two, three = ANN.invites("one", "two", "three", uses=2)
    made = register(let_in(ANN, one, NOW - 30), let_in(BOB, two, NOW - 20))
    assert [is_out(made, person) for person in (one, two, three)] == [False, False, True]
    why = made.why_out(three.who)
    assert isinstance(why, AdmissionError)
    assert why.code == "used"
    assert "was for 2, and was used before, by one on" in why.detail


def test_after_a_cut_the_earlier_use_counts_whatever_was_heard_first() -> None:
    one, two = ANN.invites("here", "there")
    early, late = let_in(ANN, one, NOW - 5000), let_in(BOB, two, NOW - 1000)
    again = let_in(BOB, one, NOW)
    entries = [early, late, again]
    digests = set()
    for order in permutations(entries):
        made = register(*order)
        digests.add(made.uses.digest())
        assert [is_out(made, person) for person in (one, two)] == [False, True]
        assert len(made.uses.keys()) == 2
    assert len(digests) == 1


def test_nobody_is_a_witness_of_their_own_use_and_no_stranger_is_one() -> None:
    (eve,) = ANN.invites("eve")
    certificate = used_by(eve)
    assert certificate is not None
    stranger = key("stranger")
    for bad in (
        let_in(eve, eve),
        witness(stranger, ANCHOR.network, ANN.token, certificate, NOW),
        let_in(ANN, eve, NOW + CLOCK_SKEW_MAX_MS + 1),
        let_in(ANN, eve, NOW - CLOCK_SKEW_MAX_MS - 1),
    ):
        made = register(bad)
        assert made.refused == 1
        assert not made.uses.keys()


def test_uses_go_when_their_certificates_have_ended() -> None:
    (one,) = ANN.invites("short")
    made = register(let_in(ANN, one))
    made.uses.forget(NOW + 365 * DAY_MS)
    assert len(made.uses.keys()) == 1
    made.uses.forget(NOW + 366 * DAY_MS)
    assert made.uses.keys() == []
    assert len(made.uses.dropped) == 1


def test_uses_that_are_not_held_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2p.identity.register.uses.USES_PER_LAB_MAX", 0)
    made = Register(ANCHOR, ROOT)
    for number in range(3):
        user = PersonCert(PersonId(f"nobody-{number}"), "x", ANN.who.lab, False)
        made_up = key(f"invite {number}")
        seen = certify(made_up, ANCHOR.network, user, issued_ms=NOW, expires_ms=NOW + DAY_MS)
        entry = witness(BOB.keys.machine, ANCHOR.network, BOB.token, seen, NOW)
        made.take(entry, NOW)  # no room
        made.take(entry, NOW + 2 * DAY_MS)  # over
    assert not made.uses.keys()
    assert not made.uses._of_invite


def test_entries_of_other_kinds_are_none() -> None:
    made = register(ANN.token.certificates[0])
    assert (made.refused, made.removals.keys(), made.uses.keys()) == (0, [], [])
    with pytest.raises(WireError):
        made.removals.take(ANN.token.certificates[0], NOW)


@pytest.mark.parametrize("seed", range(5))
def test_registers_that_heard_the_same_in_any_order_agree(seed: int) -> None:
    dice = random.Random(seed)
    newcomers = ANN.invites(*(f"n{number}" for number in range(4)), uses=2)
    entries = [let_in(dice.choice((ANN, BOB, DAVE)), n, NOW - dice.randrange(9)) for n in newcomers]
    entries += [let_in(CAROL, n, NOW - dice.randrange(9)) for n in newcomers]
    entries += [ANN.removes(BOB, NOW - 5, ANN.keys.lab), BOB.removes(CAROL, NOW - 7)]
    made = []
    for _ in range(3):
        dice.shuffle(entries)
        made.append(register(*entries))
    everybody = (ANN, BOB, CAROL, DAVE, *newcomers)
    assert len({(r.removals.digest(), r.uses.digest()) for r in made}) == 1
    assert len({tuple(is_out(r, one) for one in everybody) for r in made}) == 1


def test_whoever_stands_on_a_used_invite_is_out_as_well_as_whoever_used_it() -> None:
    one, two = ANN.invites("first", "second")
    (child,) = two.invites("child")
    made = register(let_in(ANN, one, NOW - 9), let_in(BOB, two, NOW - 5), let_in(BOB, child))
    assert [is_out(made, person) for person in (one, two, child)] == [False, True, True]


def test_a_closed_invite_lets_nobody_in_and_those_who_came_before_stay() -> None:
    one, two, three = ANN.invites("early", "late", "other", uses=5)
    (link,) = [link for link in one.who.lineage if link.uses == 5]
    lab = ANN.keys.lab
    assert lab is not None
    proof = proof_of(lab, ANCHOR, ANN.token)
    closing = remove(lab, ANCHOR.network, link, proof, NOW - 5, closes=True)
    made = register(let_in(ANN, one, NOW - 9), let_in(BOB, two, NOW - 2), closing)
    assert [is_out(made, person) for person in (one, two, three)] == [False, True, True]
    why = made.why_out(two.who)
    assert why is not None
    assert "was closed by physics" in why.detail
    assert DAVE.keys.person is not None
    proof = proof_of(DAVE.keys.person, ANCHOR, DAVE.token)
    no_right = remove(DAVE.keys.person, ANCHOR.network, link, proof, NOW - 5, closes=True)
    assert not is_out(register(no_right), three)
