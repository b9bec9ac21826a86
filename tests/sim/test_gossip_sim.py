"""Thirty nodes that tell each other what they have, over a network that loses one in twenty."""

import random
from functools import partial
from itertools import product

import pytest

from p2p.gossip import events as e
from p2p.gossip.config import PROFILES
from p2p.gossip.core import Gossip
from p2p.gossip.items import RESOURCES
from p2p.gossip.messages import DOMAINS, Carried, ItemFact, Push
from p2p.ids import NetworkId, PeerId
from p2p.membership.view import Liveness, View
from p2p.wire.envelope import seal
from testnet.sim.clock import START_MS
from testnet.sim.heap import HeapWorld, Weather
from testnet.sim.signer import KeyedHashSigner
from tests.gossip_lab import view_of

NET = NetworkId("net")
TTL_S = 35.0
DEFAULT = PROFILES["default"]


class CheckedGossip(Gossip):
    """Looks after each event whether all that should hold still does."""

    def handle(self, event: e.Event, now_s: float) -> list[e.Effect]:
        effects = super().handle(event, now_s)
        self.check_invariants()
        return effects


class Village:
    """Gossip cores that all know each other."""

    def __init__(self, count: int, seed: int, loss: float = 0.0) -> None:
        self.peers = [PeerId(f"peer-{at:03}") for at in range(count)]
        self.heap: HeapWorld[e.Event, e.Accepted] = HeapWorld(
            random.Random(seed), Weather(loss=loss)
        )
        self.views: dict[PeerId, View] = {}
        self.cores: dict[PeerId, Gossip] = {}
        self.believe(self.peers, self.peers)
        for peer in self.peers:
            dice, view = random.Random(f"{seed}/{peer}"), partial(self.views.__getitem__, peer)
            core = CheckedGossip(DEFAULT, KeyedHashSigner(peer), NET, view, dice, self.wall_ms)
            self.cores[peer] = core
            self.heap.seat(peer, core, e.GossipHeard)
            self.heap.tell(peer, e.GossipBegan())

    def believe(self, those: list[PeerId], alive: list[PeerId]) -> None:
        """Their membership holds these for alive and all others for dead."""
        for peer in those:
            held = {p: Liveness.ALIVE if p in alive else Liveness.DEAD for p in self.peers}
            self.views[peer] = view_of(peer, held)

    def wall_ms(self) -> int:
        return START_MS + round(self.heap.now_s * 1000)

    def say(self, peer: PeerId, body: bytes, ttl_s: float = TTL_S) -> None:
        self.heap.tell(peer, e.Publish(RESOURCES, body, ttl_s))

    def bodies(self, peer: PeerId) -> dict[PeerId, bytes]:
        found = self.cores[peer].items(RESOURCES, self.heap.now_s)
        return {origin: item.body for origin, item in found.items()}

    def all_hold(self, origins: list[PeerId], body: bytes, at: list[PeerId] | None = None) -> bool:
        want = dict.fromkeys(origins, body)
        return all(want.items() <= self.bodies(p).items() for p in at or self.peers)

    def time_to_all(self, origins: list[PeerId], body: bytes, within_s: float) -> float:
        return self.heap.run_until(lambda: self.all_hold(origins, body), within_s, step_s=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_everybody_has_every_word_within_two_rounds_though_one_in_twenty_is_lost(
    seed: int,
) -> None:
    village = Village(30, seed, loss=0.05)
    for peer in village.peers:
        village.say(peer, b"first")
    village.time_to_all(village.peers, b"first", within_s=2.2 * DEFAULT.reconcile_s)


def test_most_have_a_word_within_half_a_second() -> None:
    """Push alone; the few it misses wait for a digest."""
    reached = []
    for seed in range(20):
        village = Village(30, seed, loss=0.05)
        village.say(village.peers[seed], b"x")
        village.heap.run(0.5)
        reached.append(sum(bool(village.bodies(peer)) for peer in village.peers))
    assert sum(reached) / len(reached) >= 28
    assert min(reached) >= 24


@pytest.mark.parametrize("seed", range(2))
def test_words_renewed_every_ten_seconds_stay_with_everybody(seed: int) -> None:
    village = Village(30, seed, loss=0.05)
    for turn in range(6):
        for peer in village.peers:
            village.say(peer, b"%d" % turn)
        village.heap.run(10)
        if turn >= 2:
            assert all(list(village.bodies(p)) == village.peers for p in village.peers)


@pytest.mark.parametrize("seed", range(5))
def test_what_was_said_in_a_partition_reaches_the_other_half_once_it_heals(seed: int) -> None:
    village = Village(30, seed, loss=0.05)
    left, right = village.peers[:15], village.peers[15:]
    village.heap.cut(left, right)
    village.believe(left, left)
    village.believe(right, right)
    for peer in village.peers:
        village.say(peer, b"said apart", ttl_s=300)
    village.heap.run(30)
    assert village.all_hold(left, b"said apart", at=left)
    assert not any(peer in village.bodies(left[0]) for peer in right)
    village.heap.heal()
    village.believe(village.peers, village.peers)
    for one, other in [*product(left, right), *product(right, left)]:
        village.heap.tell(one, e.MemberUp(other))
    village.time_to_all(village.peers, b"said apart", within_s=2 * DEFAULT.reconcile_s)


def test_the_words_of_the_silent_are_over_everywhere_after_their_life() -> None:
    village = Village(30, seed=1, loss=0.05)
    village.say(village.peers[0], b"my last")
    village.heap.run(0.1)
    village.heap.crash(village.peers[0])
    others = village.peers[1:]
    village.heap.run(TTL_S - 1)
    assert village.all_hold([village.peers[0]], b"my last", at=others)
    village.heap.run(1.2)
    assert not any(village.peers[0] in village.bodies(peer) for peer in others)


def test_replayed_stale_and_forged_words_never_change_a_table() -> None:
    village = Village(9, seed=2)
    mallory, victim = village.peers[8], village.peers[0]
    village.say(victim, b"one")
    village.heap.run(1)
    old = seal(
        KeyedHashSigner(victim),
        NET,
        DOMAINS[RESOURCES],
        ItemFact(35_000, b"old"),
        sequence=village.wall_ms() - 10_000,
        expires_ms=village.wall_ms() + 25_000,
    )
    forged = seal(
        KeyedHashSigner(victim, seed=666),
        NET,
        DOMAINS[RESOURCES],
        ItemFact(35_000, b"forged"),
        sequence=village.wall_ms() + 10_000,
        expires_ms=village.wall_ms() + 35_000,
    )
    village.say(victim, b"two")
    village.heap.run(30)
    for _ in range(50):
        for peer in village.peers[:8]:
            push = Push(6, (Carried(35_000, old), Carried(35_000, forged)))
            village.heap.tell(peer, e.GossipHeard(mallory, push))
        village.heap.run(0.2)
        for peer in village.peers:
            assert village.bodies(peer).get(victim) in (b"two", None)
    assert village.bodies(village.peers[3]) == {}, "its life was not prolonged either"


@pytest.mark.parametrize("seed", [1, 2])
def test_one_seed_gives_one_trace(seed: int) -> None:
    def trace() -> str:
        village = Village(9, seed, loss=0.05)
        for peer in village.peers:
            village.say(peer, b"x")
        village.heap.run(40)
        return village.heap.trace

    assert trace() == trace()
