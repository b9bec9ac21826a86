"""A node that exists for the API's tests only."""

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Never, TypeVar

import trio
from msgspec.structs import replace

from p2p.identity.keys import KeySigner
from p2p.ids import PeerId
from storage.engine.memory_tables import MemoryTables
from storage.facade import Forgotten
from storage.ids import Address
from storage.objects.keyring import Keyring
from swarmnode.api.app import build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.paths import all_routes
from swarmnode.api.schema.node import (
    ComputeStatus,
    MemberLine,
    PeerLine,
    PhraseShown,
    RemovalDone,
    Status,
    StorageStatus,
)
from swarmnode.api.server.service import ApiServer
from swarmnode.environments.records import EnvironmentRow
from swarmnode.errors import EnvironmentDamagedError, RecoveryRefusedError, SubjectUnknownError
from swarmnode.home.config import Config
from swarmnode.market.explain import TaskView
from swarmnode.people.book import People
from swarmnode.people.seals import Seals
from swarmnode.people.secrets import SecretStore
from swarmnode.people.unlocking import Unlocking
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.ids import TaskId
from testnet.sim.memory_objects import MemoryObjects, Pool
from tests.fake_market import ADA, BOB, FakeMarket

ResultT = TypeVar("ResultT")


class FakeEstate:
    """Nothing is ever behind."""

    def __init__(self) -> None:
        self.claimed: list[Address] = []
        self.logs: dict[TaskId, int] = {}
        """Objects that hold the log of a task alone."""

    async def settled(self) -> None:
        await trio.lowlevel.checkpoint()

    def claim(self, address: Address) -> None:
        self.claimed.append(address)

    async def bring_log(self, task: TaskId) -> None:
        await trio.lowlevel.checkpoint()

    async def forget_log(self, task: TaskId) -> int:
        await trio.lowlevel.checkpoint()
        return self.logs.pop(task, 0)


class FakeHousehold:
    """Nobody, at first."""

    def __init__(self, tables: MemoryTables) -> None:
        self.people = People(tables, lambda: 0)
        self.seals = Seals(self.people, os.urandom)
        self.secrets = SecretStore(tables, self.seals, KeySigner.from_seed(bytes(32)), lambda: 0)
        self.unlocking = Unlocking(self.people, self.seals, Keyring(tables), tables)


class FakeEnvironments:
    """None is known."""

    listed: frozenset[Address] = frozenset()
    builder = PeerId("")

    def all(self, person: str = "") -> Sequence[EnvironmentRow]:
        return ()

    def warm(self, name: str) -> tuple[PeerId, ...]:
        return ()

    def addresses(self) -> frozenset[Address]:
        return self.listed

    async def find(self, key: bytes, source: str, person: str = "") -> EnvironmentRow | PeerId:
        return self.builder

    async def take_in(
        self,
        key: bytes,
        source: str,
        left: Sequence[StoredFile],
        *,
        is_private: bool,
        person: str = "",
    ) -> EnvironmentRow:
        raise EnvironmentDamagedError("the build left no environment with a record")

    async def forget(self, key: bytes, person: str = "") -> EnvironmentRow | None:
        return None


class FakeNode:
    """A node whose pool is this machine's memory."""

    def __init__(self) -> None:
        self.market = FakeMarket()
        self.objects = MemoryObjects(Pool(), ADA)
        self.estate = FakeEstate()
        self.tables = MemoryTables()
        self.config = Config()
        self.household = FakeHousehold(self.tables)
        self.environments = FakeEnvironments()
        self.removed_as_lab: list[tuple[Address, str]] = []
        self.cancelled_as_lab: list[tuple[TaskId, str]] = []
        self.reasons: tuple[str, ...] = ()

    @property
    def names(self) -> Never:
        raise NotImplementedError

    @property
    def taken_over_ms(self) -> int:
        return 0

    @property
    def pause_grace_s(self) -> float:
        return 4.5

    def not_ready(self) -> tuple[str, ...]:
        return self.reasons

    def status(self, person: str = "") -> Status:
        storage = StorageStatus(1, 2, 3, 4, 5, 6)
        warnings = (f"of {person}\n",) if person else ()
        compute = ComputeStatus(True, False, 4000, 2000, 8, 4, (), 1, ("torch",), {})
        return Status(
            v=1, state="ready", warnings=warnings, peer=ADA, name="ada", lab="lab", network="net",
            version="0", profile="test", pid=1, uptime_s=2.0, join_step="joined",
            join_failures=(), members_alive=3, members_suspect=1, members_dead=0, addresses=(),
            storage=storage, compute=compute, counters={"re_auctions": 2},
        )  # fmt: skip

    def people_lines(self) -> tuple[MemberLine, ...]:
        return (MemberLine("12D3ann", "ann", "12D3lab", "physics", "member"),)

    async def remove_from_network(self, who: str, *, with_invited: bool) -> RemovalDone:
        await trio.lowlevel.checkpoint()
        if who != "bob":
            raise SubjectUnknownError(f"nobody {who!r}")
        return RemovalDone(True, "12D3bob", who, "person", ("carol",) if with_invited else ())

    async def phrase_by_lab(self, who: str) -> PhraseShown:
        await trio.lowlevel.checkpoint()
        if who != "bob":
            raise RecoveryRefusedError(f"{who} has not let this lab's key bring them back")
        return PhraseShown("12D3bob", who, "zoo " * 24)

    async def remove_as_lab(self, address: Address, reason: str) -> Forgotten:
        await trio.lowlevel.checkpoint()
        self.removed_as_lab.append((address, reason))
        return Forgotten((ADA, BOB), (BOB,))

    async def cancel_as_lab(self, task: TaskId, reason: str) -> TaskView:
        self.cancelled_as_lab.append((task, reason))
        return await self.market.own_machines.elsewhere.find(task, cancel=True)

    def peer_lines(self) -> tuple[PeerLine, ...]:
        ada = PeerLine(ADA, "ada", "lab", "site", "alive", True, True, 0.0, ())
        return (replace(ada, environments=("torch",)),)

    async def ping(self, peer: PeerId, count: int) -> tuple[float, ...]:
        await trio.lowlevel.checkpoint()
        return (1.5,) * count

    async def join_through(self, address: str) -> PeerId:
        await trio.lowlevel.checkpoint()
        return BOB


class ServedNode:
    """A FakeNode whose API is served on a unix socket by a thread of its own."""

    def __init__(self, token: trio.lowlevel.TrioToken, node: FakeNode) -> None:
        self.token = token
        self.node = node

    def do(self, act: Callable[[FakeMarket], ResultT]) -> ResultT:
        """Let something happen in the node."""
        return trio.from_thread.run_sync(act, self.node.market, trio_token=self.token)


@contextmanager
def served_node(socket: Path) -> Iterator[ServedNode]:
    """Serve until the block ends."""
    ready: queue.Queue[tuple[ServedNode, trio.CancelScope]] = queue.Queue()

    async def serve() -> None:
        node = FakeNode()
        hub = EventHub(node.market.buyer.events, "b00t")
        app = build_app(all_routes(node, hub))
        async with trio.open_nursery() as nursery:
            await nursery.start(ApiServer(app, socket, services=(hub.run,)).run)
            served = ServedNode(trio.lowlevel.current_trio_token(), node)
            ready.put((served, nursery.cancel_scope))

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        served, scope = ready.get(timeout=20)
        try:
            yield served
        finally:
            served.do(lambda _market: scope.cancel())
    finally:
        thread.join(20)
        assert not thread.is_alive()
