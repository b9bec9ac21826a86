"""Whole p2p nodes on one MemoryNetwork: host, rpc, membership, gossip and discovery."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2p.discovery.service import DiscoveryService
from p2p.gossip.config import PROFILES as GOSSIP_PROFILES
from p2p.gossip.service import GossipService
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.host.rpc.service import Rpc
from p2p.ids import LabId, NetworkId, PeerId, TrafficClass
from p2p.membership.config import PROFILES
from p2p.membership.ourselves import Ourselves, Profile
from p2p.membership.service import MembershipService
from p2p.membership.view import Liveness
from testnet.sim.callers import machine_of
from testnet.sim.clock import VirtualWall
from testnet.sim.signer import KeyedHashSigner

NET = NetworkId("net")
Trace = Callable[[float, PeerId, PeerId, TrafficClass, bytes], None]


class DictCache:
    """A PeerCache that survives its node."""

    def __init__(self) -> None:
        self.known: dict[PeerId, tuple[str, ...]] = {}

    def load(self) -> Mapping[PeerId, tuple[str, ...]]:
        return dict(self.known)

    async def save(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        await trio.lowlevel.checkpoint()
        self.known[peer] = addresses


@dataclass
class ListIndex:
    """An Index that knows what the test put in."""

    found: list[tuple[PeerId, tuple[str, ...]]] = field(default_factory=list)
    announced: list[bytes] = field(default_factory=list)
    answers_after_s: float = 0.0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    async def announce(self, key: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.announced.append(key)

    async def find(self, key: bytes, limit: int) -> list[tuple[PeerId, tuple[str, ...]]]:
        await trio.sleep(self.answers_after_s)
        return self.found[:limit]


@dataclass
class LabNode:
    """One running node."""

    host: MemoryHost
    rpc: Rpc
    members: MembershipService
    gossip: GossipService
    discovery: DiscoveryService
    cache: DictCache
    index: ListIndex
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    addresses: list[str] = field(default_factory=list)

    def alive(self) -> list[str]:
        return [str(member.peer) for member in self.members.view().alive()]

    def liveness(self, name: str) -> Liveness | None:
        member = self.members.view().find(PeerId(name))
        return None if member is None else member.liveness

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                for part in (self.rpc, self.host, self.members, self.gossip, self.discovery):
                    await nursery.start(part.run)
                task_status.started()


@dataclass
class P2PLab:
    """Nodes by name; each may end and start again with its cache."""

    network: MemoryNetwork
    nursery: trio.Nursery
    seed: int
    wall: VirtualWall = field(default_factory=VirtualWall)
    nodes: dict[str, LabNode] = field(default_factory=dict)
    lives: int = 0
    relays: set[str] = field(default_factory=set)
    """Names of nodes that carry for others."""

    def __getitem__(self, name: str) -> LabNode:
        return self.nodes[name]

    def make(
        self, name: str, seeds: Sequence[str] = (), *, profile: str = "default", keep: bool = True
    ) -> LabNode:
        """A node that does not run yet; with `keep` it has the cache of its earlier life."""
        self.lives += 1
        peer, old = PeerId(name), self.nodes.get(name)
        dice = random.Random(f"{self.seed}/{name}/{self.lives}")
        carries, cache = name in self.relays, DictCache()
        host = MemoryHost(self.network, peer, machine_of(peer), carries=carries)
        if keep and old is not None:
            cache = old.cache
        rpc, signer, addresses = Rpc(host), KeyedHashSigner(peer), list(host.addresses())
        members = MembershipService(
            PROFILES[profile],
            rpc,
            Ourselves(signer, NET, Profile(name, LabId("lab"), "", carries)),
            addresses=lambda: tuple(addresses),
            rng=dice,
            incarnation=self.wall(),
        )
        gossip = GossipService(
            GOSSIP_PROFILES[profile], rpc, members, signer, NET, rng=dice, wall_ms=self.wall
        )
        index = ListIndex()
        discovery = DiscoveryService(host, index, members, cache, NET, seeds)
        node = LabNode(host, rpc, members, gossip, discovery, cache, index, addresses=addresses)
        self.nodes[name] = node
        return node

    async def start(
        self, name: str, seeds: Sequence[str] = (), *, profile: str = "default", keep: bool = True
    ) -> LabNode:
        node = self.make(name, seeds, profile=profile, keep=keep)
        await self.nursery.start(node.run)
        return node

    def end(self, name: str, *, silent: bool = False) -> None:
        """Crash: others notice at once, or only by silence."""
        self.network.crash(PeerId(name), silent=silent)
        self.nodes[name].scope.cancel()

    def all_see(self, *names: str) -> bool:
        """Whether each of these holds exactly these for alive."""
        return all(self.nodes[name].alive() == sorted(names) for name in names)


@asynccontextmanager
async def p2p_lab(
    model: LinkModel | None = None, *, seed: int = 0, trace: Trace | None = None
) -> AsyncIterator[P2PLab]:
    """A network that runs until the block ends; `trace` sees every frame delivered."""
    network = MemoryNetwork(random.Random(seed), model or LinkModel(), trace=trace)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        yield P2PLab(network, nursery, seed)
        nursery.cancel_scope.cancel()


def at(name: str) -> str:
    """Where a node of the lab is dialled."""
    return memory_address(PeerId(name))
