"""Gossip cores by hand: a view the test writes, a wall clock the test sets, signed words."""

import random
from dataclasses import dataclass, field

from p2p.effects import Notify, Send
from p2p.gossip import events as e
from p2p.gossip.config import GossipConfig
from p2p.gossip.core import Gossip
from p2p.gossip.items import RESOURCES, Item
from p2p.gossip.messages import DOMAINS, Carried, GossipMessage, ItemFact, Push
from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership.view import Liveness, Member, View
from p2p.wire.codec import Message
from p2p.wire.envelope import Signed, seal
from testnet.sim.clock import START_MS
from testnet.sim.signer import KeyedHashSigner

NET = NetworkId("net")
ALICE, BOB, CAROL, DAVE = (PeerId(name) for name in ("alice", "bob", "carol", "dave"))


def view_of(me: PeerId, liveness: dict[PeerId, Liveness]) -> View:
    return View(
        me,
        tuple(Member(p, liveness[p], 1, (), p, LabId("lab"), "", 0.0) for p in sorted(liveness)),
    )


@dataclass
class CountingSigner(KeyedHashSigner):
    """Counts the signatures it has checked."""

    checked: int = 0

    def __init__(self, peer: PeerId) -> None:
        super().__init__(peer)
        self.checked = 0

    def verifies(self, peer: PeerId, data: bytes, signature: bytes) -> bool:
        self.checked += 1
        return super().verifies(peer, data, signature)


@dataclass
class GossipLab:
    """One core; `now_s` and `wall_ms` go together unless the test sets one of them."""

    me: PeerId = ALICE
    others: tuple[PeerId, ...] = (BOB, CAROL)
    config: GossipConfig = field(default_factory=GossipConfig)
    now_s: float = 1000.0
    seed: str = ""
    ahead_ms: int = 0
    """How far this machine's wall clock is ahead of the true time."""

    def __post_init__(self) -> None:
        self.signer = CountingSigner(self.me)
        self.liveness = dict.fromkeys((self.me, *self.others), Liveness.ALIVE)
        self.view = view_of(self.me, self.liveness)
        self.core = Gossip(
            self.config, self.signer, NET, lambda: self.view, random.Random(self.seed), self.wall_ms
        )

    def true_ms(self) -> int:
        return START_MS + round(self.now_s * 1000)

    def wall_ms(self) -> int:
        return self.true_ms() + self.ahead_ms

    def put(self, peer: PeerId, liveness: Liveness = Liveness.ALIVE) -> None:
        self.liveness[peer] = liveness
        self.view = view_of(self.me, self.liveness)

    def word(
        self,
        origin: PeerId,
        body: bytes = b"",
        *,
        sequence: int = 1,
        ttl_ms: int = 35_000,
        signed_ms: int | None = None,
        kind: int = RESOURCES,
        domain: str = "",
    ) -> Signed:
        """Signed by its origin at the true time unless told otherwise."""
        at_ms = self.true_ms() if signed_ms is None else signed_ms
        return seal(
            KeyedHashSigner(origin),
            NET,
            domain or DOMAINS[kind],
            ItemFact(ttl_ms, body),
            sequence=sequence,
            expires_ms=at_ms + ttl_ms,
        )

    def hear(self, message: GossipMessage, peer: PeerId = BOB) -> list[e.Effect]:
        return self.core.handle(e.GossipHeard(peer, message), self.now_s)

    def push(
        self, *words: Signed, peer: PeerId = BOB, hops: int = 3, left_ms: int = 35_000
    ) -> list[e.Effect]:
        return self.hear(Push(hops, tuple(Carried(left_ms, word) for word in words)), peer)

    def bodies(self, kind: int = RESOURCES) -> dict[PeerId, bytes]:
        return {p: item.body for p, item in self.core.items(kind, self.now_s).items()}


def sent(effects: list[e.Effect], kind: type[Message] = Message) -> list[tuple[PeerId, Message]]:
    """Messages of a kind among the effects."""
    return [
        (f.peer, f.message) for f in effects if isinstance(f, Send) and isinstance(f.message, kind)
    ]


def told(effects: list[e.Effect]) -> list[Item]:
    """Items our own side was told of."""
    return [
        f.event.item for f in effects if isinstance(f, Notify) and isinstance(f.event, e.Accepted)
    ]
