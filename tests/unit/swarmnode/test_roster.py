"""Listing and removing members: who is meant, who may, and what is said otherwise."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import trio
from msgspec.structs import replace

from p2p.host.admission.book import AdmissionBook
from p2p.identity.admission import Admitted, Anchor
from p2p.identity.issue import Keys
from p2p.identity.records import MembershipToken
from p2p.identity.register.register import Register
from p2p.ids import PeerId
from p2p.membership.view import View
from p2p.register.service import RegisterService
from swarmnode.errors import RemovalRefusedError, SubjectAmbiguousError, SubjectUnknownError
from swarmnode.overview.roster import Roster
from testnet.sim.peers import rpc_peers
from tests.register_lab import ANCHOR, ANN, BOB, CAROL, DAVE, NOW, ROOT, Person
from tests.unit.p2p.register.test_register_service import MemoryStore


@dataclass
class PapersOf:
    person: Person
    now_ms: int = NOW

    @property
    def token(self) -> MembershipToken:
        return self.person.token

    @property
    def me(self) -> Admitted:
        return self.person.who

    @property
    def anchor(self) -> Anchor:
        return ANCHOR

    def keys(self) -> Keys:
        return self.person.keys

    def replace(self, token: MembershipToken) -> None:
        self.person.token = token
        self.person.who = self.person.seen(self.now_ms)


async def ask(
    person: Person, *removals: str, with_invited: bool = False, others: Sequence[Person] = ()
) -> Roster:
    """The roster at somebody's machine, after removing these."""
    async with rpc_peers([person.who.peer]) as peers:
        peer = PeerId(person.who.peer)
        book = AdmissionBook(Register(ANCHOR, ROOT))
        for one in (ANN, BOB, CAROL, DAVE, *others):
            book.enter(one.who)
        rng, host = random.Random(1), peers.hosts[peer]
        store = MemoryStore()
        service = RegisterService(book, peers[peer], host, store, rng=rng, wall_ms=lambda: NOW)
        roster = Roster(service, PapersOf(person), lambda: View(peer, ()), lambda: NOW)
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            for text in removals:
                await roster.remove(text, takes_along=with_invited)
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        return roster


async def test_everybody_is_listed_by_name_with_who_invited_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lines = (await ask(ANN)).lines()
    told = [(line.name, line.lab_name, line.invited_by, line.standing) for line in lines]
    assert told == [
        ("bob", "physics", "physics", "member"),
        ("carol", "physics", "bob", "member"),
        ("dave", "physics", "physics", "member"),
        ("physics-founder", "physics", "", "member"),
    ]
    assert [line.is_me for line in lines] == [False, False, False, True]


async def test_a_removed_person_is_listed_with_who_did_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lines = (await ask(BOB, "carol")).lines()
    (out,) = [line for line in lines if line.standing == "removed"]
    assert (out.name, out.why) == ("carol", "carol was removed by bob on 2027-01-15 08:00 UTC")


@pytest.mark.parametrize(
    ("person", "text", "said"),
    [
        (DAVE, "carol", "removed with the key of physics, or by whoever invited them"),
        (ANN, "bob", "carol came with an invite of person bob"),
        (ANN, "physics-founder", "is you"),
        (ANN, "physics", "is you"),
    ],
)
async def test_what_may_not_be_removed_is_refused_with_the_reason(
    person: Person, text: str, said: str, autojump_clock: trio.testing.MockClock
) -> None:
    wanted = pytest.RaisesExc(RemovalRefusedError, match=said)
    with pytest.RaisesGroup(wanted, flatten_subgroups=True):
        await ask(person, text)


async def test_the_end_of_an_id_as_it_is_shown_is_enough_and_a_shared_name_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for name in ("", "carol"):
        roster = await ask(BOB, f"{name}..{CAROL.who.person[-6:]}")
        assert roster.register.register.why_out(CAROL.who) is not None
    with pytest.RaisesGroup(SubjectUnknownError, flatten_subgroups=True):
        await ask(BOB, f"dave..{CAROL.who.person[-6:]}")
    (other,) = ANN.invites("dave2")
    chain = replace(other.who.lineage[-2], name="dave")
    other.who = replace(other.who, lineage=(*other.who.lineage[:-2], chain, other.who.lineage[-1]))
    with pytest.RaisesGroup(SubjectAmbiguousError, flatten_subgroups=True):
        await ask(ANN, "dave", others=(other,))


async def test_who_is_out_already_is_not_taken_along(
    autojump_clock: trio.testing.MockClock,
) -> None:
    roster = await ask(ANN, "carol", "bob")
    assert roster.register.register.why_out(BOB.who) is not None


async def test_nobody_of_that_name_is_said_so(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.RaisesGroup(SubjectUnknownError, flatten_subgroups=True):
        await ask(ANN, "zoe")


async def test_removing_twice_changes_nothing_the_second_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    roster = await ask(ANN, "bob", "bob", with_invited=True)
    assert len(roster.register.register.removals.all()) == 1
    assert [line.standing for line in roster.lines()] == ["member", "member", "removed", "removed"]
    assert (await ask(ANN, CAROL.who.peer)).register.register.removals.all()[0].name == "carol-1"


async def test_an_invite_for_several_with_which_they_could_come_back_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    one, two = ANN.invites("one", "two", uses=3)
    roster = await ask(ANN, "one", others=(one, two))
    register = roster.register.register
    assert register.why_out(one.who) is not None
    assert register.why_out(two.who) is not None  # nobody has let her in before: she must ask
    (again,) = (who for who in ANN.invites("one-again", uses=3))
    assert register.why_out(again.who) is None  # another invite
