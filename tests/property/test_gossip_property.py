"""Whatever is said, lost, doubled, replayed, forged and delayed: tables hold only what was said."""

import random
from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.effects import Send, WakeAt
from p2p.gossip import events as e
from p2p.gossip.config import GossipConfig
from p2p.gossip.core import Gossip
from p2p.gossip.messages import DOMAINS, Carried, Digest, GossipMessage, ItemFact, Push, Want
from p2p.ids import PeerId
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.membership.view import Liveness, View
from p2p.wire.codec import decode, encode
from p2p.wire.envelope import Signed
from testnet.sim.clock import START_MS
from testnet.sim.signer import KeyedHashSigner
from tests.gossip_lab import ALICE, NET, GossipLab, view_of

PEERS = [PeerId(name) for name in ("alice", "bob", "carol", "dave")]
KINDS = [1, 2]
TTL_S = 30.0

OPS = st.one_of(
    st.tuples(st.just("say"), st.integers(0, 3), st.sampled_from(KINDS)),
    st.tuples(st.just("deliver"), st.integers(0, 99), st.just(0)),
    st.tuples(st.just("lose"), st.integers(0, 99), st.just(0)),
    st.tuples(st.just("double"), st.integers(0, 99), st.just(0)),
    st.tuples(st.just("replay"), st.integers(0, 99), st.integers(0, 3)),
    st.tuples(st.just("forge"), st.integers(0, 99), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.integers(1, 40), st.just(0)),
    st.tuples(st.just("reconcile"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("restart"), st.integers(0, 3), st.just(0)),
)


@dataclass
class Mail:
    sender: PeerId
    to: PeerId
    packed: bytes


@dataclass
class Story:
    """Four cores, everything that was ever said, and the messages under way."""

    now_s: float = 0.0
    said: dict[tuple[PeerId, int, int], tuple[bytes, float]] = field(default_factory=dict)
    """By origin, kind and sequence: the body, and when it was said."""
    seen_s: dict[tuple[PeerId, PeerId, int, int], float] = field(default_factory=dict)
    """By peer, origin, kind and sequence: since when it is there."""
    mails: list[Mail] = field(default_factory=list)
    past: list[Mail] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.views = {p: view_of(p, dict.fromkeys(PEERS, Liveness.ALIVE)) for p in PEERS}
        self.cores = {peer: self.core(peer) for peer in PEERS}

    def core(self, peer: PeerId) -> Gossip:
        def view() -> View:
            return self.views[peer]

        self.count += 1
        dice, config = random.Random(f"{peer}{self.count}"), GossipConfig(fanout=2)
        return Gossip(config, KeyedHashSigner(peer), NET, view, dice, self.wall_ms)

    def wall_ms(self) -> int:
        return START_MS + round(self.now_s * 1000)

    def tell(self, peer: PeerId, event: e.Event) -> None:
        for effect in self.cores[peer].handle(event, self.now_s):
            if isinstance(effect, Send):
                self.mails.append(Mail(peer, effect.peer, encode(effect.message)))
        self.cores[peer].check_invariants()

    def arrive(self, mail: Mail) -> None:
        self.past.append(mail)
        message = decode(mail.packed)
        assert isinstance(message, GossipMessage)
        self.tell(mail.to, e.GossipHeard(mail.sender, message))

    def settle(self) -> None:
        """Deliver everything, and reconcile until every pair has met."""
        for _ in range(12):
            for peer in PEERS:
                self.tell(peer, e.ReconcileDue())
            while self.mails:
                self.arrive(self.mails.pop(0))
            self.now_s += 2.0

    def do(self, op: str, which: int, more: int) -> None:
        if op == "say":
            peer, body = PEERS[which], f"word {len(self.said)}".encode()
            self.tell(peer, e.Publish(more, body, TTL_S))
            item = self.cores[peer].items(more, self.now_s)[peer]
            self.said[peer, more, item.sequence] = (body, self.now_s)
        elif op == "wait":
            self.now_s += which / 4
        elif op == "reconcile":
            self.tell(PEERS[which], e.ReconcileDue())
        elif op == "restart":
            self.now_s += 1.0
            self.seen_s = {k: s for k, s in self.seen_s.items() if k[0] != PEERS[which]}
            self.cores[PEERS[which]] = self.core(PEERS[which])
        elif op in ("replay", "forge") and self.past:
            mail = self.past[which % len(self.past)]
            packed = mail.packed if op == "replay" else forged(mail.packed)
            self.arrive(Mail(mail.sender, PEERS[more], packed))
        elif self.mails and op in ("deliver", "lose", "double"):
            mail = self.mails.pop(which % len(self.mails))
            for _ in range({"deliver": 1, "lose": 0, "double": 2}[op]):
                self.arrive(mail)

    def check(self) -> None:
        for peer in PEERS:
            for kind in KINDS:
                for origin, item in self.cores[peer].items(kind, self.now_s).items():
                    body, said_s = self.said[origin, kind, item.sequence]
                    assert item.body == body
                    first_s = self.seen_s.setdefault(
                        (peer, origin, kind, item.sequence), self.now_s
                    )
                    assert self.now_s - first_s <= TTL_S, "it outlived its ttl here"
                    assert self.now_s - said_s <= TTL_S + CLOCK_SKEW_MAX_MS / 1000


def forged(packed: bytes) -> bytes:
    """The same message with every item changed but not signed again, and longer-lived."""
    message = decode(packed)
    if not isinstance(message, Push):
        return packed
    return encode(
        Push(
            9,
            tuple(
                Carried(
                    1 << 40,
                    msgspec.structs.replace(
                        carried.sealed,
                        sequence=carried.sealed.sequence + 1,
                        payload=encode(ItemFact(30_000, b"forged")),
                    ),
                )
                for carried in message.items
            ),
        )
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(OPS, max_size=60))
def test_tables_hold_only_what_was_said_and_end_up_equal(ops: list[tuple[str, int, int]]) -> None:
    story = Story()
    newest: dict[tuple[PeerId, PeerId, int], int] = {}
    for op, which, more in ops:
        story.do(op, which, more)
        story.check()
        if op == "restart":
            newest = {key: n for key, n in newest.items() if key[0] != PEERS[which]}
        for peer in PEERS:
            for kind in KINDS:
                for origin, item in story.cores[peer].items(kind, story.now_s).items():
                    assert item.sequence >= newest.get((peer, origin, kind), 0)
                    newest[peer, origin, kind] = item.sequence
    for peer in PEERS:
        story.do("say", PEERS.index(peer), 1)
    story.settle()
    tables = [story.cores[peer].items(1, story.now_s) for peer in PEERS]
    assert all(table == tables[0] for table in tables)
    assert list(tables[0]) == sorted(PEERS)


INTS = st.integers(-(1 << 63), (1 << 63) - 1)
WORDS = st.builds(
    Signed,
    version=st.integers(0, 3),
    network=st.sampled_from([NET, "other"]),
    domain=st.sampled_from([*DOMAINS.values(), "", "swarm/gossip/x"]),
    sender=st.sampled_from([*PEERS, "stranger", ""]),
    sequence=INTS,
    expires_ms=INTS | st.integers(START_MS, START_MS + 60_000),
    payload=st.binary(max_size=40),
    signature=st.binary(max_size=64),
)
MESSAGES = st.one_of(
    st.builds(Push, INTS, st.lists(st.builds(Carried, INTS, WORDS), max_size=4).map(tuple)),
    st.builds(Digest, INTS, INTS, st.binary(max_size=64)),
    st.builds(Want, st.binary(max_size=64)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PEERS), MESSAGES), max_size=8))
def test_no_message_of_any_peer_raises_or_changes_the_table(
    heard: list[tuple[PeerId, GossipMessage]],
) -> None:
    lab = GossipLab(others=tuple(PEERS[1:]))
    lab.core.handle(e.Publish(1, b"ours", 35), lab.now_s)
    for peer, message in heard:
        for effect in lab.hear(message, peer):
            assert isinstance(effect, Send | WakeAt)
        lab.core.check_invariants()
    assert lab.bodies() == {ALICE: b"ours"}
    assert lab.bodies(2) == {}
