"""Machines that buy from and sell to each other: real cores on one heap, jobs that only pass time.

Every machine has both sides of the market, a disk, and processes that outlive its node. Messages
are lost, doubled and delayed; machines crash, lose power, are cut off and are wanted back by
their owners. All dice come from one seed; `trace` is a hash of all that was delivered.
"""

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations
from math import inf
from typing import Any, Final

from p2p.effects import Effect, Notify, Persist, Send, WakeAt
from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership.view import Liveness
from p2p.service import EventT
from p2p.wire.codec import Message, decode, encode
from p2p.wire.envelope import open_signed, seal
from storage.engine.port import ReadView
from swarmnode.market.buyer import events as be
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.core import HEARD, Buyer
from swarmnode.market.buyer.invariants import check_invariants
from swarmnode.market.buyer.verdicts.once import taken_up
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.messages import (
    CLAIM_DOMAIN,
    HOME_DOMAIN,
    Claim,
    ClaimTerms,
    ComeHome,
    HomeTerms,
)
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.guardians.store import load_guards
from swarmnode.market.messages import AWARD_DOMAIN, Award, AwardTerms, CallForBids, Release
from swarmnode.market.run import events as run_events
from swarmnode.market.seller import events as se
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.core import Seller
from swarmnode.market.seller.room import Capacity
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS, JobState, TaskState
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    RESULT_DOMAIN,
    CancelJob,
    Query,
    ReceiptTerms,
    Renew,
    Result,
    ResultReceipt,
    ResultTerms,
)
from swarmnode.tasks.records import JobRecord, Outcome, TaskRecord
from swarmnode.tasks.spec import Repeatability, TaskSpec
from swarmnode.tasks.store import (
    TASKS,
    load_fences,
    load_jobs,
    load_paused,
    load_tasks,
    task_key,
)
from testnet.sim.signer import KeyedHashSigner

NETWORK: Final = NetworkId("net")
LAB: Final = LabId("lab")
GIB: Final = 1024**3
CAPACITY: Final = Capacity(2000, 4 * GIB, 100 * GIB)
STEP_S: Final = 1.0
"""A job makes one step, and a checkpoint, a second."""


class Disk(ReadView):
    """What a machine has written down."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, bytes], bytes] = {}

    def write(self, one: Persist) -> None:
        self.pairs.pop((one.table, one.key), None)
        if one.value is not None:
            self.pairs[one.table, one.key] = one.value

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.pairs.get((table, key))

    def scan(
        self, table: str, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        found = sorted((key, value) for (name, key), value in self.pairs.items() if name == table)
        return [pair for pair in found if pair[0].startswith(prefix) and pair[0] > (after or b"")]


@dataclass(slots=True)
class Process:
    """A job's process: its steps so far, at the time it began."""

    record: JobRecord
    began_s: float
    first_step: int
    outcome: Outcome | None = None
    ended_s: float = inf

    def overlap_s(self, other: "Process", now_s: float) -> float:
        end_s = min(self.ended_s, other.ended_s, now_s)
        return max(0.0, end_s - max(self.began_s, other.began_s))

    def step(self, now_s: float) -> int:
        return self.first_step + int((now_s - self.began_s) / STEP_S)


@dataclass(slots=True)
class Machine:
    """What is on one machine; `life` counts the starts of its node."""

    peer: PeerId
    disk: Disk = field(default_factory=Disk)
    processes: dict[str, Process] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)
    """Until when each job may run, as its shim knows it, with the node or without."""
    life: int = 0
    is_up: bool = False
    buyer: Buyer = field(init=False)
    seller: Seller = field(init=False)


@dataclass(frozen=True, slots=True)
class Weather:
    """How messages travel."""

    loss: float = 0.0
    doubled: float = 0.0
    delay_max_s: float = 0.03


def steps_task(steps: int, **changes: Any) -> TaskSpec:  # noqa: ANN401
    """A task of so many seconds."""
    return TaskSpec((str(steps),), **changes)


class MarketWorld:
    """Time, messages and machines."""

    def __init__(self, seed: int, names: list[str], weather: Weather = Weather()) -> None:
        self.rng = random.Random(seed)
        self.weather = weather
        self.now_s = 0.0
        self.counts: Counter[str] = Counter()
        self.started: Counter[TaskId] = Counter()
        self.steps_done: Counter[TaskId] = Counter()
        self.ran: defaultdict[TaskId, list[Process]] = defaultdict(list)
        self.machines = {name: Machine(PeerId(name)) for name in names}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._cut: set[frozenset[str]] = set()
        self._tasks = 0
        self._trace = blake2b(digest_size=16)
        for name in names:
            self.start(name)

    # -- what tests do

    def submit(self, name: str, spec: TaskSpec) -> TaskId:
        self._tasks += 1
        key = self._tasks.to_bytes(32)
        task = task_id_of(KeyedHashSigner(PeerId(name)).from_seed(key).peer_id)
        self._buy(
            self.machines[name], be.Submitted(TaskRecord(task, spec, self.wall_ms(), key=key))
        )
        return task

    def recover(self, name: str, records: list[TaskRecord], *, is_told: bool = False) -> None:
        """A blank machine takes up the tasks of one that is gone."""
        records = [taken_up(one, self.wall_ms()) for one in records]
        for one in records:
            self.machines[name].disk.write(Persist(TASKS, task_key(one.task), encode(one)))
        self._buy(self.machines[name], be.TakenUp(records, 0, is_told))

    def tell(self, name: str, event: be.Event) -> None:
        """What another part of the node says to the buyer."""
        self._buy(self.machines[name], event)

    def cancel(self, name: str, task: TaskId) -> None:
        self._buy(self.machines[name], be.CancelAsked(task))

    def run(self, for_s: float) -> None:
        until_s = self.now_s + for_s
        while self._heap and self._heap[0][0] <= until_s:
            self.now_s, _, act = heapq.heappop(self._heap)
            act()
        self.now_s = until_s

    def run_until_all_ended(self, within_s: float, but: Container[str] = ()) -> None:
        """`but`: machines that are down."""
        until_s = self.now_s + within_s
        there = [one for name, one in self.machines.items() if name not in but]
        while not all(m.is_up and m.buyer.tasks_open == 0 for m in there):
            open_now = [r for m in self.machines.values() for r in m.buyer.ledger.unfinished()]
            assert self.now_s < until_s, open_now
            self.run(1.0)

    def kill(self, name: str, power: bool = False) -> None:
        """The node dies; its processes live on, unless the power went too."""
        machine = self.machines[name]
        machine.is_up = False
        machine.life += 1
        if power:
            for process in machine.processes.values():
                process.ended_s = min(process.ended_s, self.now_s)
            machine.processes.clear()
        self._stand(name, Liveness.DEAD, after_s=5.0)

    def start(self, name: str) -> None:
        machine = self.machines[name]
        machine.life += 1
        machine.is_up = True
        signer, dice = KeyedHashSigner(machine.peer), random.Random(self.rng.getrandbits(32))
        machine.buyer = Buyer(BuyerConfig(), signer, NETWORK, dice, self.wall_ms)
        machine.seller = Seller(SellerConfig(), machine.peer, dice, self.wall_ms)
        jobs, fences = tuple(load_jobs(machine.disk)), tuple(load_fences(machine.disk).items())
        self._sell(machine, se.JobsLoaded(jobs, fences, load_paused(machine.disk)))
        self._sell(machine, se.Surveyed(CAPACITY, (), (), ""))
        self._buy(machine, be.TasksLoaded(load_tasks(machine.disk), load_guards(machine.disk)))
        for other in self.machines.values():
            if other.is_up:
                self._buy(machine, be.MemberStands(other.peer, Liveness.ALIVE))
        self._stand(name, Liveness.ALIVE, after_s=0.5)
        self._advertise(machine)

    def hold_for(self, name: str, liveness: Liveness) -> None:
        """What all others think of a machine, whatever it does."""
        for one in self.machines.values():
            if one.is_up and one.peer != name:
                self._buy(one, be.MemberStands(self.machines[name].peer, liveness))

    def pause(self, name: str) -> None:
        self._sell(self.machines[name], se.PauseAsked(3.0))
        self._advertise(self.machines[name])

    def resume(self, name: str) -> None:
        self._sell(self.machines[name], se.ResumeAsked())
        self._advertise(self.machines[name])

    def cut(self, left: str, right: str) -> None:
        self._cut.add(frozenset((left, right)))

    def heal(self) -> None:
        self._cut.clear()

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + round(self.now_s * 1000)

    # -- the machinery

    def _after(self, delay_s: float, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self.now_s + delay_s, self._number, act))

    def _in_this_life(self, machine: Machine, act: Callable[[], None]) -> Callable[[], None]:
        life = machine.life
        return lambda: act() if machine.life == life and machine.is_up else None

    def _stand(self, name: str, liveness: Liveness, after_s: float) -> None:
        subject = self.machines[name]
        life = subject.life

        def tell() -> None:
            for one in self.machines.values():
                if one.is_up and subject.life == life:
                    self._buy(one, be.MemberStands(subject.peer, liveness))

        self._after(after_s, tell)

    def _advertise(self, machine: Machine) -> None:
        advert = ResourceAdvert(
            lends=True,
            paused=machine.seller.is_paused,
            cpu_millis=CAPACITY.cpu_millis,
            cpu_free_millis=CAPACITY.cpu_millis,
            memory_bytes=CAPACITY.memory_bytes,
            memory_free_bytes=CAPACITY.memory_bytes,
            disk_bytes=CAPACITY.disk_bytes,
            disk_free_bytes=CAPACITY.disk_bytes,
            tasks_free=4,
        )

        def tell() -> None:
            for one in self.machines.values():
                if one.is_up:
                    self._buy(one, be.Advertised(machine.peer, advert))

        self._after(0.5, tell)
        self._after(10.0, self._in_this_life(machine, lambda: self._advertise(machine)))

    def _buy(self, machine: Machine, event: be.Event) -> None:
        effects = machine.buyer.handle(event, self.now_s)
        check_invariants(machine.buyer)
        self._perform(machine, effects, self._buy)

    def _sell(self, machine: Machine, event: se.Event) -> None:
        effects = machine.seller.handle(event, self.now_s)
        machine.seller.check_invariants()
        taken, capacity = machine.seller.room.taken(), machine.seller.room.capacity
        if capacity == CAPACITY:  # it was looked at: R1
            assert taken.cpu_millis <= capacity.cpu_millis
            assert taken.memory_bytes <= capacity.memory_bytes
            assert taken.disk_bytes <= capacity.disk_bytes
        self._perform(machine, effects, self._sell)

    def _perform(
        self,
        machine: Machine,
        effects: Sequence[Effect[EventT, be.Notice | se.Notice]],
        again: Callable[[Machine, EventT], None],
    ) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                machine.disk.write(effect)
        for effect in effects:
            match effect:
                case Send(peer, message):
                    self._send(machine.peer, peer, message)
                case WakeAt(deadline_s, timer):
                    wake = self._in_this_life(machine, lambda t=timer: again(machine, t))  # type: ignore[misc]
                    self._after(max(0.0, deadline_s - self.now_s), wake)
                case Notify(event):
                    self._run_job(machine, event)

    def _send(self, sender: PeerId, to: PeerId, message: Message) -> None:
        packed = encode(message)
        copies = 2 if self.rng.random() < self.weather.doubled else 1
        for _ in range(copies):
            delay_s = self.rng.uniform(0.001, self.weather.delay_max_s)
            if sender == to or self.rng.random() >= self.weather.loss:
                self._after(delay_s, lambda: self._deliver(sender, to, packed))

    def _carry(self, sender: PeerId, to: PeerId, record: GuardRecord) -> None:
        """What a service does by a call."""

        def come() -> None:
            machine = self.machines[to]
            if machine.is_up and frozenset((sender, to)) not in self._cut:
                self.counts["carried"] += 1
                self._buy(machine, g.KeepHeard(sender, record))

        if self.rng.random() >= self.weather.loss:
            self._after(self.rng.uniform(0.001, self.weather.delay_max_s), come)

    def _deliver(self, sender: PeerId, to: PeerId, packed: bytes) -> None:
        machine = self.machines[to]
        if not machine.is_up or frozenset((sender, to)) in self._cut:
            return
        message = decode(packed)
        self.counts[type(message).__name__] += 1
        self._trace.update(f"{self.now_s!r} {sender} {to} ".encode() + packed)
        match message:
            case CallForBids():
                self._sell(machine, se.CallHeard(sender, LAB, True, message))
            case Release(auction):
                self._sell(machine, se.ReleaseHeard(sender, auction))
            case Award(sealed):
                signer = KeyedHashSigner(to)
                award = open_signed(signer, NETWORK, AWARD_DOMAIN, AwardTerms, sealed)
                self._sell(machine, se.AwardHeard(sender, award))
            case ResultReceipt(sealed):
                signer = KeyedHashSigner(to)
                receipt = open_signed(signer, NETWORK, RECEIPT_DOMAIN, ReceiptTerms, sealed)
                self._sell(machine, se.ReceiptHeard(sender, receipt))
            case Claim(sealed):
                claim = open_signed(KeyedHashSigner(to), NETWORK, CLAIM_DOMAIN, ClaimTerms, sealed)
                assert task_id_of(sealed.sender) == claim.task
                assert claim.machine == sender
                self._sell(machine, se.ClaimHeard(sender, claim))
            case ComeHome(sealed):
                home = open_signed(KeyedHashSigner(to), NETWORK, HOME_DOMAIN, HomeTerms, sealed)
                assert (task_id_of(sealed.sender), home.machine) == (home.task, sender)
                self._buy(machine, g.HomeHeard(sender, home.task))
            case Renew() | Query() | CancelJob():
                self._sell(machine, se.JobHeard(sender, message))
            case _:
                assert isinstance(message, HEARD)
                self._buy(machine, be.MessageHeard(sender, message))

    # -- jobs that only pass time

    def _run_job(self, machine: Machine, event: be.Notice | se.Notice) -> None:
        match event:
            case se.StartJob(record) if record.state is JobState.LEASED:
                pass  # it starts when it is Leased
            case se.StartJob(record):
                self._reattach(machine, record)
            case g.Carry(peer, record):
                self._carry(machine.peer, peer, record)
            case se.Leased(job, until_s):
                self._lease(machine, job, until_s)
            case TaskChanged(task, state=TaskState.FAILED):
                self._assert_stopped(machine, task)
            case se.Stop(job, grace_s, reason):
                stop = self._in_this_life(machine, lambda: self._end(machine, job, reason))
                self._after(min(grace_s, 0.5), stop)
            case se.SendResult(record):
                self._report(machine, record)
            case se.Settle(record):
                machine.processes.pop(record.job, None)

    def _lease(self, machine: Machine, job: str, until_s: float) -> None:
        machine.leases[job] = max(until_s, machine.leases.get(job, 0.0))
        self._after(until_s - self.now_s, lambda: self._end_with_lease(machine, job))
        task, fence = job.split(".")
        record = machine.seller.jobs.find(TaskId(task), int(fence))
        if record is not None and record.state is JobState.LEASED:
            self._after(0.1, self._in_this_life(machine, lambda: self._launch(machine, record)))

    def _end_with_lease(self, machine: Machine, job: str) -> None:
        """What a shim does by itself."""
        process = machine.processes.get(job)
        is_renewed = machine.leases[job] > self.now_s + 1e-6
        if process is None or process.outcome is not None or is_renewed:
            return
        self.counts["leases ended"] += 1
        outcome = Outcome("stopped", -1, "lease")
        if machine.is_up:
            self._finish(machine, process, outcome)
        else:
            process.outcome, process.ended_s = outcome, self.now_s

    def _assert_stopped(self, machine: Machine, task: TaskId) -> None:
        record = machine.buyer.ledger.get(task)
        if record.spec.effects is Repeatability.ONCE:
            living = [one for one in self.ran[task] if one.ended_s > self.now_s]
            assert not living, f"{task} was reported failed and runs"

    def _launch(self, machine: Machine, record: JobRecord) -> None:
        if record.job in machine.processes:
            return
        found = machine.seller.jobs.find(record.task, record.fence)
        if found is None or found.state is not JobState.LEASED:
            return
        self._sell(machine, run_events.Staged(record.task, record.fence))
        first = 0 if record.restore is None else record.restore.step
        self.counts["restored"] += first > 0
        self.started[record.task] += 1
        process = machine.processes[record.job] = Process(record, self.now_s, first)
        self.ran[record.task].append(process)
        self._after(STEP_S, self._in_this_life(machine, lambda: self._tick(machine, record)))

    def _tick(self, machine: Machine, record: JobRecord) -> None:
        process = machine.processes.get(record.job)
        if process is None or process.outcome is not None:
            return
        self.steps_done[record.task] += 1
        step = process.step(self.now_s)
        if step >= int(record.spec.run[0]):
            self._finish(machine, process, Outcome("done", 0, "exit"))
            return
        checkpoint = CheckpointRecord(step, (), 0)
        self._sell(machine, run_events.CheckpointStored(record.task, record.fence, checkpoint))
        self._after(STEP_S, self._in_this_life(machine, lambda: self._tick(machine, record)))

    def _reattach(self, machine: Machine, record: JobRecord) -> None:
        process = machine.processes.get(record.job)
        if record.outcome is not None:
            self._finish(machine, None, record.outcome, record)
        elif process is None:
            self._finish(machine, None, Outcome("stopped", -1, "lost"), record)
        elif process.outcome is not None:
            self._finish(machine, process, process.outcome)
        elif record.state is JobState.STOPPING:
            self._end(machine, record.job, record.stop_reason)
        else:
            self.counts["reattached"] += 1
            self._tick(machine, record)

    def _end(self, machine: Machine, job: str, reason: str) -> None:
        process = machine.processes.get(job)
        if process is not None and process.outcome is None:
            self._finish(machine, process, Outcome("stopped", -1, reason))
            return
        task, fence = job.split(".")
        record = machine.seller.jobs.find(TaskId(task), int(fence))
        if process is None and record is not None:
            self._finish(machine, None, Outcome("stopped", -1, reason), record)

    def _finish(
        self,
        machine: Machine,
        process: Process | None,
        outcome: Outcome,
        record: JobRecord | None = None,
    ) -> None:
        if process is not None:
            process.outcome, record = outcome, process.record
            process.ended_s = min(process.ended_s, self.now_s)
        assert record is not None
        task, fence = record.task, record.fence
        self._sell(machine, run_events.Ended(task, fence, outcome))
        delivered = run_events.LogsDelivered(task, fence, record.buyer)
        self._after(0.05, self._in_this_life(machine, lambda: self._sell(machine, delivered)))

    def _report(self, machine: Machine, record: JobRecord) -> None:
        assert record.outcome is not None
        signer = KeyedHashSigner(machine.peer)
        terms = ResultTerms(
            record.task, record.fence, record.buyer, record.outcome, record.checkpoint
        )
        sealed = seal(
            signer, NETWORK, RESULT_DOMAIN, terms, sequence=record.fence, expires_ms=2**50
        )
        self._send(machine.peer, record.buyer, Result(sealed))

    def overlap_s(self) -> float:
        """The longest time that two attempts of one task ran together."""
        pairs = (pair for ran in self.ran.values() for pair in combinations(ran, 2))
        return max((one.overlap_s(other, self.now_s) for one, other in pairs), default=0.0)

    def assert_nothing_is_left(self) -> None:
        """Every task ended; nobody holds, keeps or runs anything."""
        for machine in self.machines.values():
            assert all(record.state in TASK_ENDS for record in machine.buyer.ledger.all())
            assert machine.buyer.auctions_open == 0
            assert machine.seller.offers.held() == 0, machine.peer
            assert machine.seller.jobs.records() == (), machine.peer
