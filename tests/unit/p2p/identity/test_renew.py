"""Who renews whose certificates, for how long, and what stays the same."""

import pytest

from p2p.identity.admission import Admitted
from p2p.identity.issue import DAY_MS, Grant, Keys, Names, accept
from p2p.identity.issue import invite as certify_invite
from p2p.identity.lineage import may_remove
from p2p.identity.records import MembershipToken
from p2p.identity.renew import Applicant, Renewer, complete, half_life_ms, renew_own
from tests.register_lab import ANCHOR, ANN, BOB, CAROL, DAVE, NOW, Person, key

LATE = NOW + 200 * DAY_MS


def seeds(size: int) -> bytes:
    return bytes(range(size))


def applicant(person: Person) -> Applicant:
    return Applicant(person.token, person.who, person.keys.lab is not None)


def renewed(by: Person, old: Person, now_ms: int = LATE) -> MembershipToken | None:
    """What `old` has after `by` was asked."""
    renewer = Renewer(ANCHOR, by.token, by.who, by.keys)
    certificates = renewer.renew(applicant(old), now_ms, seeds)
    return complete(certificates, applicant(old), ANCHOR, old.keys, now_ms)


def checked(token: MembershipToken, person: Person, now_ms: int = LATE) -> Admitted:
    return Person(person.name, person.keys, token, now_ms).who


def machine_of(person: Person, name: str) -> Person:
    """One more machine of somebody: it has no key of theirs."""
    chain = certify_invite(
        ANCHOR, person.keys, person.token, Grant(own_machine=True), key(f"i-{name}"), NOW
    )
    keys = Keys(key(name))
    token = accept(ANCHOR, chain, key(f"i-{name}"), keys, Names(name, "", ""), NOW)
    return Person(person.name, keys, token)


def test_nothing_is_due_before_half_of_its_life() -> None:
    assert half_life_ms(BOB.token) == NOW + 365 * DAY_MS // 2
    assert half_life_ms(ANN.token) == NOW + 3650 * DAY_MS // 2


def test_the_labs_key_renews_a_person_for_as_long_as_they_were_granted() -> None:
    token = renewed(ANN, CAROL)
    assert token is not None
    who = checked(token, CAROL)
    assert who.expires_ms == LATE + 365 * DAY_MS
    assert (who.name, who.person, who.roles) == (CAROL.who.name, CAROL.who.person, CAROL.who.roles)
    assert BOB.who.person in may_remove(who.lineage, who.person)
    assert who.came_with == CAROL.who.came_with
    again = Person("carol", CAROL.keys, token, LATE)
    twice = renewed(ANN, again, LATE + 300 * DAY_MS)
    assert twice is not None
    later = checked(twice, CAROL, LATE + 300 * DAY_MS)
    assert later.expires_ms == LATE + 665 * DAY_MS
    assert later.came_with == CAROL.who.came_with


def test_a_renewed_person_no_longer_falls_with_whoever_invited_them() -> None:
    token = renewed(ANN, CAROL)
    assert token is not None
    assert BOB.who.person not in {link.subject for link in checked(token, CAROL).lineage}


def test_the_inviter_renews_those_they_invited_as_far_as_their_own_goes() -> None:
    assert renewed(BOB, CAROL) is None  # bob's own ends as soon
    again = renewed(ANN, BOB)
    assert again is not None
    bob = Person("bob", BOB.keys, again, LATE)
    token = renewed(bob, CAROL)
    assert token is not None
    who = checked(token, CAROL)
    assert who.expires_ms == LATE + 365 * DAY_MS
    assert bob.who.person in may_remove(who.lineage, who.person)


def test_a_persons_key_renews_their_other_machines() -> None:
    laptop = machine_of(BOB, "laptop")
    again = renewed(ANN, BOB)
    assert again is not None
    bob = Person("bob", BOB.keys, again, LATE)
    token = renewed(bob, laptop)
    assert token is not None
    assert checked(token, laptop).expires_ms == LATE + 365 * DAY_MS
    assert checked(token, laptop).name == "laptop"


@pytest.mark.parametrize("by", [CAROL, DAVE])
def test_whoever_stands_beside_or_below_renews_nobody(by: Person) -> None:
    assert renewed(by, BOB) is None


def test_a_founder_renews_itself_and_nobody_else_alone() -> None:
    late = NOW + 1900 * DAY_MS
    token = renew_own(ANCHOR, applicant(ANN), ANN.keys, late, seeds)
    assert token is not None
    assert checked(token, ANN, late).expires_ms == late + 3650 * DAY_MS
    assert renew_own(ANCHOR, applicant(BOB), BOB.keys, LATE, seeds) is None


def test_the_networks_key_renews_a_lab_that_was_invited() -> None:
    chain = certify_invite(ANCHOR, ANN.keys, ANN.token, Grant(new_lab=True), key("i-lab"), NOW)
    keys = Keys(key("zed's"), key("zed"), key("geology"))
    token = accept(ANCHOR, chain, key("i-lab"), keys, Names("z", "zed", "geology"), NOW)
    zed = Person("zed", keys, token)
    again = renewed(ANN, zed)
    assert again is not None
    who = checked(again, zed)
    assert who.expires_ms == LATE + 365 * DAY_MS
    assert (who.lab_name, who.person_name, who.can_invite) == ("geology", "zed", True)


def test_what_a_stranger_answers_is_not_taken() -> None:
    old = applicant(CAROL)
    for certificates in ((), DAVE.token.certificates, CAROL.token.certificates[:1]):
        assert complete(certificates, old, ANCHOR, CAROL.keys, LATE) is None
