"""The membership core on the bench: presences, opinions, what it sends."""

import random

from p2p.effects import Notify, Send, WakeAt
from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership import events as e
from p2p.membership.config import MembershipConfig
from p2p.membership.core import Membership
from p2p.membership.messages import (
    PRESENCE_DOMAIN,
    MembershipMessage,
    News,
    Opinion,
    Ping,
    Presence,
    Spread,
)
from p2p.membership.ourselves import Ourselves, Profile
from p2p.membership.view import Liveness, MemberChanged
from p2p.wire.codec import Message
from p2p.wire.envelope import Signed, seal
from testnet.sim.signer import KeyedHashSigner

NET = NetworkId("net")
ME, ALICE, BOB, CAROL, DAVE = (PeerId(n) for n in ("me", "alice", "bob", "carol", "dave"))
ALIVE, SUSPECT, DEAD, LEFT = Liveness


def presence(
    peer: PeerId,
    incarnation: int = 1,
    *,
    has_left: bool = False,
    addresses: tuple[str, ...] = ("/memory/x",),
    name: str = "n",
) -> Signed:
    said = Presence(addresses, name, LabId("lab"), "", has_left)
    return seal(
        KeyedHashSigner(peer), NET, PRESENCE_DOMAIN, said, sequence=incarnation, expires_ms=0
    )


class Lab:
    """One core, told by hand."""

    def __init__(self, *others: PeerId, **settings: float) -> None:
        self.now_s = 100.0
        self.core = Membership(
            MembershipConfig(**settings),  # type: ignore[arg-type]
            Ourselves(KeyedHashSigner(ME), NET, Profile("my name", LabId("lab"), "site")),
            random.Random(1),
            incarnation=10,
        )
        self.tell(e.MembershipBegan(("/memory/me",)))
        for peer in others:
            self.hear(Spread(News((presence(peer),))), peer)
        self.tell(e.SpreadDue())

    def tell(self, event: e.Event) -> list[e.Effect]:
        return self.core.handle(event, self.now_s)

    def hear(self, message: MembershipMessage, peer: PeerId = ALICE) -> list[e.Effect]:
        return self.tell(e.MembershipHeard(peer, message))

    def accuse(
        self, peer: PeerId, liveness: Liveness, incarnation: int = 1, by: PeerId = ALICE
    ) -> list[e.Effect]:
        return self.hear(Spread(News((), (Opinion(peer, incarnation, liveness, by),))), by)

    def probe(self) -> tuple[PeerId, int]:
        """The next ping of a round."""
        [(target, ping)] = sent(self.tell(e.ProbeDue()), Ping)
        assert isinstance(ping, Ping)
        return target, ping.sequence

    def liveness(self, peer: PeerId) -> Liveness | None:
        member = self.core.view().find(peer)
        return None if member is None else member.liveness

    @property
    def incarnation(self) -> int:
        member = self.core.view().find(ME)
        assert member is not None
        return member.incarnation


def sent(effects: list[e.Effect], kind: type[Message]) -> list[tuple[PeerId, Message]]:
    return [
        (f.peer, f.message) for f in effects if isinstance(f, Send) and isinstance(f.message, kind)
    ]


def timers(effects: list[e.Effect], kind: type) -> list[WakeAt[e.Event]]:
    return [f for f in effects if isinstance(f, WakeAt) and isinstance(f.timer, kind)]


def told(effects: list[e.Effect]) -> list[tuple[PeerId, Liveness]]:
    return [
        (f.event.member.peer, f.event.member.liveness)
        for f in effects
        if isinstance(f, Notify) and isinstance(f.event, MemberChanged)
    ]
