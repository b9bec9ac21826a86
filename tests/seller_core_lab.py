"""One seller on the bench: calls, awards, and what it answers."""

import random
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from p2p.effects import Notify, Send, WakeAt
from p2p.ids import LabId, PeerId
from swarmnode.market.messages import AwardTerms, Bid, CallForBids
from swarmnode.market.run import events as run_events
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.core import Seller
from swarmnode.market.seller.room import Capacity, Fitness, GpuRoom
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import Outcome
from swarmnode.tasks.spec import PriorityClass, Shape, TaskSpec

T = TypeVar("T")
MIB = 1024**2
ALICE, BOB, CAROL, MALLORY = (PeerId(name) for name in ("alice", "bob", "carol", "mallory"))
LAB, OTHER_LAB = LabId("lab"), LabId("other lab")
TASK = TaskId("a" * 16)
SMALL = Shape(cpu_millis=1000, memory_bytes=256 * MIB, disk_bytes=MIB)
PLAIN = SellerConfig()
DONE = Outcome("done", 0, "exit")
MACHINE = Capacity(
    cpu_millis=4000,
    memory_bytes=4096 * MIB,
    disk_bytes=1024 * MIB,
    gpus=(GpuRoom("gpu-big", "Tesla V100", 32), GpuRoom("gpu-small", "Tesla T4", 16)),
)


def survey(capacity: Capacity = MACHINE, trouble: str = "") -> e.Surveyed:
    return e.Surveyed(capacity, Fitness(("torch",), ("memory", "pids"), trouble))


def idle(config: SellerConfig = PLAIN, seed: int = 0) -> Seller:
    made = Seller(config, BOB, random.Random(seed), lambda: 1_000)
    made.handle(survey(), 0.0)
    return made


def call(auction: int = 1, shape: Shape = SMALL, **changes: object) -> CallForBids:
    plain = CallForBids(auction, shape, "", (), PriorityClass.BATCH, 5, 2000)
    return msgspec.structs.replace(plain, **changes)


def heard(asked: CallForBids, peer: PeerId = ALICE, lab: LabId = LAB) -> e.CallHeard:
    return e.CallHeard(peer, lab, lab == LAB, asked)


def sent(effects: Iterable[e.Effect], kind: type[T]) -> list[T]:
    return [f.message for f in effects if isinstance(f, Send) and isinstance(f.message, kind)]


def told(effects: Iterable[e.Effect], kind: type[T]) -> list[T]:
    return [f.event for f in effects if isinstance(f, Notify) and isinstance(f.event, kind)]


def only(found: list[T]) -> T:
    assert len(found) == 1
    return found[0]


def answer(seller: Seller, event: e.CallHeard, now_s: float = 0.0) -> Bid:
    return only(sent(seller.handle(event, now_s), Bid))


def terms(bid: Bid, fence: int = 1, task: TaskId = TASK, shape: Shape = SMALL) -> AwardTerms:
    return AwardTerms(task, fence, BOB, bid.bid, TaskSpec(("true",), shape=shape))


def award(
    seller: Seller, fence: int = 1, task: TaskId = TASK, peer: PeerId = ALICE
) -> list[e.Effect]:
    """A call, a bid and its award."""
    bid = answer(seller, heard(call(auction=1000 * fence), peer))
    return seller.handle(e.AwardHeard(peer, terms(bid, fence, task)), 0.0)


def running(config: SellerConfig = PLAIN) -> Seller:
    """A seller on which attempt 1 of TASK runs, for alice."""
    seller = idle(config)
    award(seller)
    seller.handle(run_events.Staged(TASK, 1), 1.0)
    return seller


def timers(effects: Iterable[e.Effect], kind: type[T]) -> list[tuple[float, T]]:
    return [
        (f.deadline_s, f.timer)
        for f in effects
        if isinstance(f, WakeAt) and isinstance(f.timer, kind)
    ]


def checkpoint(step: int) -> CheckpointRecord:
    return CheckpointRecord(step, (), 0)
