"""Whatever a presence claims: a view shows what certificates prove."""

import random

import pytest
from msgspec.structs import replace

from p2p.identity.caller import Caller
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.limits import FORGERY_COST
from p2p.membership import events as e
from p2p.membership import table
from p2p.membership.config import MembershipConfig
from p2p.membership.core import Membership
from p2p.membership.messages import PRESENCE_DOMAIN, News, Presence, Spread
from p2p.membership.ourselves import Ourselves, Profile
from p2p.wire.envelope import Signed, seal
from testnet.sim.callers import KnownMachines, machine_of
from testnet.sim.signer import KeyedHashSigner

NET = NetworkId("net")
ME, ALICE, BOB, MALLORY = (PeerId(n) for n in ("me", "alice", "bob", "mallory"))
MACHINES = {
    ME: machine_of(ME, LabId("physics")),
    ALICE: replace(machine_of(ALICE, LabId("physics")), site="attic", roles=("compute",)),
    MALLORY: machine_of(MALLORY, LabId("thieves")),
}


class Lab:
    def __init__(self, machines: dict[PeerId, Caller] = MACHINES, **settings: float) -> None:
        claim = Profile("my claim", LabId("claimed"), "claimed")
        self.core = Membership(
            MembershipConfig(**settings),  # type: ignore[arg-type]
            Ourselves(KeyedHashSigner(ME), NET, claim, KnownMachines(ME, machines)),
            random.Random(1),
            10,
        )
        self.core.handle(e.MembershipBegan(("/memory/me",)), 100.0)

    def hear(self, *presences: Signed, by: PeerId = ALICE) -> list[e.Effect]:
        return self.core.handle(e.MembershipHeard(by, Spread(News(presences))), 100.0)


def said(
    peer: PeerId, token: bytes | None = None, *, incarnation: int = 1, name: str = "alice"
) -> Signed:
    shown = f"token of {peer}".encode() if token is None else token
    presence = Presence((), name, LabId("physics"), "cellar", False, 1, shown)
    return seal(
        KeyedHashSigner(peer), NET, PRESENCE_DOMAIN, presence, sequence=incarnation, expires_ms=0
    )


def test_name_lab_site_person_and_roles_are_those_of_the_certificate() -> None:
    lab = Lab()
    lab.hear(said(ALICE), said(MALLORY, name="alice"))
    alice, mallory = lab.core.view().find(ALICE), lab.core.view().find(MALLORY)
    assert alice is not None
    assert (alice.name, alice.lab, alice.site) == ("alice", "physics", "attic")
    assert (alice.person, alice.roles) == ("owner-alice", ("compute",))
    assert mallory is not None
    assert (mallory.name, mallory.lab, mallory.site) == ("mallory", "thieves", "")


def test_we_show_ourselves_what_our_own_certificate_says() -> None:
    me = Lab().core.view().find(ME)
    assert me is not None
    assert (me.name, me.lab) == ("me", "physics")


def test_a_key_that_nobody_certified_is_in_no_view_and_costs_its_bringer_nothing() -> None:
    lab = Lab(burst=10)
    lab.hear(*(said(PeerId(f"made up {number}")) for number in range(9)))
    assert len(lab.core.view().members) == 1
    assert (lab.core.unproven, lab.core.refused) == (9, 0)
    lab.hear(said(ALICE))
    assert lab.core.view().find(ALICE) is not None


def test_a_presence_without_a_token_is_believed_of_those_we_met_only() -> None:
    lab = Lab()
    lab.hear(said(ALICE, b""))
    assert lab.core.view().find(ALICE) is None
    lab.hear(said(ALICE))
    assert lab.core.view().find(ALICE) is not None


def test_a_stolen_token_is_refused_and_costs_what_a_forgery_costs() -> None:
    lab = Lab(burst=FORGERY_COST)
    lab.hear(said(MALLORY, b"token of alice"), by=MALLORY)
    assert lab.core.refused == 1
    lab.hear(said(ALICE), by=MALLORY)  # she may bring no more for a while
    assert lab.core.view().find(ALICE) is None
    assert lab.core.throttled == 1


def test_one_person_cannot_fill_the_view_with_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "VIEW_MACHINES_PER_PERSON_MAX", 3)
    person = PersonId("mallory's owner")
    many = {
        peer: machine_of(peer, LabId("thieves"), person)
        for peer in (PeerId(f"m{number}") for number in range(5))
    }
    lab = Lab({**MACHINES, **many})
    lab.hear(*(said(peer) for peer in many))
    assert sum(m.person == person for m in lab.core.view().members) == 3
    lab.hear(*(said(peer, incarnation=2) for peer in many))  # those in it go on being heard
    assert sum(m.incarnation == 2 for m in lab.core.view().members) == 3
    lab.hear(said(ALICE))
    assert lab.core.view().find(ALICE) is not None


def test_persons_and_labs_that_a_machine_has_left_are_not_counted_for_ever() -> None:
    machines = dict(MACHINES)
    lab = Lab(machines)
    for number in range(1, 4):
        person, theirs = PersonId(f"person {number}"), LabId(f"lab {number}")
        machines[MALLORY] = machine_of(MALLORY, theirs, person)
        lab.hear(said(MALLORY, incarnation=number))
    mallory = lab.core.view().find(MALLORY)
    assert mallory is not None
    assert (mallory.person, mallory.lab) == ("person 3", "lab 3")
    lab.core.check_invariants()


def test_no_lab_takes_more_than_half_of_a_view() -> None:
    many = {
        peer: machine_of(peer, LabId("thieves"))
        for peer in (PeerId(f"m{number}") for number in range(9))
    }
    lab = Lab({**MACHINES, **many}, members_max=8)
    lab.hear(*(said(peer) for peer in many), said(ALICE))
    labs = [member.lab for member in lab.core.view().members]
    assert (labs.count(LabId("thieves")), labs.count(LabId("physics"))) == (4, 2)
