"""What is on a machine of a market world, and its jobs, which only pass time.

A job makes a step and a checkpoint a second, outlives the node above it, and ends with its lease.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from math import inf
from typing import Final, Protocol

from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import Message
from p2p.wire.envelope import seal
from swarmnode.market.buyer import events as be
from swarmnode.market.buyer.core import Buyer
from swarmnode.market.run import events as run_events
from swarmnode.market.seller import events as se
from swarmnode.market.seller.core import Seller
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.messages import RESULT_DOMAIN, Result, ResultTerms
from swarmnode.tasks.records import JobRecord, Outcome
from swarmnode.tasks.spec import Repeatability
from testnet.sim.signer import KeyedHashSigner
from tests.market_disk import Disk

NETWORK: Final = NetworkId("net")
STEP_S: Final = 1.0
"""A job makes one step, and a checkpoint, a second."""


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


class World(Protocol):
    """What jobs need of the world they are in."""

    now_s: float
    counts: Counter[str]

    def after(self, delay_s: float, act: Callable[[], None]) -> None: ...

    def in_this_life(self, machine: Machine, act: Callable[[], None]) -> Callable[[], None]: ...

    def sell(self, machine: Machine, event: se.Event) -> None: ...

    def send(self, sender: PeerId, to: PeerId, message: Message) -> None: ...


class PassingJobs:
    """Of all machines."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.started: Counter[TaskId] = Counter()
        self.steps_done: Counter[TaskId] = Counter()
        self.ran: defaultdict[TaskId, list[Process]] = defaultdict(list)
        """Every process of each task, the newest last."""

    def take(self, machine: Machine, event: be.Notice | se.Notice) -> None:
        """What a core wants done with its jobs; anything else is nothing to them."""
        match event:
            case se.StartJob(record) if record.state is JobState.LEASED:
                pass  # it starts when it is Leased
            case se.StartJob(record):
                self._reattach(machine, record)
            case se.Leased(job, until_s):
                self._lease(machine, job, until_s)
            case se.Stop(job, grace_s, reason):
                world, end = self._world, partial(self._end, machine, job, reason)
                world.after(min(grace_s, 0.5), world.in_this_life(machine, end))
            case se.SendResult(record):
                self._report(machine, record)
            case se.Settle(record):
                machine.processes.pop(record.job, None)

    def _lease(self, machine: Machine, job: str, until_s: float) -> None:
        machine.leases[job] = max(until_s, machine.leases.get(job, 0.0))
        self._world.after(until_s - self._world.now_s, lambda: self._end_with_lease(machine, job))
        task, fence = job.split(".")
        record = machine.seller.jobs.find(TaskId(task), int(fence))
        if record is not None and record.state is JobState.LEASED:
            self._world.after(
                0.1, self._world.in_this_life(machine, lambda: self._launch(machine, record))
            )

    def _end_with_lease(self, machine: Machine, job: str) -> None:
        """What a shim does by itself."""
        process = machine.processes.get(job)
        is_renewed = machine.leases[job] > self._world.now_s + 1e-6
        if process is None or process.outcome is not None or is_renewed:
            return
        self._world.counts["leases ended"] += 1
        outcome = Outcome("stopped", -1, "lease")
        if machine.is_up:
            self._finish(machine, process, outcome)
        else:
            process.outcome, process.ended_s = outcome, self._world.now_s

    def assert_stopped(self, machine: Machine, task: TaskId) -> None:
        record = machine.buyer.ledger.get(task)
        if record.spec.effects is Repeatability.ONCE:
            living = [one for one in self.ran[task] if one.ended_s > self._world.now_s]
            assert not living, f"{task} was reported failed and runs"

    def _launch(self, machine: Machine, record: JobRecord) -> None:
        if record.job in machine.processes:
            return
        found = machine.seller.jobs.find(record.task, record.fence)
        if found is None or found.state is not JobState.LEASED:
            return
        self._world.sell(machine, run_events.Staged(record.task, record.fence))
        first = 0 if record.restore is None else record.restore.step
        self._world.counts["restored"] += first > 0
        self.started[record.task] += 1
        process = machine.processes[record.job] = Process(record, self._world.now_s, first)
        self.ran[record.task].append(process)
        self._world.after(
            STEP_S, self._world.in_this_life(machine, lambda: self._tick(machine, record))
        )

    def _tick(self, machine: Machine, record: JobRecord) -> None:
        process = machine.processes.get(record.job)
        if process is None or process.outcome is not None:
            return
        self.steps_done[record.task] += 1
        step = process.step(self._world.now_s)
        if step >= int(record.spec.run[0]):
            self._finish(machine, process, Outcome("done", 0, "exit"))
            return
        checkpoint = CheckpointRecord(step, (), 0)
        self._world.sell(
            machine, run_events.CheckpointStored(record.task, record.fence, checkpoint)
        )
        self._world.after(
            STEP_S, self._world.in_this_life(machine, lambda: self._tick(machine, record))
        )

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
            self._world.counts["reattached"] += 1
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
            process.ended_s = min(process.ended_s, self._world.now_s)
        assert record is not None
        task, fence = record.task, record.fence
        self._world.sell(machine, run_events.Ended(task, fence, outcome))
        delivered = run_events.LogsDelivered(task, fence, record.buyer)
        self._world.after(
            0.05, self._world.in_this_life(machine, lambda: self._world.sell(machine, delivered))
        )

    def _report(self, machine: Machine, record: JobRecord) -> None:
        assert record.outcome is not None
        signer = KeyedHashSigner(machine.peer)
        terms = ResultTerms(
            record.task, record.fence, record.buyer, record.outcome, record.checkpoint
        )
        sealed = seal(
            signer, NETWORK, RESULT_DOMAIN, terms, sequence=record.fence, expires_ms=2**50
        )
        self._world.send(machine.peer, record.buyer, Result(sealed))

    def overlap_s(self) -> float:
        """The longest time that two attempts of one task ran together."""
        pairs = (pair for ran in self.ran.values() for pair in combinations(ran, 2))
        return max((one.overlap_s(other, self._world.now_s) for one, other in pairs), default=0.0)
