"""Whatever is heard, in whatever order: knowledge only grows, and two who compare notes agree."""

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.effects import Send, WakeAt
from p2p.ids import LabId, NetworkId, PeerId
from p2p.limits import INCARNATION_MAX
from p2p.membership import events as e
from p2p.membership.config import MembershipConfig
from p2p.membership.core import Membership
from p2p.membership.messages import (
    PRESENCE_DOMAIN,
    Ack,
    MembershipMessage,
    Nack,
    News,
    Opinion,
    Ping,
    PingRequest,
    Presence,
    Spread,
    SyncOffer,
    SyncPage,
)
from p2p.membership.ourselves import Ourselves, Profile
from p2p.membership.view import Liveness, Member
from p2p.wire.codec import Message, decode, encode
from p2p.wire.envelope import Signed, seal
from testnet.sim.signer import KeyedHashSigner

NET = NetworkId("net")
ME, YOU = PeerId("me"), PeerId("you")
PEERS = [PeerId(name) for name in ("a", "b", "c", "me", "you", "z")]
INTS = st.integers(-(1 << 63), (1 << 63) - 1)
PEER = st.sampled_from([*PEERS, PeerId("stranger"), PeerId("")])


def presence(peer: PeerId, incarnation: int, has_left: bool) -> Signed:
    said = Presence((f"/memory/{peer}",), peer, LabId("lab"), "", has_left)
    signer = KeyedHashSigner(peer)
    return seal(signer, NET, PRESENCE_DOMAIN, said, sequence=incarnation, expires_ms=0)


TRUE = st.builds(
    presence,
    st.sampled_from([*PEERS, PeerId("stranger")]),
    st.integers(0, 4) | st.sampled_from([INCARNATION_MAX - 1, INCARNATION_MAX, -1]),
    st.booleans(),
)
FALSE = st.builds(
    Signed,
    version=st.integers(0, 3),
    network=st.sampled_from([NET, "other"]),
    domain=st.sampled_from([PRESENCE_DOMAIN, "swarm/gossip/1", ""]),
    sender=PEER,
    sequence=INTS,
    expires_ms=INTS,
    payload=st.binary(max_size=40),
    signature=st.binary(max_size=64),
)
OPINION = st.builds(Opinion, PEER, st.integers(0, 4) | INTS, st.integers(-1, 4), PEER)
NEWS = st.builds(
    News,
    st.lists(TRUE | FALSE, max_size=4).map(tuple),
    st.lists(OPINION, max_size=4).map(tuple),
)
SEQUENCE = st.integers(0, 5) | INTS
MESSAGE = st.one_of(
    st.builds(Ping, SEQUENCE, NEWS),
    st.builds(Ack, SEQUENCE, NEWS),
    st.builds(PingRequest, SEQUENCE, PEER, NEWS),
    st.builds(Nack, SEQUENCE),
    st.builds(Spread, NEWS),
    st.builds(SyncOffer, st.binary(max_size=20)),
    st.builds(SyncPage, PEER, PEER, NEWS, st.booleans(), st.booleans()),
)
HEARD = st.tuples(st.just("heard"), st.sampled_from(PEERS[:3]), MESSAGE)
WAITED = st.tuples(st.just("waited"), st.sampled_from([0.1, 1.0, 10.0, 40.0]), st.none())
MINE = st.tuples(
    st.just("mine"),
    st.sampled_from([e.Leave(), e.Join(PEERS[0]), e.PeerDown(PEERS[1]), e.PeerUp(PEERS[2])]),
    st.none(),
)


@dataclass
class Alone:
    """One core with its timers, and all it sends kept."""

    me: PeerId
    now_s: float = 0.0
    timers: list[tuple[float, int, e.Event]] = field(default_factory=list)
    timer_count: int = 0
    sent: list[tuple[PeerId, Message]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.core = Membership(
            MembershipConfig(),
            Ourselves(KeyedHashSigner(self.me), NET, Profile(self.me, LabId("lab"), "")),
            random.Random(self.me),
            incarnation=2,
        )
        self.tell(e.MembershipBegan((f"/memory/{self.me}",)))

    def tell(self, event: e.Event) -> None:
        self.perform(self.core.handle(event, self.now_s))
        self.core.check_invariants()

    def perform(self, effects: list[e.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, WakeAt):
                self.timer_count += 1
                self.timers.append((effect.deadline_s, self.timer_count, effect.timer))
            elif isinstance(effect, Send):
                self.sent.append((effect.peer, decode(encode(effect.message))))

    def wait(self, for_s: float) -> None:
        end_s = self.now_s + for_s
        while self.timers and min(self.timers)[0] <= end_s:
            due = min(self.timers)
            self.timers.remove(due)
            self.now_s = max(self.now_s, due[0])
            self.tell(due[2])
        self.now_s = end_s

    def members(self) -> dict[PeerId, Member]:
        return {member.peer: member for member in self.core.view().members}


@settings(max_examples=50, deadline=None)
@given(st.lists(HEARD | WAITED | MINE, max_size=15))
def test_knowledge_only_grows_and_nothing_raises(
    story: list[tuple[str, object, Message | None]],
) -> None:
    one = Alone(ME)
    for what, which, message in story:
        before = one.members()
        if what == "waited":
            assert isinstance(which, float)
            one.wait(which)
        elif what == "mine":
            assert isinstance(which, e.Event)
            one.tell(which)
        else:
            assert isinstance(which, str)
            assert isinstance(message, MembershipMessage)
            one.tell(e.MembershipHeard(PeerId(which), message))
        after = one.members()
        assert list(after) == sorted(after)
        assert after[ME].liveness in (Liveness.ALIVE, Liveness.LEFT)
        assert before.keys() <= after.keys()
        for peer, old in before.items():
            new = after[peer]
            assert new.incarnation >= old.incarnation
            if new.incarnation == old.incarnation:
                assert new.liveness >= old.liveness


@settings(max_examples=50, deadline=None)
@given(
    # Who speaks the truth says one thing per incarnation: leaving is the next one.
    st.lists(
        st.tuples(TRUE, st.booleans(), st.booleans()),
        max_size=12,
        unique_by=lambda said: (said[0].sender, said[0].sequence),
    ),
    st.lists(st.tuples(OPINION, st.booleans(), st.booleans()), max_size=12),
)
def test_two_who_compare_their_views_agree(
    presences: list[tuple[Signed, bool, bool]], opinions: list[tuple[Opinion, bool, bool]]
) -> None:
    """Each has heard some of all that was said; then they meet, a few times."""
    one, other = Alone(ME), Alone(YOU)
    for sealed, to_one, to_other in presences:
        for lab, hears in ((one, to_one), (other, to_other)):
            if hears and sealed.sender not in (ME, YOU):
                lab.tell(e.MembershipHeard(PEERS[0], Spread(News((sealed,)))))
    for opinion, to_one, to_other in opinions:
        for lab, hears in ((one, to_one), (other, to_other)):
            if hears and opinion.peer not in (ME, YOU):
                lab.tell(e.MembershipHeard(PEERS[0], Spread(News((), (opinion,)))))
    for asks, answers in ((one, other), (other, one), (one, other)):
        one.sent, other.sent = [], []
        asks.tell(e.Join(answers.me))
        while one.sent or other.sent:
            for lab, reader in ((one, other), (other, one)):
                mail, lab.sent = lab.sent, []
                for to, message in mail:
                    assert isinstance(message, MembershipMessage)
                    if to == reader.me:
                        reader.tell(e.MembershipHeard(lab.me, message))
    mine, theirs = one.members(), other.members()
    for peer in mine.keys() & theirs.keys():
        a, b = mine[peer], theirs[peer]
        assert a.incarnation == b.incarnation
        doubt = {a.liveness, b.liveness}
        assert len(doubt) == 1 or doubt == {Liveness.SUSPECT, Liveness.DEAD}, (
            "hearsay of a death is a suspicion: only its time may still differ"
        )
    for peer in mine.keys() ^ theirs.keys():
        known = (mine | theirs)[peer]
        assert known.liveness in (Liveness.DEAD, Liveness.LEFT), "the gone need not be known"
