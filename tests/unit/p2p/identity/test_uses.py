"""Uses of invites: who may be a witness of one, and whom they keep out."""

from itertools import permutations

import pytest

from p2p.errors import AdmissionError
from p2p.identity.issue import DAY_MS, proof_of
from p2p.identity.records import MachineCert, MembershipToken, PersonCert, certify
from p2p.identity.register.register import Register, witness
from p2p.ids import PersonId
from p2p.limits import CLOCK_SKEW_MAX_MS, USES_PER_PERSON_MAX
from tests.register_lab import ANCHOR, ANN, BOB, NOW, ROOT, is_out, key, let_in, register, used_by


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


def test_whoever_stands_on_a_used_invite_is_out_as_well_as_whoever_used_it() -> None:
    one, two = ANN.invites("first", "second")
    (child,) = two.invites("child")
    made = register(let_in(ANN, one, NOW - 9), let_in(BOB, two, NOW - 5), let_in(BOB, child))
    assert [is_out(made, person) for person in (one, two, child)] == [False, True, True]
