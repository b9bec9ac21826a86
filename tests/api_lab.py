"""A node that exists for the API's tests only."""

import os
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Never, TypeVar

import msgspec
import trio

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
from swarmnode.errors import MemberUnknownError, RecoveryRefusedError, TaskUnknownError
from swarmnode.home.config import Config
from swarmnode.market.buyer.own_machines.hand_over import RemovedElsewhere
from swarmnode.market.explain import Explanation, TaskEvent, TaskView
from swarmnode.market.guardians.kept import Guarded
from swarmnode.people.book import People
from swarmnode.people.seals import Seals
from swarmnode.people.unlocking import Unlocking
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.messages import FilesTold, Phase
from swarmnode.tasks.records import AttemptRecord, BidRecord, Outcome, RoundRecord, TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.memory_objects import MemoryObjects, Pool

ResultT = TypeVar("ResultT")

ADA, BOB = PeerId("12D3ada"), PeerId("12D3bob")
ROUND = RoundRecord(
    number=1,
    opened_ms=1000,
    window_ms=200,
    outcome="awarded",
    bids=(
        BidRecord(ADA, "held", 0, 150, (("price", 100), ("eta", 50)), "", won=True),
        BidRecord(BOB, "refused", reason="capacity"),
    ),
    unfit=((PeerId("12D3cy"), "no GPU"),),
)


class FakeMarket:
    """Does what the test says; the log of a task is whatever the test puts there."""

    def __init__(self) -> None:
        self.views: dict[TaskId, TaskView] = {}
        self.others: dict[TaskId, TaskView] = {}
        """Submitted on other machines of this owner."""
        self.printed: dict[TaskId, dict[str, bytearray]] = {}
        self.running_files: tuple[StoredFile, ...] = ()
        """Outputs of a task that runs."""
        self.guards = Guarded((BOB,), 1)
        self.removed = RemovedElsewhere((), ())
        """What comes of removing a task at other machines."""
        self.paused: list[float | None] = []
        self.reading = 0
        """Log readers that have not ended."""
        self.on_submit: Callable[[TaskId], None] = lambda _task: None
        """What happens to a task at once."""
        self._changed = trio.Event()
        self._events: list[trio.MemorySendChannel[TaskEvent]] = []

    async def submit(self, spec: TaskSpec, person: str = "", *, detached: bool = False) -> TaskId:
        await trio.lowlevel.checkpoint()
        task = TaskId(f"t{len(self.views) + 1}")
        self.printed[task] = {"stdout": bytearray(), "stderr": bytearray()}
        self._set(TaskView(TaskRecord(task, spec, 1000, person=person)), "submitted")
        self.on_submit(task)
        return task

    async def guarded(self, task: TaskId) -> Guarded:
        await trio.lowlevel.checkpoint()
        return self.guards

    def start(self, task: TaskId, provider: PeerId = ADA) -> None:
        """A provider begins."""
        record = self.views[task].record
        attempt = AttemptRecord(1, provider, 1100, accepted_ms=1200)
        running = msgspec.structs.replace(
            record, state=TaskState.RUNNING, provider=provider, fence=1, attempts=(attempt,)
        )
        self._set(TaskView(running, Phase.RUNNING), "accepted")

    def prints(self, task: TaskId, text: str, stream: str = "stdout") -> None:
        self.printed[task][stream] += text.encode()
        self._stir()

    def finish(
        self, task: TaskId, outcome: Outcome | None = None, state: TaskState = TaskState.DONE
    ) -> None:
        """The task ends."""
        ended = outcome or Outcome("done", 0, "exit")
        record = msgspec.structs.replace(
            self.views[task].record, state=state, outcome=ended, ended_ms=2000
        )
        self._set(TaskView(record), "finished")

    def _set(self, view: TaskView, fact: str) -> None:
        self.views[view.task] = view
        change = TaskChanged(view.task, 1000, fact, view.state, view.record.provider)
        for channel in self._events:
            channel.send_nowait(change)
        self._stir()

    def _stir(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def tasks(self) -> Sequence[TaskView]:
        return tuple(self.views.values())

    def task(self, task: TaskId) -> TaskView:
        if task not in self.views:
            raise TaskUnknownError(f"no task {task} was submitted here")
        return self.views[task]

    async def wait(self, task: TaskId) -> TaskView:
        while not self.task(task).has_ended:
            await self._changed.wait()
        return self.task(task)

    async def cancel(self, task: TaskId) -> TaskView:
        await trio.lowlevel.checkpoint()
        if not self.task(task).has_ended:
            self.finish(task, Outcome("stopped", 143, "killed"), TaskState.CANCELLED)
        return self.task(task)

    async def elsewhere(self, task: TaskId, *, cancel: bool = False) -> TaskView:
        await trio.lowlevel.checkpoint()
        if task not in self.others:
            raise TaskUnknownError(f"no task {task} was submitted here")
        if cancel and not self.others[task].has_ended:
            record = self.others[task].record
            ended = msgspec.structs.replace(record, state=TaskState.CANCELLED, ended_ms=2000)
            self.others[task] = TaskView(ended)
        return self.others[task]

    async def files_now(self, task: TaskId) -> FilesTold:
        await trio.lowlevel.checkpoint()
        return FilesTold(self.running_files, "one changed while it was read")

    def moved(self, text: str) -> Mapping[TaskId, PeerId]:
        return {
            task: view.record.owner
            for task, view in self.others.items()
            if text in (task, view.record.spec.name)
        }

    async def remove_elsewhere(self, task: TaskId) -> RemovedElsewhere:
        await trio.lowlevel.checkpoint()
        self.others.pop(task, None)
        return self.removed

    async def forget(self, task: TaskId) -> None:
        await trio.lowlevel.checkpoint()
        del self.views[task]

    def explain(self, task: TaskId) -> Explanation:
        return Explanation(self.task(task), (ROUND,))

    async def dry_run(self, spec: TaskSpec) -> Explanation:
        await trio.lowlevel.checkpoint()
        return Explanation(TaskView(TaskRecord(TaskId(""), spec, 1000)), (ROUND,))

    async def logs(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncIterator[bytes]:
        at = 0
        self.reading += 1
        try:
            while True:
                printed = self.printed[task][stream]
                if len(printed) > at:
                    piece = bytes(printed[at:])
                    at += len(piece)
                    yield piece
                elif self.task(task).state in TASK_ENDS or not follow:
                    return
                else:
                    await self._changed.wait()
        finally:
            self.reading -= 1

    async def logs_elsewhere(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield f"{stream} of {task}".encode()

    async def pause(self, *, grace_s: float) -> None:
        await trio.lowlevel.checkpoint()
        self.paused.append(grace_s)

    async def resume(self) -> None:
        await trio.lowlevel.checkpoint()
        self.paused.append(None)

    async def events(self) -> AsyncIterator[TaskEvent]:
        send, receive = trio.open_memory_channel[TaskEvent](100)
        self._events.append(send)
        async with receive:
            async for event in receive:
                yield event


class FakeEstate:
    """Nothing is ever behind."""

    def __init__(self) -> None:
        self.claimed: list[Address] = []

    async def settled(self) -> None:
        await trio.lowlevel.checkpoint()

    def claim(self, address: Address) -> None:
        self.claimed.append(address)

    async def bring_log(self, task: TaskId) -> None:
        await trio.lowlevel.checkpoint()


class FakeNode:
    """A node whose pool is this machine's memory."""

    def __init__(self) -> None:
        self.market = FakeMarket()
        self.objects = MemoryObjects(Pool(), ADA)
        self.estate = FakeEstate()
        self.tables = MemoryTables()
        self.config = Config()
        self.people = People(self.tables, lambda: 0)
        self.seals = Seals(self.people, os.urandom)
        self.unlocking = Unlocking(self.people, self.seals, Keyring(self.tables), self.tables)
        self.removed_as_lab: list[tuple[Address, str]] = []
        self.cancelled_as_lab: list[tuple[TaskId, str]] = []
        self.reasons: tuple[str, ...] = ()

    @property
    def names(self) -> Never:
        raise NotImplementedError

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

    def member_lines(self) -> tuple[MemberLine, ...]:
        return (MemberLine("12D3ann", "ann", "12D3lab", "physics", "member"),)

    async def remove_member(self, who: str, *, with_invited: bool) -> RemovalDone:
        await trio.lowlevel.checkpoint()
        if who != "bob":
            raise MemberUnknownError(f"nobody {who!r}")
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
        return await self.market.elsewhere(task, cancel=True)

    def peer_lines(self) -> tuple[PeerLine, ...]:
        return (PeerLine(ADA, "ada", "lab", "site", "alive", True, True, 0.0, ()),)

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
        hub = EventHub(node.market.events, "b00t")
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
