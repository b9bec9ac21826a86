"""A buyer core on a desk: events in, effects performed on a pretended disk, messages kept."""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from p2p.effects import Notify, Persist, Send, WakeAt
from p2p.ids import NetworkId, PeerId
from p2p.membership.view import Liveness
from p2p.wire.codec import Message, decode_as
from p2p.wire.envelope import open_signed, seal
from swarmnode.limits import TASK_RECORD_BYTES_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.core import Buyer
from swarmnode.market.buyer.invariants import check_invariants
from swarmnode.market.messages import (
    AWARD_DOMAIN,
    Accept,
    Award,
    AwardTerms,
    Bid,
    BidKind,
    CallForBids,
)
from swarmnode.resources.advert import GpuLine, ResourceAdvert
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import RESULT_DOMAIN, Phase, Result, ResultTerms, State
from swarmnode.tasks.records import Outcome, RoundRecord, TaskRecord
from swarmnode.tasks.spec import Repeatability, TaskSpec
from swarmnode.tasks.store import ROUNDS, TASKS
from testnet.sim.signer import KeyedHashSigner

NETWORK = NetworkId("net")
ALICE, BOB, CAROL, DAVE = (PeerId(name) for name in ("alice", "bob", "carol", "dave"))
TASK = TaskId("a" * 16)
SPEC = TaskSpec(("true",))
GIB = 1024**3
ADVERT = ResourceAdvert(
    lends=True,
    paused=False,
    cpu_millis=4000,
    cpu_free_millis=4000,
    memory_bytes=8 * GIB,
    memory_free_bytes=8 * GIB,
    disk_bytes=100 * GIB,
    disk_free_bytes=100 * GIB,
    gpus=(GpuLine("gpu-1", "NVIDIA A100", 40 * GIB, "550", "12.4", "8.0", True),),
    environments=("torch",),
    enforced=("memory", "wall"),
    tasks_free=4,
)
BUSY = msgspec.structs.replace(ADVERT, cpu_free_millis=0, tasks_free=0)
DONE = Outcome("done", 0, "exit")
STOPPED = Outcome("stopped", -1, "paused")
ONCE = TaskSpec(("true",), effects=Repeatability.ONCE)
MessageT = TypeVar("MessageT", bound=Message)


@dataclass(slots=True)
class Desk:
    """One buyer, alice, with its disk; time passes only by `run_for`."""

    config: BuyerConfig = field(default_factory=BuyerConfig)
    seed: int = 0
    now_s: float = 100.0
    disk: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    sent: list[Send] = field(default_factory=list)
    told: list[object] = field(default_factory=list)
    timers: list[tuple[float, int, e.Event]] = field(default_factory=list)
    timers_set: int = 0
    buyer: Buyer = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + round(self.now_s * 1000)

    def restart(self) -> None:
        """Crash and come back with what was persisted."""
        signer, rng = KeyedHashSigner(ALICE), random.Random(self.seed)
        self.buyer = Buyer(self.config, signer, NETWORK, rng, self.wall_ms)
        self.timers.clear()
        self.sent.clear()
        self.do(e.TasksLoaded(self.records()))

    def records(self) -> list[TaskRecord]:
        raw = [value for (table, _), value in sorted(self.disk.items()) if table == TASKS]
        return [decode_as(TaskRecord, one, TASK_RECORD_BYTES_MAX) for one in raw]

    def rounds(self) -> list[RoundRecord]:
        raw = [value for (table, _), value in sorted(self.disk.items()) if table == ROUNDS]
        return [decode_as(RoundRecord, one, TASK_RECORD_BYTES_MAX) for one in raw]

    def record(self, task: TaskId = TASK) -> TaskRecord:
        """As it is on disk, which is as it is in memory."""
        found = next(one for one in self.records() if one.task == task)
        assert self.buyer.ledger.get(task) == found
        return found

    def do(self, *events: e.Event) -> None:
        for event in events:
            effects = self.buyer.handle(event, self.now_s)
            check_invariants(self.buyer)
            self.perform(effects)

    def perform(self, effects: Sequence[e.Effect]) -> None:
        for effect in effects:
            match effect:
                case Persist(table, key, None):
                    self.disk.pop((table, key), None)
                case Persist(table, key, bytes() as value):
                    self.disk[table, key] = value
                case Send():
                    self.sent.append(effect)
                case Notify(event):
                    self.told.append(event)
                case WakeAt(deadline_s, timer):
                    self.timers_set += 1
                    heapq.heappush(self.timers, (deadline_s, self.timers_set, timer))
                case _:
                    raise AssertionError(effect)

    def run_for(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.timers and self.timers[0][0] <= until_s:
            self.now_s, _, timer = heapq.heappop(self.timers)
            self.do(timer)
        self.now_s = until_s

    def know(self, *peers: PeerId, advert: ResourceAdvert = ADVERT) -> None:
        for peer in peers:
            self.do(e.MemberStands(peer, Liveness.ALIVE), e.Advertised(peer, advert))

    def hear(self, peer: PeerId, message: e.BuyerMessage) -> None:
        self.do(e.MessageHeard(peer, message))

    def submit(self, spec: TaskSpec = SPEC, task: TaskId = TASK) -> None:
        self.do(e.Submitted(TaskRecord(task, spec, self.wall_ms())))

    def take(self, kind: type[MessageT]) -> list[tuple[PeerId, MessageT]]:
        """Messages of one kind sent since the last look; the others stay."""
        found = [(one.peer, one.message) for one in self.sent if isinstance(one.message, kind)]
        self.sent = [one for one in self.sent if not isinstance(one.message, kind)]
        return found

    def calls(self) -> dict[PeerId, int]:
        """Who was called since the last look, with the auction's number."""
        return {peer: call.auction for peer, call in self.take(CallForBids)}

    def awards(self) -> list[AwardTerms]:
        """Awards since the last look, opened as their seller opens them."""
        return [
            open_signed(KeyedHashSigner(peer), NETWORK, AWARD_DOMAIN, AwardTerms, award.sealed)
            for peer, award in self.take(Award)
        ]

    def awarded(self, peer: PeerId = BOB, spec: TaskSpec = SPEC) -> AwardTerms:
        """Let one machine win the task; the award is on its way."""
        self.know(peer)
        if TASK not in self.buyer.ledger:
            self.submit(spec)
        self.run_for(0)
        auction = self.calls()[peer]
        self.hear(peer, held(auction))
        return self.awards()[-1]

    def running(self, peer: PeerId = BOB, spec: TaskSpec = SPEC) -> AwardTerms:
        """The same, and it accepted."""
        terms = self.awarded(peer, spec)
        self.hear(peer, Accept(terms.task, terms.fence))
        return terms


def held(auction: int, eta_ms: int = 0, waste_micro: int = 0, bid: int = 7) -> Bid:
    return Bid(auction, bid, BidKind.HELD, 3000, eta_ms, 0, waste_micro)


def queued(auction: int) -> Bid:
    return Bid(auction, 0, BidKind.QUEUED, eta_ms=5000)


def refused(auction: int, reason: str = "paused") -> Bid:
    return Bid(auction, 0, BidKind.REFUSED, reason=reason, detail="its owner has paused it")


def beat(terms: AwardTerms, phase: Phase = Phase.RUNNING) -> State:
    return State(terms.task, terms.fence, phase)


def result(
    terms: AwardTerms,
    outcome: Outcome = DONE,
    checkpoint: CheckpointRecord | None = None,
    signer: PeerId | None = None,
    buyer: PeerId = ALICE,
) -> Result:
    made = ResultTerms(terms.task, terms.fence, buyer, outcome, checkpoint)
    who = KeyedHashSigner(terms.seller if signer is None else signer)
    fence = terms.fence
    return Result(seal(who, NETWORK, RESULT_DOMAIN, made, sequence=fence, expires_ms=2**60))
