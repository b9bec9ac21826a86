"""Whole MarketServices on one network: machines that can be killed, started again and lost."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import trio
import trio.testing

from p2p.gossip.items import RESOURCES, Item
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.host.rpc.service import Rpc
from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership.view import Liveness, Member, MemberChanged, View
from p2p.mesh import Mesh
from p2p.wire.codec import encode
from p2p.workers import InlineWorkers
from storage.engine.memory_tables import MemoryTables
from swarmnode.datasets.service import DatasetService
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.market.config import MarketConfig
from swarmnode.market.seller.premises import Premises
from swarmnode.market.service import MarketService
from swarmnode.memory.service import MemoryService
from swarmnode.resources.fake import FakeMachine
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import Shape, TaskSpec
from testnet.sim.callers import machine_of
from testnet.sim.clock import VirtualWall
from testnet.sim.memory_objects import MemoryNames, MemoryObjects, Pool
from testnet.sim.signer import KeyedHashSigner

NETWORK = NetworkId("net")
ADVERTS_EVERY_S = 5.0
DEFAULT = MarketConfig()
MIB = 1024**2
SMALL = Shape(1000, 64 * MIB, 64 * MIB)


class Roster:
    """What one machine knows of the members: all are alive until the test says otherwise."""

    def __init__(self, me: PeerId, peers: Sequence[PeerId]) -> None:
        self._me = me
        self._members = {peer: self._member(peer, Liveness.ALIVE) for peer in sorted(peers)}
        self._listeners: list[Callable[[MemberChanged], None]] = []

    def view(self) -> View:
        return View(self._me, tuple(self._members.values()))

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None:
        self._listeners.append(listener)

    def stands(self, peer: PeerId, liveness: Liveness) -> None:
        before = self._members[peer].liveness
        self._members[peer] = self._member(peer, liveness)
        for listener in self._listeners:
            listener(MemberChanged(self._members[peer], before))

    def forget(self, peer: PeerId) -> None:
        """It was gone for a day: nobody speaks of it any more."""
        del self._members[peer]

    def _member(self, peer: PeerId, liveness: Liveness) -> Member:
        return Member(peer, liveness, 1, (), peer, LabId("lab"), "", 0.0)


class Board:
    """The adverts of all machines: everybody sees the same at once."""

    def __init__(self) -> None:
        self._items: dict[PeerId, Item] = {}
        self._listeners: list[Callable[[Item], None]] = []
        self._sequence = 0

    def items(self, kind: int) -> Mapping[PeerId, Item]:
        return dict(sorted(self._items.items()))

    def on_item(self, kind: int, listener: Callable[[Item], None]) -> None:
        self._listeners.append(listener)

    def publish(self, kind: int, body: bytes, *, ttl_s: float) -> None:
        raise AssertionError("nobody here says something without its name")

    def tell(self, peer: PeerId, body: bytes) -> None:
        self._sequence += 1
        item = self._items[peer] = Item(peer, RESOURCES, self._sequence, 0, body)
        for listener in self._listeners:
            listener(item)


@dataclass(slots=True, eq=False)
class Stand:
    """One machine of the market: what outlives its node, and the node's service."""

    peer: PeerId
    tables: MemoryTables
    executor: FakeExecutor
    hardware: FakeMachine
    roster: Roster
    lends: bool = True
    market: MarketService = field(init=False)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)


class MarketLab:
    """`async with lab.running():` starts every machine; `lab["bob"].market` is bob's service."""

    def __init__(
        self,
        *names: str,
        seed: int = 0,
        config: MarketConfig = DEFAULT,
        lends: Sequence[str] | None = None,
    ) -> None:
        self.config = config
        self.dice = random.Random(seed)
        self.wall = VirtualWall()
        self.network = MemoryNetwork(random.Random(seed), LinkModel())
        self.board, self.pool = Board(), Pool()
        peers = [PeerId(name) for name in names]
        self.stands = {
            peer: Stand(
                peer,
                MemoryTables(commit_s=0.002),
                FakeExecutor(wall_ms=self.wall),
                FakeMachine(),
                Roster(peer, peers),
                lends is None or peer in lends,
            )
            for peer in peers
        }
        self._nursery: trio.Nursery | None = None

    def __getitem__(self, name: str) -> Stand:
        return self.stands[PeerId(name)]

    @asynccontextmanager
    async def running(self, within_s: float = 3600) -> AsyncIterator["MarketLab"]:
        with trio.fail_after(within_s):
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self.network.run)
                for name in self.stands:
                    await self.start(name)
                await trio.testing.wait_all_tasks_blocked()  # all have told what they lend
                yield self
                nursery.cancel_scope.cancel()

    async def start(self, name: str) -> None:
        assert self._nursery is not None
        stand = self[name]
        stand.scope, stand.gone = trio.CancelScope(), trio.Event()
        await self._nursery.start(self._run, stand)

    async def kill(self, name: str) -> None:
        """The node, not the machine: tasks go on."""
        stand = self[name]
        stand.scope.cancel()
        await stand.gone.wait()
        stand.tables.crash()

    def lose(self, name: str) -> None:
        """Everybody else holds the machine for dead."""
        for stand in self.stands.values():
            if stand.peer != name:
                stand.roster.stands(PeerId(name), Liveness.DEAD)

    def find(self, name: str) -> None:
        """Everybody else sees the machine again."""
        for stand in self.stands.values():
            if stand.peer != name:
                stand.roster.stands(PeerId(name), Liveness.ALIVE)

    async def _run(self, stand: Stand, *, task_status: trio.TaskStatus[None]) -> None:
        host = MemoryHost(self.network, stand.peer, machine_of(stand.peer))
        for other in self.stands:
            host.learn(other, [memory_address(other)])
        rpc = Rpc(host)
        objects = MemoryObjects(self.pool, stand.peer, self.wall)
        names = MemoryNames(self.pool, stand.peer)
        stand.market = MarketService(
            self.config,
            Mesh(
                rpc,
                stand.roster,
                self.board,
                KeyedHashSigner(stand.peer),
                NETWORK,
                self.dice,
                self.dice.randbytes,
                self.wall,
            ),
            Premises(
                stand.executor,
                stand.hardware,
                stand.tables,
                objects,
                MemoryService(
                    stand.executor, objects, names, workers=InlineWorkers(), wall_ms=self.wall
                ),
                DatasetService(stand.executor, objects, InlineWorkers(), None),
            ),
            lends=stand.lends,
        )
        try:
            with stand.scope:
                async with trio.open_nursery() as nursery:
                    for part in (stand.executor.run, rpc.run, host.run, stand.market.run):
                        await nursery.start(part)
                    nursery.start_soon(self._advertise, stand)
                    task_status.started()
        finally:
            stand.gone.set()

    async def _advertise(self, stand: Stand) -> None:
        stand.market.seller.lending.on_changed(lambda: self._publish(stand))
        while True:
            self._publish(stand)
            await trio.sleep(ADVERTS_EVERY_S)

    def _publish(self, stand: Stand) -> None:
        advert = stand.market.seller.lending.advert()
        if advert is not None:
            self.board.tell(stand.peer, encode(advert))


def task(*run: str, **changes: object) -> TaskSpec:
    values: dict[str, object] = {"shape": SMALL, **changes}
    return TaskSpec(run, **values)  # type: ignore[arg-type]


async def log_of(market: MarketService, task_id: TaskId, follow: bool = False) -> bytes:
    return b"".join([piece async for piece in market.buyer.logs(task_id, "stdout", follow=follow)])


async def running(market: MarketService, task_id: TaskId) -> str:
    """Wait until a task runs; who runs it."""
    async with aclosing(market.buyer.events()) as events:
        while market.buyer.task(task_id).state is not TaskState.RUNNING:
            await anext(events)
    return market.buyer.task(task_id).record.provider
