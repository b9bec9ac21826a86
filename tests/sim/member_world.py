"""Membership cores on a heap, for the simulations of this folder."""

import random
from dataclasses import dataclass, field

from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership import events as e
from p2p.membership.config import PROFILES, MembershipConfig
from p2p.membership.core import Membership
from p2p.membership.ourselves import Ourselves, Profile
from p2p.membership.view import Liveness, MemberChanged
from testnet.sim.heap import HeapWorld, Weather
from testnet.sim.signer import KeyedHashSigner

NET = NetworkId("net")
DEFAULT = PROFILES["default"]


def names(count: int) -> list[PeerId]:
    return [PeerId(f"peer-{at:03}") for at in range(count)]


class CheckedMembership(Membership):
    """Looks after each event whether all that should hold still does."""

    def handle(self, event: e.Event, now_s: float) -> list[e.Effect]:
        effects = super().handle(event, now_s)
        self.check_invariants()
        return effects


@dataclass
class MemberWorld:
    """Members that can start, crash and start again."""

    seed: int = 0
    config: MembershipConfig = DEFAULT
    weather: Weather = field(default_factory=Weather)
    cores: dict[PeerId, Membership] = field(default_factory=dict)
    lives: int = 0

    def __post_init__(self) -> None:
        self.heap: HeapWorld[e.Event, e.Notice] = HeapWorld(random.Random(self.seed), self.weather)

    def start(self, peer: PeerId) -> Membership:
        self.lives += 1
        dice = random.Random(f"{self.seed}/{peer}/{self.lives}")
        signer = KeyedHashSigner(peer)
        profile = Profile(f"name of {peer}", LabId("lab"), "")
        incarnation = 1_000_000 + int(self.heap.now_s * 1000)
        us = Ourselves(signer, NET, profile)
        core = CheckedMembership(self.config, us, dice, incarnation)
        self.cores[peer] = core
        self.heap.seat(peer, core, e.MembershipHeard)
        self.heap.tell(peer, e.MembershipBegan((f"/memory/{peer}",)))
        return core

    def swarm(self, count: int) -> list[PeerId]:
        """So many members that all know each other."""
        peers = names(count)
        for peer in peers:
            self.start(peer)
        while not self.all_see(peers, peers):
            for peer in peers[1:]:
                if len(self.cores[peer].view().members) == 1:
                    self.heap.tell(peer, e.Join(peers[0]))
            self.heap.run(1)
        return peers

    def liveness(self, of: PeerId, at: PeerId) -> Liveness | None:
        member = self.cores[at].view().find(of)
        return None if member is None else member.liveness

    def all_see(self, at: list[PeerId], alive: list[PeerId]) -> bool:
        """Whether everyone of `at` holds exactly these for alive."""
        return all([m.peer for m in self.cores[p].view().alive()] == sorted(alive) for p in at)

    def all_hold(self, at: list[PeerId], of: PeerId, liveness: Liveness) -> bool:
        return all(self.liveness(of, p) is liveness for p in at)

    def changes(self, liveness: Liveness, of: PeerId | None = None) -> list[tuple[float, PeerId]]:
        """When and where somebody was found in this state."""
        return [
            (at_s, peer)
            for at_s, peer, notice in self.heap.notified
            if isinstance(notice, MemberChanged)
            and notice.member.liveness is liveness
            and (of is None or notice.member.peer == of)
        ]
