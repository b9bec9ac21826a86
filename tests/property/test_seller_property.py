"""Whatever happens, in any order, with crashes in between: no room is promised twice (R1)."""

import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.effects import Notify, Persist, Send, WakeAt
from p2p.ids import LabId, PeerId
from swarmnode.market.messages import Accept, AwardTerms, Bid, BidKind, CallForBids
from swarmnode.market.run import events as run_events
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.core import Seller
from swarmnode.market.seller.room import Capacity, Fitness, GpuRoom
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.messages import CancelJob, Query, ReceiptTerms, Renew
from swarmnode.tasks.records import Outcome
from swarmnode.tasks.spec import GpuWant, PriorityClass, Shape, TaskSpec
from swarmnode.tasks.store import load_fences, load_jobs, load_paused
from tests.market_disk import Disk

BOB = PeerId("bob")
PEERS = {PeerId("alice"): LabId("lab"), PeerId("mallory"): LabId("foreign")}
TASKS = [TaskId(letter * 16) for letter in "abc"]
MACHINE = Capacity(4000, 4000, 4000, (GpuRoom("gpu-0", "T4", 16), GpuRoom("gpu-1", "V100", 32)))
SURVEY = e.Surveyed(MACHINE, Fitness())
CONFIG = SellerConfig(tasks_max=6, lease_s=10, orphan_grace_s=20, calls_burst=1000)


class World:
    """One seller, the messages it sent, its timers, its disk, and its processes."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.disk = Disk()
        self.now_s = 0.0
        self.bids: list[tuple[PeerId, Bid, Shape]] = []
        self.shapes: dict[tuple[PeerId, int], Shape] = {}
        self.accepted: dict[TaskId, int] = {}
        self.processes: dict[tuple[TaskId, int], JobState] = {}
        self.alive: set[tuple[TaskId, int]] = set()
        """Attempts of which a process may live."""
        self.timers: list[tuple[float, e.Event]] = []
        self.seller = self.reborn()

    def reborn(self) -> Seller:
        self.timers.clear()
        made = Seller(CONFIG, BOB, self.dice, lambda: int(self.now_s * 1000))
        self.seller = made
        fences = tuple(load_fences(self.disk).items())
        self.tell(SURVEY)
        self.tell(e.JobsLoaded(tuple(load_jobs(self.disk)), fences, load_paused(self.disk)))
        return made

    def tell(self, event: e.Event) -> None:
        effects = self.seller.handle(event, self.now_s)
        self.seller.check_invariants()
        self.perform(effects)

    def perform(self, effects: Iterable[e.Effect]) -> None:
        effects = list(effects)
        for effect in effects:
            if isinstance(effect, Persist):
                self.disk.write(effect)
        for effect in effects:
            match effect:
                case Send(peer, Bid(kind=BidKind.HELD) as bid):
                    self.bids.append((peer, bid, self.shapes[peer, bid.auction]))
                case Send(_, Accept(task, fence)):
                    assert fence >= self.accepted.get(task, 0), "an older attempt was accepted"
                    self.accepted[task] = fence
                case WakeAt(at_s, timer):
                    self.timers.append((at_s, timer))
                case Notify(e.StartJob(record)):
                    self.processes[record.task, record.fence] = record.state
                    if record.state is not JobState.REPORTING and record.grant.cpu_millis:
                        self.alive.add((record.task, record.fence))
                case Notify(e.Settle(record)):
                    self.processes.pop((record.task, record.fence), None)

    def check(self) -> None:
        taken = self.seller.room.taken()
        assert taken.cpu_millis <= MACHINE.cpu_millis
        assert taken.memory_bytes <= MACHINE.memory_bytes
        assert taken.disk_bytes <= MACHINE.disk_bytes
        assert len(set(taken.gpus)) == len(taken.gpus) <= len(MACHINE.gpus)
        using = [r for r in self.seller.jobs.records() if (r.task, r.fence) in self.alive]
        assert sum(r.grant.cpu_millis for r in using) <= taken.cpu_millis
        assert len(using) <= self.seller.jobs.using_room()
        assert self.seller.jobs.using_room() + self.seller.offers.held() <= CONFIG.tasks_max
        assert sorted(r.job for r in self.seller.jobs.records()) == sorted(
            r.job for r in load_jobs(self.disk)
        )


class Play:
    """Random moves of everybody in a World."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.auction = 0

    def peer(self) -> PeerId:
        return self.world.dice.choice(list(PEERS))

    def attempt(self) -> tuple[TaskId, int]:
        dice = self.world.dice
        known = sorted(self.world.processes)
        if known and dice.random() < 0.8:
            return dice.choice(known)
        return dice.choice(TASKS), dice.randrange(0, 9)

    def call(self) -> None:
        self.auction += 1
        dice, peer = self.world.dice, self.peer()
        gpu = GpuWant(count=dice.randrange(0, 3))
        shape = Shape(dice.randrange(1, 3000), dice.randrange(1, 3000), dice.randrange(0, 99), gpu)
        self.world.shapes[peer, self.auction] = shape
        asked = CallForBids(
            self.auction, shape, "", (), PriorityClass.BATCH, 5, dice.randrange(0, 5000)
        )
        self.world.tell(e.CallHeard(peer, PEERS[peer], peer == "alice", asked))

    def award(self) -> None:
        dice = self.world.dice
        if self.world.bids:
            peer, bid, shape = dice.choice(self.world.bids[-8:])
            task, fence = dice.choice(TASKS), dice.randrange(1, 9)
            spec = TaskSpec(("true",), shape=shape)
            self.world.tell(e.AwardHeard(peer, AwardTerms(task, fence, BOB, bid.bid, spec)))

    def release(self) -> None:
        if self.world.bids:
            peer, bid, _ = self.world.dice.choice(self.world.bids)
            self.world.tell(e.ReleaseHeard(peer, bid.auction))

    def speak(self) -> None:
        task, fence = self.attempt()
        kinds = (Renew(task, fence), Query(task, fence), CancelJob(task, fence, ""))
        self.world.tell(e.JobHeard(self.peer(), self.world.dice.choice(kinds)))

    def stage(self) -> None:
        self.world.tell(run_events.Staged(*self.attempt()))

    def exit(self) -> None:
        attempt = self.attempt()
        self.world.alive.discard(attempt)
        self.world.tell(run_events.ProcessGone(*attempt))

    def end(self) -> None:
        attempt = self.attempt()
        self.world.alive.discard(attempt)
        self.world.tell(run_events.Ended(*attempt, Outcome("done", 0, "exit")))

    def deliver(self) -> None:
        record = self.world.seller.jobs.find(*self.attempt())
        buyer = self.peer() if record is None else record.buyer
        self.world.tell(run_events.LogsDelivered(*self.attempt(), buyer))

    def receipt(self) -> None:
        task, fence = self.attempt()
        self.world.tell(e.ReceiptHeard(self.peer(), ReceiptTerms(task, fence, BOB)))

    def owner(self) -> None:
        grace = e.PauseAsked(3.0) if self.world.dice.random() < 0.5 else e.ResumeAsked()
        self.world.tell(grace)

    def time(self) -> None:
        self.world.now_s += self.world.dice.choice([0.1, 1.0, 2.0, 10.0])
        due = [timer for at_s, timer in self.world.timers if at_s <= self.world.now_s]
        self.world.timers = [t for t in self.world.timers if t[0] > self.world.now_s]
        for timer in due:
            self.world.tell(timer)

    def crash(self) -> None:
        self.world.reborn()


MOVES = [
    Play.call, Play.call, Play.call, Play.award, Play.award, Play.release, Play.speak,
    Play.stage, Play.exit, Play.end, Play.deliver, Play.receipt, Play.owner, Play.time, Play.time,
    Play.crash,
]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_room_is_never_promised_twice_and_fences_only_grow(seed: int) -> None:
    world = World(seed)
    play = Play(world)
    for _ in range(150):
        world.dice.choice(MOVES)(play)
        world.check()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_reservation_ends_when_nobody_speaks_any_more(seed: int) -> None:
    world = World(seed)
    play = Play(world)
    for _ in range(100):
        world.dice.choice(MOVES)(play)
    for _ in range(10):
        world.now_s += 700.0
        for timer in [timer for _, timer in world.timers]:
            world.tell(timer)
        for task, fence in sorted(world.processes):
            world.tell(run_events.Ended(task, fence, Outcome("stopped", 0, "orphaned")))
    assert world.seller.room.taken().cpu_millis == 0
    assert not world.seller.jobs.records()
