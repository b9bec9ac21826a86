"""Several name services on one network in memory, for tests of mutable names."""

import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import trio
from msgspec.structs import replace

from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.host.rpc.service import Rpc
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.membership.view import Liveness, Member, MemberChanged, View
from storage.engine.memory_tables import MemoryTables
from storage.facade import NameValue, OwnedNames
from storage.records.names.config import NamesConfig
from storage.records.names.core import Holders, name_key
from storage.records.names.service import NameService, NamesStats
from testnet.sim.callers import machine_of
from testnet.sim.clock import VirtualWall
from testnet.sim.signer import KeyedHashSigner

NETWORK = NetworkId("testnet")
_MODEL, _CONFIG = LinkModel(), NamesConfig()


def _may_sweep() -> bool:
    """Every clock is right here."""
    return True


@dataclass(slots=True)
class Truth:
    """What everybody believes about the members: changed by the test, seen by all at once."""

    members: dict[PeerId, Member] = field(default_factory=dict)
    listeners: list[Callable[[MemberChanged], None]] = field(default_factory=list)
    persons: dict[str, PersonId] = field(default_factory=dict)
    """Whose machine each is; of nobody known unless the test says so."""

    def set(self, name: str, liveness: Liveness) -> None:
        """Change one member, and tell whoever listens."""
        peer = PeerId(name)
        before = self.members.get(peer)
        now_s = trio.current_time()
        lab, site = LabId("lab"), f"site-{name}"
        whose = self.persons.get(name, PersonId(""))
        member = Member(peer, liveness, 0, (), name, lab, site, now_s, whose)
        self.members[peer] = member
        for listener in self.listeners:
            listener(MemberChanged(member, before.liveness if before else None))


@dataclass(slots=True)
class OwnView:
    """One node's membership; `belief` overrides the common truth."""

    me: PeerId
    truth: Truth
    belief: dict[PeerId, Member] = field(default_factory=dict)
    listeners: list[Callable[[MemberChanged], None]] = field(default_factory=list)

    def believe(self, others: Sequence[PeerId], liveness: Liveness) -> None:
        """From now on this node alone takes those for what it is told; ALIVE ends that."""
        for peer in others:
            member = replace(self.truth.members[peer], liveness=liveness)
            before = self.belief.pop(peer, self.truth.members[peer]).liveness
            if liveness is not Liveness.ALIVE:
                self.belief[peer] = member
            for listener in self.listeners:
                listener(MemberChanged(member, before))

    def view(self) -> View:
        merged = self.truth.members | self.belief
        return View(self.me, tuple(merged[peer] for peer in sorted(merged)))

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None:
        self.truth.listeners.append(listener)
        self.listeners.append(listener)


@dataclass(slots=True)
class NameNode:
    """One machine: it may crash and come back with its tables."""

    peer: PeerId
    tables: MemoryTables
    members: OwnView
    host: MemoryHost | None = None
    rpc: Rpc | None = None
    names: NameService | None = None
    scope: trio.CancelScope | None = None
    clients: list[trio.CancelScope] = field(default_factory=list)


OWNER = KeyedHashSigner(PeerId("key"))
"""The key that every machine of a lab has: of a person, say."""


def key_of(name: str) -> bytes:
    """Where holders keep the owner's name."""
    return name_key(OWNER.peer_id, name)


@dataclass(frozen=True, slots=True)
class Seat:
    """The owner's names, as one machine reads and writes them."""

    service: NameService

    @property
    def names(self) -> OwnedNames:
        return self.service.person(OWNER)

    async def read(self, name: str) -> NameValue | None:
        return await self.names.read(name)

    async def write(self, name: str, value: bytes, *, expected: int, fence: int) -> NameValue:
        return await self.names.write(name, value, expected=expected, fence=fence)

    def holders(self, key: bytes) -> Holders:
        return self.service.holders(key)

    def stats(self) -> NamesStats:
        return self.service.stats()


@dataclass(slots=True)
class NamesLab:
    """A few machines that keep names for each other."""

    network: MemoryNetwork
    nursery: trio.Nursery
    truth: Truth
    config: NamesConfig
    seed: int
    nodes: dict[str, NameNode] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Seat:
        names = self.nodes[name].names
        assert names is not None, f"{name} is down"
        return Seat(names)

    async def start(self, name: str) -> None:
        """Start a machine, with the tables it had before if it was there."""
        peer = PeerId(name)
        node = self.nodes.get(name)
        if node is None:
            node = NameNode(peer, MemoryTables(commit_s=0.001), OwnView(peer, self.truth))
            self.nodes[name] = node
        self.truth.set(name, Liveness.ALIVE)
        await self.nursery.start(self._run, node)

    async def _run(self, node: NameNode, *, task_status: trio.TaskStatus[None]) -> None:
        host = node.host = MemoryHost(self.network, node.peer, machine_of(node.peer))
        for other in self.nodes.values():
            host.learn(other.peer, [memory_address(other.peer)])
            if other.host is not None:
                other.host.learn(node.peer, [memory_address(node.peer)])
        rpc = node.rpc = Rpc(host)
        rng = random.Random(f"{self.seed} {node.peer} {trio.current_time()}")
        node.names = NameService(
            rpc,
            node.members,
            node.tables,
            KeyedHashSigner(node.peer),
            NETWORK,
            wall_ms=VirtualWall(),
            rng=rng,
            config=self.config,
        )
        with trio.CancelScope() as node.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(rpc.run)
                await nursery.start(host.run)
                await nursery.start(node.names.run, _may_sweep)
                task_status.started()

    def crash(self, name: str) -> None:
        """Cut the power: only what was committed is left."""
        node = self.nodes[name]
        assert node.scope is not None
        self.network.crash(node.peer)
        node.tables.crash()
        for scope in (*node.clients, node.scope):
            scope.cancel()
        node.names = None

    @contextmanager
    def client(self, name: str) -> Iterator[Seat]:
        """A program on that machine: it ends with it, in the middle of what it does."""
        clients = self.nodes[name].clients
        with trio.CancelScope() as scope:
            clients.append(scope)
            try:
                yield self[name]
            finally:
                clients.remove(scope)


@asynccontextmanager
async def names_lab(
    names: Sequence[str],
    model: LinkModel = _MODEL,
    *,
    seed: int = 0,
    config: NamesConfig = _CONFIG,
) -> AsyncIterator[NamesLab]:
    """Machines with these names, all alive, until the block ends."""
    network = MemoryNetwork(random.Random(seed), model)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        lab = NamesLab(network, nursery, Truth(), config, seed)
        for name in names:
            peer = PeerId(name)
            lab.nodes[name] = NameNode(peer, MemoryTables(commit_s=0.001), OwnView(peer, lab.truth))
        for name in names:
            await lab.start(name)
        yield lab
        nursery.cancel_scope.cancel()
