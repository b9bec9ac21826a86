"""Whole Nodes in one process on virtual time: machines that start, die and come back.

Every die comes from one seed, so a run that fails can be run again. A machine's disk (tables,
shards) and its running tasks outlive the Node on it: `kill` is `kill -9` of the daemon, `power_cut`
ends the tasks too and forgets whatever was not yet on disk.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import trio

from p2p.host.admission.book import AdmissionBook
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.index import IndexTable, MemoryIndex
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.identity.admission import Anchor
from p2p.identity.caller import Caller
from p2p.identity.register.register import Register
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.workers import InlineWorkers
from storage.engine.memory_tables import MemoryTables
from storage.volumes.memory import MemoryShardStore
from swarmnode.edges import Edges, Identity, Vault
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.home.config import Config
from swarmnode.home.config_load import load
from swarmnode.node import Node
from swarmnode.resources.fake import FakeMachine
from testnet.sim.callers import KnownMachines, machine_of
from testnet.sim.clock import VirtualWall
from testnet.sim.signer import KeyedHashSigner

NETWORK = NetworkId("simulated")
ANCHOR = Anchor(NETWORK, PeerId("root"))
ROLES = ("compute", "storage")
NO_FILE = Path("/nonexistent/config.toml")


@dataclass(slots=True)
class SimMachine:
    """One machine: what survives its Node, and the Node while there is one."""

    name: str
    peer: PeerId
    lab: LabId
    site: str
    wall: VirtualWall
    state: MemoryTables
    store: MemoryTables
    shards: MemoryShardStore
    executor: FakeExecutor
    hardware: FakeMachine
    config: Config
    node: Node | None = None
    starts: int = 0
    roles: tuple[str, ...] = ROLES
    """In its certificate; it offers all of them, whatever that says."""
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _ended: trio.Event = field(default_factory=trio.Event)
    _clients: dict[trio.CancelScope, None] = field(default_factory=dict)

    @property
    def up(self) -> Node:
        """The running Node; an AssertionError when the machine is down."""
        assert self.node is not None, f"{self.name} is down"
        return self.node


class World:
    """Machines on one MemoryNetwork. `async with world.running():` opens it."""

    def __init__(
        self,
        seed: int,
        names: Sequence[str],
        *,
        model: LinkModel | None = None,
        settings: Mapping[str, object] | None = None,
        labs: int = 3,
        admit: Callable[[PeerId, PeerId], None] | None = None,
    ) -> None:
        """`settings` are `section.key` values over profile `test`; machines take turns in labs.

        `admit` may refuse callers that are none of these machines, as MemoryNetwork's.
        """
        self.seed = seed
        self.rng = random.Random(f"world/{seed}")  # noqa: S311
        self.network = MemoryNetwork(
            random.Random(f"network/{seed}"),  # noqa: S311
            model or LinkModel(detect_s=3.0),
            admit=admit,
        )
        self._index = IndexTable()
        self._settings = {"node.profile": "test", **(settings or {})}
        self.machines: dict[str, SimMachine] = {
            name: self._machine(name, f"lab-{number % labs}") for number, name in enumerate(names)
        }
        self.guests: dict[PeerId, Caller] = {}
        """Members that are no machines of this world: tests speak for them."""
        self.vaults: dict[str, Vault] = {}
        """Persons' keys, by machine; machines without one keep no copy of their keyring."""
        self._nursery: trio.Nursery | None = None
        self.on_start: Callable[[str, Node], None] = lambda name, node: None
        """Told of every Node just started."""
        self.on_end: Callable[[str, Node], None] = lambda name, node: None
        """Told of every Node about to be ended by a fault."""

    def __getitem__(self, name: str) -> SimMachine:
        return self.machines[name]

    def _machine(self, name: str, lab: str) -> SimMachine:
        state, store = MemoryTables(), MemoryTables()
        return SimMachine(
            name=name,
            peer=PeerId(f"peer-{name}"),
            lab=LabId(lab),
            site=f"site-{name}",
            wall=VirtualWall(),
            state=state,
            store=store,
            shards=MemoryShardStore(store),
            executor=FakeExecutor(),
            hardware=FakeMachine(),
            config=load(NO_FILE, {}, self._settings),
        )

    @asynccontextmanager
    async def running(self, *, start: bool = True) -> AsyncIterator["World"]:
        """Run the network, and every machine unless told otherwise, until the block ends."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.network.run)
            if start:
                for name in self.machines:
                    await self.start(name)
            yield self
            nursery.cancel_scope.cancel()

    @contextmanager
    def client(self, name: str) -> Iterator[Node]:
        """Somebody who uses a machine's Node: cancelled when that Node ends."""
        machine = self.machines[name]
        node = machine.up
        with trio.CancelScope() as scope:
            machine._clients[scope] = None
            try:
                yield node
            finally:
                machine._clients.pop(scope, None)

    async def start(self, name: str) -> Node:
        """Boot a machine's Node; it knows the first two other machines as seeds."""
        assert self._nursery is not None
        machine = self.machines[name]
        assert machine.node is None, f"{name} is up already"
        machine.starts += 1
        machine._scope, machine._ended = trio.CancelScope(), trio.Event()
        await self._nursery.start(self._run, machine)
        self.on_start(name, machine.up)
        return machine.up

    async def _run(self, machine: SimMachine, task_status: trio.TaskStatus[None]) -> None:
        others = [one.peer for one in self.machines.values() if one is not machine]
        seeds = [memory_address(peer) for peer in others[:2]]
        try:
            with machine._scope:
                node = machine.node = Node(
                    machine.config, self._edges(machine), self._identity(machine), seeds
                )
                await node.run(task_status=task_status)
        finally:
            machine.node = None
            machine._ended.set()

    def _edges(self, machine: SimMachine) -> Edges:
        callers = {one.peer: self._caller(one) for one in self.machines.values()} | self.guests
        host = MemoryHost(self.network, machine.peer, callers[machine.peer])
        dice = random.Random(f"{self.seed}/{machine.name}/{machine.starts}")  # noqa: S311
        return Edges(
            network=NETWORK,
            host=host,
            index=MemoryIndex(host, self._index),
            state=machine.state,
            store=machine.store,
            shards=machine.shards,
            executor=machine.executor,
            machine=machine.hardware,
            signer=KeyedHashSigner(machine.peer, self.seed),
            rng=dice,
            entropy=dice.randbytes,
            wall_ms=machine.wall,
            workers=InlineWorkers(),
            proofs=KnownMachines(machine.peer, callers),
            book=AdmissionBook(Register(ANCHOR, KeyedHashSigner(machine.peer, self.seed))),
            vault=self.vaults.get(machine.name),
        )

    def _caller(self, machine: SimMachine) -> Caller:
        who = machine_of(machine.peer, machine.lab, self._identity(machine).person)
        return msgspec.structs.replace(
            who, name=machine.name, site=machine.site, roles=machine.roles
        )

    def _identity(self, machine: SimMachine) -> Identity:
        person = PersonId(f"member-{machine.lab}")
        return Identity(machine.name, machine.lab, machine.lab, person, machine.site, ROLES)

    def is_busy(self, name: str) -> bool:
        """Whether a task runs on a machine."""
        return any(view.exit is None for view in self.machines[name].executor.jobs())

    # -- faults

    async def kill(self, name: str) -> None:
        """kill -9 of the daemon: tasks run on, what was not committed is gone."""
        await self._end(self.machines[name])

    async def power_cut(self, name: str) -> None:
        """The machine goes dark: its tasks die, its peers notice only by silence."""
        machine = self.machines[name]
        self.network.crash(machine.peer, silent=True)
        await self._end(machine)
        machine.executor.power_cut()

    async def _end(self, machine: SimMachine) -> None:
        self.on_end(machine.name, machine.up)
        for scope in list(machine._clients):
            scope.cancel()
        machine._scope.cancel()
        await machine._ended.wait()
        machine.state.crash()
        machine.store.crash()
        machine.shards.crash()

    def lose_disk(self, name: str) -> None:
        """The disk of a machine that is down is gone for good."""
        machine = self.machines[name]
        assert machine.node is None, f"{name} is up"
        self.machines[name] = replace(
            self._machine(name, machine.lab), wall=machine.wall, starts=machine.starts
        )

    def fill_disk(self, name: str) -> None:
        """A machine's tables cannot grow, or (by dice) not even shrink, until `free_disk`."""
        machine, is_full = self.machines[name], self.rng.random() < 0.5
        for tables in (machine.state, machine.store):
            tables.capacity_bytes, tables.is_full = tables.used_bytes, is_full

    def free_disk(self, name: str) -> None:
        """Somebody made room."""
        machine = self.machines[name]
        for tables in (machine.state, machine.store):
            tables.capacity_bytes, tables.is_full = None, False

    def cut(self, left: Iterable[str], right: Iterable[str]) -> None:
        """Separate two groups of machines until `heal`."""
        self.network.cut(
            [self.machines[name].peer for name in left],
            [self.machines[name].peer for name in right],
        )

    def heal(self) -> None:
        """End all partitions."""
        self.network.heal()
