"""Who may certify whom, and until when."""

import pytest
from msgspec.structs import replace

from p2p.errors import AdmissionError, IdentityError, NotEntitledError
from p2p.identity.admission import Admitted, Anchor, Clocks, check_token
from p2p.identity.issue import DAY_MS, Grant, Keys, Names, accept, found
from p2p.identity.issue import invite as certify_invite
from p2p.identity.keys import KeySigner, network_id_of
from p2p.identity.records import (
    InviteCert,
    LabCert,
    MachineCert,
    MembershipToken,
    PersonCert,
    certify,
)
from p2p.ids import LabId, PersonId
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed

NOW = 1_800_000_000_000
LATER = NOW + 365 * DAY_MS


def key(name: str) -> KeySigner:
    return KeySigner.from_seed(name.encode().ljust(32, b"."))


ROOT = key("network")
ANCHOR = Anchor(network_id_of(ROOT.peer_id), ROOT.peer_id)
PHYSICS, ANN, ALPHA = key("physics"), key("ann"), key("alpha")
FOUNDER = Keys(machine=ALPHA, person=ANN, lab=PHYSICS, network=ROOT)
FOUNDERS_TOKEN = found(ANCHOR, FOUNDER, Names("alpha", "ann", "physics"), NOW)
LAB = LabId(PHYSICS.peer_id)


def check(
    token: MembershipToken,
    machine: KeySigner,
    now_ms: int = NOW,
    peer_ms: int | None = None,
    revoked: frozenset[str] = frozenset(),
) -> Admitted:
    return check_token(
        token, machine.peer_id, ANCHOR, key("anybody"), Clocks(now_ms, peer_ms), revoked
    )


def refusal(token: MembershipToken, machine: KeySigner, now_ms: int = NOW) -> str:
    with pytest.raises(AdmissionError) as caught:
        check(token, machine, now_ms)
    return caught.value.code


def joined(
    inviter: Keys, token: MembershipToken, grant: Grant, name: str, now_ms: int = NOW
) -> tuple[Keys, MembershipToken]:
    """`name` comes in with an invite from `inviter`."""
    invite_key = key(f"invite for {name}"[:32])
    chain = certify_invite(ANCHOR, inviter, token, grant, invite_key, now_ms)
    person = None if grant.own_machine else key(f"{name} person")
    lab = key(f"{name} lab") if grant.new_lab else None
    keys = Keys(machine=key(name), person=person, lab=lab)
    names = Names(name, f"{name}'s owner", f"{name}'s lab")
    return keys, accept(ANCHOR, chain, invite_key, keys, names, now_ms)


def sign(by: KeySigner, record: Record, issued_ms: int = NOW, expires_ms: int = LATER) -> Signed:
    return certify(by, ANCHOR.network, record, issued_ms=issued_ms, expires_ms=expires_ms)


def machine_cert(machine: KeySigner, owner: KeySigner = ANN, lab: LabId = LAB) -> MachineCert:
    return MachineCert(machine.peer_id, lab, PersonId(owner.peer_id), "m", "")


def test_the_founder_is_admitted_under_its_names() -> None:
    who = check(FOUNDERS_TOKEN, ALPHA)
    assert (who.name, who.person_name, who.lab_name) == ("alpha", "ann", "physics")
    assert (who.peer, who.person, who.lab) == (ALPHA.peer_id, PersonId(ANN.peer_id), LAB)
    assert who.can_invite
    assert who.came_with is None


def test_a_newcomer_with_an_invite_is_admitted_by_somebody_who_never_saw_it() -> None:
    bob, token = joined(FOUNDER, FOUNDERS_TOKEN, Grant(), "beta")
    who = check(token, bob.machine)
    assert (who.name, who.lab, who.can_invite) == ("beta", LAB, False)
    assert bob.person is not None
    assert who.came_with is not None
    assert who.came_with.user == bob.person.peer_id


def test_a_token_admits_only_the_machine_it_names() -> None:
    assert refusal(FOUNDERS_TOKEN, key("thief")) == "signature"


def test_an_invited_person_may_invite_only_when_that_was_granted() -> None:
    bob, bobs = joined(FOUNDER, FOUNDERS_TOKEN, Grant(can_invite=True), "beta")
    carol, carols = joined(bob, bobs, Grant(), "gamma")
    assert check(carols, carol.machine).lab == LAB
    with pytest.raises(NotEntitledError, match="may not invite into physics"):
        joined(carol, carols, Grant(), "delta")
    assert carol.person is not None
    own_invite = key("invite of carol's own")
    forged = (
        *carols.certificates[:-1],
        sign(carol.person, InviteCert(own_invite.peer_id, LAB, 1, NOW + DAY_MS)),
    )
    with pytest.raises(IdentityError, match="may not give such an invite"):
        accept(ANCHOR, forged, own_invite, FOUNDER, Names("d", "d", "d"), NOW)


def test_everybody_may_add_machines_of_their_own() -> None:
    bob, bobs = joined(FOUNDER, FOUNDERS_TOKEN, Grant(), "beta")
    second, seconds = joined(bob, bobs, Grant(own_machine=True), "beta-two")
    who = check(seconds, second.machine)
    assert bob.person is not None
    assert who.person == PersonId(bob.person.peer_id)
    assert who.came_with is not None
    assert who.came_with.user == second.machine.peer_id


def test_only_the_network_key_lets_a_new_lab_in() -> None:
    founder, token = joined(FOUNDER, FOUNDERS_TOKEN, Grant(new_lab=True), "chem")
    who = check(token, founder.machine)
    assert who.lab != LAB
    assert who.can_invite
    member, members = joined(founder, token, Grant(), "chem-two")
    assert check(members, member.machine).lab == who.lab
    with pytest.raises(IdentityError, match="network key"):
        joined(founder, token, Grant(new_lab=True), "bio")


def test_a_lab_that_certifies_itself_is_refused_unless_the_network_is_open() -> None:
    keys = Keys(machine=key("m"), person=key("p"), lab=key("own lab"))
    open_anchor = replace(ANCHOR, is_open=True)
    token = found(open_anchor, keys, Names("m", "p", "l"), NOW)
    assert check_token(token, keys.machine.peer_id, open_anchor, ROOT, Clocks(NOW)).lab_name == "l"
    assert refusal(token, keys.machine) == "signature"


def test_nobody_can_put_a_machine_under_another_persons_name() -> None:
    bob, bobs = joined(FOUNDER, FOUNDERS_TOKEN, Grant(can_invite=True), "beta")
    assert bob.person is not None
    invite_key, intruder = key("invite for beta"), key("intruder")
    lab_chain = bobs.certificates[:2]  # lab, invite
    as_ann = sign(invite_key, PersonCert(PersonId(ANN.peer_id), "ann", LAB))
    by_invite = sign(invite_key, machine_cert(intruder))
    by_bob = sign(bob.person, machine_cert(intruder))
    assert refusal(MembershipToken((*lab_chain, as_ann, by_invite)), intruder) == "signature"
    assert (
        refusal(MembershipToken((*bobs.certificates[:-1], as_ann, by_bob)), intruder) == "signature"
    )
    for_ann = InviteCert(key("k").peer_id, LAB, 1, NOW, owner=PersonId(ANN.peer_id))
    ends = sign(key("k"), machine_cert(intruder))
    chain = (*bobs.certificates[:-1], as_ann, sign(bob.person, for_ann), ends)
    assert refusal(MembershipToken(chain), intruder) == "signature"


def test_an_invite_without_that_right_enrols_nobody_who_may_invite() -> None:
    _, bobs = joined(FOUNDER, FOUNDERS_TOKEN, Grant(), "beta")
    invite_key, mallory, machine = key("invite for beta"), key("mallory"), key("machine")
    person = PersonCert(PersonId(mallory.peer_id), "mallory", LAB, can_invite=True)
    chain = (
        *bobs.certificates[:2],
        sign(invite_key, person),
        sign(mallory, machine_cert(machine, mallory)),
    )
    assert refusal(MembershipToken(chain), machine) == "signature"


def test_papers_signed_after_the_invite_ended_are_refused() -> None:
    grant = Grant(join_within_ms=DAY_MS)
    late_ms = NOW + DAY_MS + CLOCK_SKEW_MAX_MS + 1000
    invite_key = key("invite for late")
    chain = certify_invite(ANCHOR, FOUNDER, FOUNDERS_TOKEN, grant, invite_key, NOW)
    keys = Keys(machine=key("late"), person=key("late person"))
    with pytest.raises(IdentityError, match="may not enrol"):
        accept(ANCHOR, chain, invite_key, keys, Names("late", "late", ""), late_ms)
    joined_in_time = accept(ANCHOR, chain, invite_key, keys, Names("late", "l", ""), NOW + DAY_MS)
    assert check(joined_in_time, keys.machine, late_ms)


def test_a_membership_ends_and_two_minutes_of_skew_are_forgiven() -> None:
    bob, token = joined(FOUNDER, FOUNDERS_TOKEN, Grant(valid_ms=DAY_MS * 30), "beta")
    end_ms = NOW + DAY_MS * 30
    assert check(token, bob.machine, end_ms + CLOCK_SKEW_MAX_MS).expires_ms == end_ms
    assert refusal(token, bob.machine, end_ms + CLOCK_SKEW_MAX_MS + 1) == "expired"
    assert check(token, bob.machine, NOW - CLOCK_SKEW_MAX_MS)
    assert refusal(token, bob.machine, NOW - CLOCK_SKEW_MAX_MS - 1) == "expired"


def test_a_bad_date_is_blamed_on_the_clock_when_the_clocks_differ() -> None:
    bob, token = joined(FOUNDER, FOUNDERS_TOKEN, Grant(), "beta")
    behind_ms = NOW - DAY_MS
    with pytest.raises(AdmissionError, match="clocks differ") as caught:
        check(token, bob.machine, behind_ms, peer_ms=NOW)
    assert caught.value.code == "clock"
    with pytest.raises(AdmissionError) as caught:
        check(token, bob.machine, behind_ms, peer_ms=behind_ms + CLOCK_SKEW_MAX_MS)
    assert caught.value.code == "expired"
    assert check(token, bob.machine, NOW, peer_ms=NOW + DAY_MS).skew_ms == DAY_MS


def test_whoever_is_revoked_takes_along_all_who_depend_on_them() -> None:
    bob, token = joined(FOUNDER, FOUNDERS_TOKEN, Grant(), "beta")
    who = check(token, bob.machine)
    assert who.came_with is not None
    for one in (who.peer, who.person, who.lab, who.came_with.invite):
        with pytest.raises(AdmissionError, match="has been revoked") as caught:
            check(token, bob.machine, revoked=frozenset({str(one)}))
        assert caught.value.code == "revoked"


def test_a_token_of_another_network_is_refused_as_such() -> None:
    other = key("another network")
    anchor = Anchor(network_id_of(other.peer_id), other.peer_id)
    token = found(anchor, replace(FOUNDER, network=other), Names("alpha", "ann", "p"), NOW)
    assert refusal(token, ALPHA) == "network"


def test_another_key_that_claims_our_network_id_is_refused() -> None:
    pretender = key("pretender")
    anchor = Anchor(ANCHOR.network, pretender.peer_id)
    token = found(anchor, replace(FOUNDER, network=pretender), Names("a", "a", "p"), NOW)
    assert refusal(token, ALPHA) == "signature"


@pytest.mark.parametrize("name", ["", "a" * 65, "a\nb", "\x1b[31mred", " a", "\u202eabc"])
def test_names_nobody_should_be_shown_are_refused(name: str) -> None:
    lab = sign(ROOT, LabCert(LAB, "physics"))
    person = sign(PHYSICS, PersonCert(PersonId(ANN.peer_id), "ann", LAB))
    cert = MachineCert(ALPHA.peer_id, LAB, PersonId(ANN.peer_id), name, "")
    assert refusal(MembershipToken((lab, person, sign(PHYSICS, cert))), ALPHA) == "malformed"


def test_inviting_after_one_another_has_an_end() -> None:
    keys, token = FOUNDER, FOUNDERS_TOKEN
    keys, token = joined(keys, token, Grant(can_invite=True), "first")
    keys, token = joined(keys, token, Grant(can_invite=True), "second")
    keys, token = joined(keys, token, Grant(can_invite=True), "third")
    keys, token = joined(keys, token, Grant(can_invite=True), "fourth")
    assert check(token, keys.machine)
    with pytest.raises(IdentityError, match="one who came in earlier"):
        joined(keys, token, Grant(can_invite=True), "fifth")


def test_what_an_inviter_grants_ends_with_their_own_membership() -> None:
    bob, bobs = joined(
        FOUNDER, FOUNDERS_TOKEN, Grant(can_invite=True, valid_ms=10 * DAY_MS), "beta"
    )
    carol, carols = joined(bob, bobs, Grant(valid_ms=300 * DAY_MS), "gamma")
    assert check(carols, carol.machine).expires_ms == NOW + 10 * DAY_MS
