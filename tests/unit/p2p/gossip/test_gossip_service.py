"""What the rest of the node sees of gossip, over Rpc on virtual time."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from p2p.gossip.config import PROFILES, GossipConfig
from p2p.gossip.items import RESOURCES, STORAGE, Item
from p2p.gossip.messages import DOMAINS, Carried, ItemFact, Push
from p2p.gossip.service import GossipService
from p2p.host.memory.network import LinkModel
from p2p.ids import LabId, NetworkId, PeerId
from p2p.limits import GOSSIP_BODY_BYTES_MAX, GOSSIP_TTL_S_MAX
from p2p.membership.view import Liveness, Member, MemberChanged, View
from p2p.wire.envelope import Signed, seal
from testnet.sim.clock import VirtualWall
from testnet.sim.peers import Peers, rpc_peers
from testnet.sim.seeded import simulated, until
from testnet.sim.signer import KeyedHashSigner

NET = NetworkId("net")
ALICE, BOB, CAROL = PeerId("alice"), PeerId("bob"), PeerId("carol")
TEST = PROFILES["test"]


@dataclass
class Roll:
    """A membership that says what the test says."""

    me: PeerId
    members: dict[PeerId, Member] = field(default_factory=dict)
    listeners: list[Callable[[MemberChanged], None]] = field(default_factory=list)
    _view: View | None = None

    def view(self) -> View:
        if self._view is None:
            self._view = View(self.me, tuple(self.members[p] for p in sorted(self.members)))
        return self._view

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None:
        self.listeners.append(listener)

    def put(self, peer: PeerId, liveness: Liveness = Liveness.ALIVE) -> None:
        old = self.members.get(peer)
        member = Member(peer, liveness, 1, (), peer, LabId("lab"), "", 0.0)
        self.members[peer] = member
        self._view = None
        for listener in self.listeners:
            listener(MemberChanged(member, old.liveness if old else None))


@dataclass
class Town:
    """Gossip of a few peers who all know each other."""

    peers: Peers
    walls: dict[PeerId, VirtualWall]
    rolls: dict[PeerId, Roll]
    services: dict[PeerId, GossipService]

    def bodies(self, peer: PeerId, kind: int = RESOURCES) -> dict[str, bytes]:
        return {str(o): item.body for o, item in self.services[peer].items(kind).items()}


@asynccontextmanager
async def town(
    names: Sequence[str],
    *,
    config: GossipConfig = TEST,
    model: LinkModel | None = None,
    seed: int = 0,
    strangers: bool = False,
) -> AsyncIterator[Town]:

    async with rpc_peers(names, model or LinkModel(), seed=seed) as peers, trio.open_nursery() as n:
        made = Town(peers, {}, {}, {})
        for peer in peers.rpcs:
            made.walls[peer] = VirtualWall()
            made.rolls[peer] = Roll(peer)
            for other in peers.rpcs:
                if other == peer or not strangers:
                    made.rolls[peer].put(other)
            made.services[peer] = GossipService(
                config,
                peers.rpcs[peer],
                made.rolls[peer],
                KeyedHashSigner(peer),
                NET,
                rng=random.Random(f"{seed}/{peer}"),
                wall_ms=made.walls[peer],
            )
            await n.start(made.services[peer].run)
        yield made
        n.cancel_scope.cancel()


def word(
    origin: PeerId, body: bytes, *, sequence: int, ttl_ms: int = 35_000, wall: VirtualWall
) -> Signed:
    return seal(
        KeyedHashSigner(origin),
        NET,
        DOMAINS[RESOURCES],
        ItemFact(ttl_ms, body),
        sequence=sequence,
        expires_ms=wall() + ttl_ms,
    )


@simulated
async def test_a_word_reaches_everybody_at_once() -> None:
    async with town(["alice", "bob", "carol"]) as t:
        heard: list[Item] = []
        t.services[CAROL].on_item(RESOURCES, heard.append)
        t.services[ALICE].publish(RESOURCES, b"eight cores", ttl_s=35)
        await until(lambda: all(t.bodies(p) for p in t.services), within_s=0.1)
        assert t.bodies(CAROL) == {"alice": b"eight cores"} == t.bodies(ALICE)
        assert [item.body for item in heard] == [b"eight cores"]
        assert heard[0].origin == ALICE
        assert t.bodies(CAROL, STORAGE) == {}


@simulated
async def test_a_later_word_replaces_the_earlier_one() -> None:
    async with town(["alice", "bob"]) as t:
        for body in (b"one", b"two", b"three"):
            t.services[ALICE].publish(RESOURCES, body, ttl_s=35)
        await until(lambda: t.bodies(BOB) == {"alice": b"three"}, within_s=0.1)


@simulated
async def test_what_was_said_before_run_and_alone_reaches_who_comes_later() -> None:
    async with town(["alice", "bob"], strangers=True) as t:
        t.services[ALICE].publish(RESOURCES, b"hello", ttl_s=3000)
        await trio.sleep(100)
        assert t.bodies(ALICE) == {"alice": b"hello"}
        t.rolls[ALICE].put(BOB)
        t.rolls[BOB].put(ALICE)
        await until(lambda: t.bodies(BOB) == {"alice": b"hello"}, within_s=0.2)


@simulated
async def test_an_item_ends_with_its_time_to_live() -> None:
    async with town(["alice", "bob"]) as t:
        t.services[ALICE].publish(RESOURCES, b"soon over", ttl_s=5)
        await trio.sleep(4.9)
        assert t.bodies(BOB) == t.bodies(ALICE) == {"alice": b"soon over"}
        await trio.sleep(0.2)  # and the time it took to arrive
        assert t.bodies(BOB) == t.bodies(ALICE) == {}


@simulated
async def test_items_of_the_dead_are_hidden_and_come_back_with_them() -> None:
    async with town(["alice", "bob"]) as t:
        t.services[ALICE].publish(RESOURCES, b"here", ttl_s=35)
        await until(lambda: bool(t.bodies(BOB)), within_s=0.1)
        t.rolls[BOB].put(ALICE, Liveness.DEAD)
        assert t.bodies(BOB) == {}
        t.rolls[BOB].put(ALICE, Liveness.ALIVE)
        assert t.bodies(BOB) == {"alice": b"here"}


@simulated
async def test_a_word_that_outran_the_news_of_its_origin_is_kept_for_it() -> None:
    async with town(["alice", "bob", "carol"], strangers=True) as t:
        t.rolls[ALICE].put(BOB)
        t.services[ALICE].publish(RESOURCES, b"first", ttl_s=35)
        await trio.sleep(0.1)
        assert t.bodies(BOB) == {}
        t.rolls[BOB].put(ALICE)
        await until(lambda: t.bodies(BOB) == {"alice": b"first"}, within_s=0.1)


@simulated
async def test_after_a_restart_with_a_clock_set_back_we_are_heard_within_a_round() -> None:
    async with town(["alice", "bob", "carol"]) as t:
        earlier = word(ALICE, b"earlier life", sequence=t.walls[BOB]() + 60_000, wall=t.walls[BOB])
        for peer in (BOB, CAROL):
            t.peers["alice"].cast(peer, Push(0, (Carried(35_000, earlier),)))
        await until(lambda: bool(t.bodies(BOB)) and bool(t.bodies(CAROL)), within_s=0.1)
        t.services[ALICE].publish(RESOURCES, b"this life", ttl_s=35)
        await until(
            lambda: t.bodies(BOB) == t.bodies(CAROL) == {"alice": b"this life"},
            within_s=2 * TEST.reconcile_s,
        )


@simulated
async def test_words_out_of_bounds_are_refused_to_their_author() -> None:
    async with town(["alice"]) as t:
        service = t.services[ALICE]
        with pytest.raises(ValueError, match="kind 17"):
            service.publish(17, b"", ttl_s=1)
        with pytest.raises(ValueError, match="4097 bytes"):
            service.publish(RESOURCES, bytes(GOSSIP_BODY_BYTES_MAX + 1), ttl_s=1)
        for ttl_s in (0.0, -1.0, GOSSIP_TTL_S_MAX + 1):
            with pytest.raises(ValueError, match="ttl_s"):
                service.publish(RESOURCES, b"", ttl_s=ttl_s)


@simulated
async def test_the_largest_word_travels() -> None:
    async with town(["alice", "bob"]) as t:
        body = bytes(GOSSIP_BODY_BYTES_MAX)
        for kind in DOMAINS:
            t.services[ALICE].publish(kind, body, ttl_s=GOSSIP_TTL_S_MAX)
        await until(lambda: all(t.bodies(BOB, k) == {"alice": body} for k in DOMAINS), within_s=0.1)
