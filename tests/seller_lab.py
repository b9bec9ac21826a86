"""A seller that can be killed and started again, and alice, a buyer who keeps to the protocol."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import trio
from msgspec import Struct

from p2p.errors import RefusalError
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership.view import Liveness, Member, MemberChanged, View
from p2p.mesh import Mesh
from p2p.wire.codec import Message
from p2p.wire.envelope import open_signed, seal
from p2p.workers import InlineWorkers
from storage.engine.memory_tables import MemoryTables
from storage.manifests.capability import parse_cap, text_of_cap
from swarmnode.datasets.service import DatasetService
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.fake.programs import Process, Run
from swarmnode.executor.port import JobId
from swarmnode.market.guardians.messages import CLAIM_DOMAIN, Claim, ClaimTerms
from swarmnode.market.messages import (
    AWARD_DOMAIN,
    Accept,
    Award,
    AwardTerms,
    Bid,
    BidKind,
    CallForBids,
    Decline,
    Release,
)
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.premises import Premises
from swarmnode.market.seller.service import SellerService, SellerServiceConfig
from swarmnode.memory.service import MemoryService
from swarmnode.resources.fake import FakeMachine
from swarmnode.tasks.checkpoint import CheckpointRecord, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    RESULT_DOMAIN,
    Checkpointed,
    LogTaken,
    PreemptNotice,
    PushLog,
    ReceiptTerms,
    Renew,
    Result,
    ResultReceipt,
    ResultTerms,
    State,
)
from swarmnode.tasks.spec import CheckpointSpec, Shape, TaskSpec
from swarmnode.tasks.store import JOBS
from testnet.sim.callers import machine_of
from testnet.sim.clock import VirtualWall
from testnet.sim.memory_objects import MemoryNames, MemoryObjects, Pool
from testnet.sim.signer import KeyedHashSigner
from tests.market_lab import Board

T = TypeVar("T")
NETWORK = NetworkId("net")
ALICE, BOB = PeerId("alice"), PeerId("bob")
FOREVER_MS = 2**60
TASK = TaskId("a" * 16)
MIB = 1024 * 1024
CHECKPOINTS = CheckpointSpec("checkpoint", every_ms=1000)
TERMS = SellerConfig(lease_s=15, lease_renew_s=5, orphan_grace_s=60)


class Everybody:
    """Alice and bob are of one lab."""

    def view(self) -> View:
        def member(peer: PeerId) -> Member:
            return Member(peer, Liveness.ALIVE, 1, (), peer, LabId("lab"), "", 0.0)

        return View(BOB, (member(ALICE), member(BOB)))

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None:
        """Nothing does."""


@dataclass
class Stream:
    """One log at alice."""

    data: bytes = b""
    pushes: int = 0


class Alice:
    """Calls, awards, renews, takes logs and gives receipts."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc
        self.signer = KeyedHashSigner(ALICE)
        self.heard: list[Struct] = []
        self.logs: dict[tuple[str, int, str], Stream] = {}
        self.follows = False
        self.takes_logs = True
        self.gives_receipts = True
        self.renewed: dict[tuple[TaskId, int], int] = {}
        """Attempts that are wanted, with the newest step known."""
        self._auction = 0
        self._news = trio.Event()
        for kind in (Bid, Accept, Decline, State, PreemptNotice):
            rpc.listen(kind, self._on_message)
        rpc.listen(Checkpointed, self._on_checkpointed)
        rpc.listen(Result, self._on_result)
        rpc.serve(PushLog, self._on_push_log)

    async def renew_forever(self) -> None:
        while True:
            for (task, fence), step in list(self.renewed.items()):
                self.rpc.cast(BOB, Renew(task, fence, step))
            await trio.sleep(5)

    async def bid_for(self, spec: TaskSpec) -> Bid:
        """One call, repeated while bob does not answer."""
        self._auction += 1
        auction = self._auction
        call = CallForBids(
            auction, spec.shape, spec.env, spec.enforce, spec.priority_class, 5, 2000
        )
        while True:
            self.rpc.cast(BOB, call)
            with trio.move_on_after(1):
                return await self.until(Bid, lambda bid: bid.auction == auction)

    async def award(
        self, spec: TaskSpec, task: TaskId, fence: int = 1, restore: CheckpointRecord | None = None
    ) -> Message:
        """From the call to bob's Accept or Decline."""
        bid = await self.bid_for(spec)
        assert bid.kind is BidKind.HELD, bid
        self.renewed[task, fence] = restore.step if restore else 0
        message = self.award_message(AwardTerms(task, fence, BOB, bid.bid, spec, restore))
        while True:
            self.rpc.cast(BOB, message)
            with trio.move_on_after(1):
                return await self.until(
                    Message,
                    lambda m: (
                        isinstance(m, Accept | Decline) and (m.task, m.fence) == (task, fence)
                    ),
                )

    def award_message(self, terms: AwardTerms) -> Award:
        sealed = seal(
            self.signer,
            NETWORK,
            AWARD_DOMAIN,
            terms,
            sequence=terms.fence,
            expires_ms=FOREVER_MS,
        )
        return Award(sealed)

    def claim(self, key: bytes, task: TaskId, term: int, fence: int = 1) -> None:
        """That we act for a task, whose key that is, from now on."""
        terms = ClaimTerms(task, fence, self.rpc.peer_id, term)
        signer = self.signer.from_seed(key)
        sealed = seal(
            signer, NETWORK, CLAIM_DOMAIN, terms, sequence=term, expires_ms=FOREVER_MS
        )  # fmt: skip
        self.rpc.cast(BOB, Claim(sealed))

    def release(self, auction: int) -> None:
        self.rpc.cast(BOB, Release(auction))

    async def result(self, task: TaskId, fence: int = 1) -> ResultTerms:
        """How an attempt ended."""
        return await self.until(ResultTerms, lambda r: (r.task, r.fence) == (task, fence))

    async def until(self, kind: type[T], wanted: Callable[[T], bool] = lambda _: True) -> T:
        """The first message heard of a kind that is wanted, now or later."""
        while True:
            for message in self.heard:
                if isinstance(message, kind) and wanted(message):
                    return message
            await self._news.wait()

    def log(self, task: TaskId, fence: int = 1, stream: str = "stdout") -> bytes:
        return self.logs.get((task, fence, stream), Stream()).data

    def _on_message(self, _caller: Caller, message: Struct) -> None:
        self.heard.append(message)
        self._news.set()
        self._news = trio.Event()

    def _on_checkpointed(self, caller: Caller, message: Checkpointed) -> None:
        self.renewed[message.task, message.fence] = message.checkpoint.step
        self._on_message(caller, message)

    def _on_result(self, caller: Caller, message: Result) -> None:
        terms = open_signed(self.signer, NETWORK, RESULT_DOMAIN, ResultTerms, message.sealed)
        self._on_message(caller, terms)
        if self.gives_receipts:
            self.renewed.pop((terms.task, terms.fence), None)
            receipt = ReceiptTerms(terms.task, terms.fence, BOB)
            sealed = seal(
                self.signer,
                NETWORK,
                RECEIPT_DOMAIN,
                receipt,
                sequence=terms.fence,
                expires_ms=FOREVER_MS,
            )
            self.rpc.cast(BOB, ResultReceipt(sealed))

    async def _on_push_log(
        self, _caller: Caller, push: PushLog, body: bytes
    ) -> tuple[Message, bytes]:
        await trio.lowlevel.checkpoint()
        if not self.takes_logs:
            raise RefusalError("busy", "later")
        stream = self.logs.setdefault((push.task, push.fence, push.stream), Stream())
        stream.pushes += 1
        if push.offset == len(stream.data):
            stream.data += body
        return LogTaken(len(stream.data), self.follows), b""


@dataclass
class SellerLab:
    """Bob's disk, machine and executor, which outlive his node; the network and alice."""

    terms: SellerConfig = TERMS
    executor: FakeExecutor | None = None
    seed: int = 0
    pool: Pool = field(default_factory=Pool)
    machine: FakeMachine = field(default_factory=FakeMachine)

    def __post_init__(self) -> None:
        self.wall = VirtualWall()
        self.dice = random.Random(self.seed)
        self.tables = MemoryTables(commit_s=0.002)
        self.network = MemoryNetwork(random.Random(self.seed), LinkModel())
        self.bobs_executor = self.executor or FakeExecutor(wall_ms=self.wall)
        self.objects = MemoryObjects(self.pool, BOB, self.wall)
        self.alices_objects = MemoryObjects(self.pool, ALICE, self.wall)
        self._node = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self.gone = trio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Alice]:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.network.run)
            host = MemoryHost(self.network, ALICE, machine_of(ALICE))
            host.learn(BOB, [memory_address(BOB)])
            self.alice = Alice(Rpc(host))
            await nursery.start(self.alice.rpc.run)
            await nursery.start(host.run)
            nursery.start_soon(self.alice.renew_forever)
            await self.start_bob()
            with trio.fail_after(2000):
                yield self.alice
            nursery.cancel_scope.cancel()

    async def another(self, name: PeerId) -> Alice:
        """A buyer of another machine."""
        assert self._nursery is not None
        host = MemoryHost(self.network, name, machine_of(name))
        host.learn(BOB, [memory_address(BOB)])
        buyer = Alice(Rpc(host))
        buyer.signer = KeyedHashSigner(name)
        await self._nursery.start(buyer.rpc.run)
        await self._nursery.start(host.run)
        return buyer

    async def start_bob(self) -> None:
        """Bob's node, over what his machine still has."""
        assert self._nursery is not None
        self.gone = trio.Event()
        self._node = trio.CancelScope()
        await self._nursery.start(self._run_bob, self._node)

    async def kill_bob(self) -> None:
        """His node, not his machine: tasks go on."""
        self._node.cancel()
        await self.gone.wait()
        self.tables.crash()

    async def _run_bob(
        self,
        scope: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        host = MemoryHost(self.network, BOB, machine_of(BOB))
        host.learn(ALICE, [memory_address(ALICE)])
        rpc = Rpc(host)
        executor = self.bobs_executor
        memory = MemoryService(
            executor,
            self.objects,
            MemoryNames(self.pool, BOB),
            workers=InlineWorkers(),
            wall_ms=self.wall,
        )
        self.bob = SellerService(
            SellerServiceConfig(self.terms),
            Mesh(
                rpc,
                Everybody(),
                Board(),
                KeyedHashSigner(BOB),
                NETWORK,
                self.dice,
                self.dice.randbytes,
                self.wall,
            ),
            Premises(
                executor,
                self.machine,
                self.tables,
                self.objects,
                memory,
                DatasetService(executor, self.objects, InlineWorkers(), None),
            ),
        )
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(executor.run)
                    await nursery.start(rpc.run)
                    await nursery.start(host.run)
                    await nursery.start(self.bob.run)
                    task_status.started()
        finally:
            self.gone.set()

    async def put(self, data: bytes) -> str:
        """An object of alice's, as a capability."""

        async def once() -> AsyncIterator[bytes]:
            yield data

        return text_of_cap((await self.alices_objects.put(once())).cap)

    async def bytes_of(self, file: StoredFile) -> bytes:
        return b"".join([part async for part in self.objects.get(parse_cap(file.cap))])

    def job_ids(self) -> list[JobId]:
        return [view.job for view in self.bobs_executor.jobs()]


def task(*run: str, **changes: object) -> TaskSpec:
    values: dict[str, object] = {"shape": Shape(1000, 64 * MIB, 64 * MIB), **changes}
    return TaskSpec(run, **values)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    """Looks ten times a (virtual) second: some things that happen tell nobody."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.1)


async def until_settled(lab: SellerLab) -> None:
    """Everything of the job is gone at bob's."""
    await until(lambda: not lab.tables.scan(JOBS) and not lab.job_ids())


def chatty(process: Process, _arguments: object) -> Run:
    for line in range(200):
        process.say(f"line {line}")
        process.say(f"warning {line}", "stderr")
        yield 0.05
    return 0


WHOLE_LOG = b"".join(b"line %d\n" % line for line in range(200))


def chatty_lab(seed: int = 0) -> SellerLab:
    return SellerLab(executor=FakeExecutor(programs={"chatty": chatty}), seed=seed)
