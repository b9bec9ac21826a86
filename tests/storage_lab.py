"""Several whole storage services on one network in memory, with a membership the test decides."""

import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from msgspec.structs import replace

from p2p.gossip.items import Item
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.membership.view import Liveness
from p2p.mesh import Mesh
from p2p.workers import InlineWorkers
from storage.config import StorageConfig
from storage.engine.memory_tables import MemoryTables
from storage.service import StorageService
from storage.volumes.memory import MemoryShardStore
from testnet.sim.callers import LAB, KnownMachines, machine_of
from testnet.sim.clock import VirtualWall
from testnet.sim.signer import KeyedHashSigner
from tests.names_lab import OwnView, Truth

NETWORK = NetworkId("testnet")
KIB = 1024
_MODEL = LinkModel(delay_s=0.001)
CONFIG = StorageConfig(segment_bytes=64 * KIB, small_object_bytes=4 * KIB, advert_s=1.0)


class Board:
    """Gossip that arrives at once everywhere."""

    def __init__(self) -> None:
        self.posted: dict[int, dict[PeerId, Item]] = {}
        self.listeners: list[tuple[int, Callable[[Item], None]]] = []

    def post(self, me: PeerId, kind: int, body: bytes) -> None:
        """One machine's word replaces its older one."""
        before = self.posted.setdefault(kind, {}).get(me)
        item = Item(me, kind, 1 if before is None else before.sequence + 1, 1 << 50, body)
        self.posted[kind][me] = item
        for wanted, listener in self.listeners:
            if wanted == kind:
                listener(item)


@dataclass(slots=True)
class BoardFace:
    """The board as one machine's gossip service."""

    me: PeerId
    board: Board

    def publish(self, kind: int, body: bytes, *, ttl_s: float) -> None:
        self.board.post(self.me, kind, body)

    def items(self, kind: int) -> Mapping[PeerId, Item]:
        return dict(sorted(self.board.posted.get(kind, {}).items()))

    def on_item(self, kind: int, listener: Callable[[Item], None]) -> None:
        self.board.listeners.append((kind, listener))


OWNER = PersonId("owner")


@dataclass(slots=True)
class Keeper:
    """One machine: its disk outlives its service."""

    peer: PeerId
    config: StorageConfig
    tables: MemoryTables
    shards: MemoryShardStore
    members: OwnView
    wall: VirtualWall
    lab: LabId = LAB
    person: PersonId = OWNER
    """What its certificate says."""
    host: MemoryHost | None = None
    rpc: Rpc | None = None
    service: StorageService | None = None
    scope: trio.CancelScope | None = None
    clients: list[trio.CancelScope] = field(default_factory=list)
    """Whoever uses its service: cancelled when that ends."""


@dataclass(frozen=True, slots=True)
class Certificates(Mapping[PeerId, Caller]):
    """Whose machine each is, of all that ever were in the lab."""

    keepers: Mapping[str, Keeper]

    def __getitem__(self, peer: PeerId) -> Caller:
        keeper = self.keepers[peer]
        return machine_of(peer, keeper.lab, keeper.person)

    def __iter__(self) -> Iterator[PeerId]:
        return map(PeerId, self.keepers)

    def __len__(self) -> int:
        return len(self.keepers)


@dataclass(slots=True)
class StorageLab:
    """A few machines that keep objects for each other."""

    network: MemoryNetwork
    nursery: trio.Nursery
    seed: int
    truth: Truth = field(default_factory=Truth)
    board: Board = field(default_factory=Board)
    keepers: dict[str, Keeper] = field(default_factory=dict)

    def __getitem__(self, name: str) -> StorageService:
        service = self.keepers[name].service
        assert service is not None, f"{name} is down"
        return service

    def names(self) -> list[str]:
        return list(self.keepers)

    def up(self) -> list[StorageService]:
        """The services that run."""
        return [k.service for k in self.keepers.values() if k.service is not None]

    async def start(self, name: str) -> None:
        """Start a machine with the disk it has."""
        self.truth.set(name, Liveness.ALIVE)
        await self.nursery.start(self._run, self.keepers[name])

    async def _run(self, keeper: Keeper, *, task_status: trio.TaskStatus[None]) -> None:
        host = keeper.host = MemoryHost(
            self.network, keeper.peer, machine_of(keeper.peer, keeper.lab, keeper.person)
        )
        for other in self.keepers.values():
            host.learn(other.peer, [memory_address(other.peer)])
            if other.host is not None:
                other.host.learn(keeper.peer, [memory_address(keeper.peer)])
        rpc = keeper.rpc = Rpc(host)
        dice = random.Random(f"{self.seed} {keeper.peer} {trio.current_time()}")
        keeper.service = StorageService(
            keeper.config,
            Mesh(
                rpc,
                keeper.members,
                BoardFace(keeper.peer, self.board),
                KeyedHashSigner(keeper.peer),
                NETWORK,
                dice,
                dice.randbytes,
                keeper.wall,
                KnownMachines(keeper.peer, Certificates(self.keepers)),
            ),
            keeper.tables,
            keeper.shards,
            keeper.person,
            keeper.lab,
            workers=InlineWorkers(),
        )
        with trio.CancelScope() as keeper.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(rpc.run)
                await nursery.start(host.run)
                await nursery.start(keeper.service.run)
                task_status.started()

    def freeze(self, name: str) -> None:
        """Stop a node as SIGSTOP does: it keeps its connections and answers nothing."""
        others = [PeerId(one) for one in self.keepers if one != name]
        self.network.cut([PeerId(name)], others)

    def thaw(self) -> None:
        """All go on."""
        self.network.heal()

    def kill(self, name: str, *, is_known: bool = True) -> None:
        """Cut the power; membership learns of it at once, or not before the test says so."""
        keeper = self.keepers[name]
        assert keeper.scope is not None
        self.network.crash(keeper.peer)
        keeper.tables.crash()
        keeper.shards.crash()
        keeper.scope.cancel()
        for client in keeper.clients:
            client.cancel()
        keeper.clients.clear()
        keeper.service = keeper.host = None
        if is_known:
            self.truth.set(name, Liveness.DEAD)


@asynccontextmanager
async def storage_lab(
    count: int,
    *,
    config: StorageConfig = CONFIG,
    model: LinkModel = _MODEL,
    quotas: Mapping[str, int] | None = None,
    not_lending: Sequence[str] = (),
    labs: Mapping[str, LabId] | None = None,
    owners: Mapping[str, PersonId] | None = None,
    seed: int = 0,
) -> AsyncIterator[StorageLab]:
    """Machines p0, p1, ... each at its own site, of one lab and a person each unless told."""
    network = MemoryNetwork(random.Random(seed), model)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        lab = StorageLab(network, nursery, seed)
        for number in range(count):
            name = f"p{number}"
            whose = (owners or {}).get(name, PersonId(f"owner-{name}"))
            lab.truth.persons[name] = whose
            quota = (quotas or {}).get(name, 1 << 40)
            tables = MemoryTables(commit_s=0.001)
            lab.keepers[name] = Keeper(
                PeerId(name),
                replace(config, lends=name not in not_lending),
                tables,
                MemoryShardStore(tables, quota_bytes=quota),
                OwnView(PeerId(name), lab.truth),
                VirtualWall(),
                (labs or {}).get(name, LAB),
                whose,
            )
        for name in lab.names():
            await lab.start(name)
        await trio.sleep(0.01)  # everybody has said once what it lends
        yield lab
        nursery.cancel_scope.cancel()
