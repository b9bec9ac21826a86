"""Machines that buy from and sell to each other: real cores on one heap of time and messages.

Every machine has both sides of the market, a disk, and processes that outlive its node
(tests/sim/passing_jobs.py). Messages are lost, doubled and delayed; machines crash, lose power, are
cut off and are wanted back by their owners. All dice come from one seed; `trace` is a hash of all
that was delivered.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from p2p.effects import Effect, Notify, Persist, Send, WakeAt
from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from p2p.service import EventT
from p2p.wire.codec import Message, decode, encode
from p2p.wire.envelope import open_signed
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
from swarmnode.market.seller import events as se
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.core import Seller
from swarmnode.market.seller.room import Capacity, Fitness
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    CancelJob,
    Query,
    ReceiptTerms,
    Renew,
    ResultReceipt,
)
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.store import (
    TASKS,
    load_fences,
    load_jobs,
    load_paused,
    load_tasks,
    task_key,
)
from testnet.sim.signer import KeyedHashSigner
from tests.sim.passing_jobs import NETWORK, Machine, PassingJobs

LAB: Final = LabId("lab")
GIB: Final = 1024**3
CAPACITY: Final = Capacity(2000, 4 * GIB, 100 * GIB)


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
        self.jobs = PassingJobs(self)
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
        self.sell(machine, se.JobsLoaded(jobs, fences, load_paused(machine.disk)))
        self.sell(machine, se.Surveyed(CAPACITY, Fitness()))
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
        self.sell(self.machines[name], se.PauseAsked(3.0))
        self._advertise(self.machines[name])

    def resume(self, name: str) -> None:
        self.sell(self.machines[name], se.ResumeAsked())
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

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self.now_s + delay_s, self._number, act))

    def in_this_life(self, machine: Machine, act: Callable[[], None]) -> Callable[[], None]:
        life = machine.life
        return lambda: act() if machine.life == life and machine.is_up else None

    def _stand(self, name: str, liveness: Liveness, after_s: float) -> None:
        subject = self.machines[name]
        life = subject.life

        def tell() -> None:
            for one in self.machines.values():
                if one.is_up and subject.life == life:
                    self._buy(one, be.MemberStands(subject.peer, liveness))

        self.after(after_s, tell)

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

        self.after(0.5, tell)
        self.after(10.0, self.in_this_life(machine, lambda: self._advertise(machine)))

    def _buy(self, machine: Machine, event: be.Event) -> None:
        effects = machine.buyer.handle(event, self.now_s)
        check_invariants(machine.buyer)
        self._perform(machine, effects, self._buy)

    def sell(self, machine: Machine, event: se.Event) -> None:
        effects = machine.seller.handle(event, self.now_s)
        machine.seller.check_invariants()
        taken, capacity = machine.seller.room.taken(), machine.seller.room.capacity
        if capacity == CAPACITY:  # it was looked at: R1
            assert taken.cpu_millis <= capacity.cpu_millis
            assert taken.memory_bytes <= capacity.memory_bytes
            assert taken.disk_bytes <= capacity.disk_bytes
        self._perform(machine, effects, self.sell)

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
                    self.send(machine.peer, peer, message)
                case WakeAt(deadline_s, timer):
                    wake = self.in_this_life(machine, lambda t=timer: again(machine, t))  # type: ignore[misc]
                    self.after(max(0.0, deadline_s - self.now_s), wake)
                case Notify(event):
                    self._notice(machine, event)

    def send(self, sender: PeerId, to: PeerId, message: Message) -> None:
        packed = encode(message)
        copies = 2 if self.rng.random() < self.weather.doubled else 1
        for _ in range(copies):
            delay_s = self.rng.uniform(0.001, self.weather.delay_max_s)
            if sender == to or self.rng.random() >= self.weather.loss:
                self.after(delay_s, lambda: self._deliver(sender, to, packed))

    def _carry(self, sender: PeerId, to: PeerId, record: GuardRecord) -> None:
        """What a service does by a call."""

        def come() -> None:
            machine = self.machines[to]
            if machine.is_up and frozenset((sender, to)) not in self._cut:
                self.counts["carried"] += 1
                self._buy(machine, g.KeepHeard(sender, record))

        if self.rng.random() >= self.weather.loss:
            self.after(self.rng.uniform(0.001, self.weather.delay_max_s), come)

    def _deliver(self, sender: PeerId, to: PeerId, packed: bytes) -> None:
        machine = self.machines[to]
        if not machine.is_up or frozenset((sender, to)) in self._cut:
            return
        message = decode(packed)
        self.counts[type(message).__name__] += 1
        self._trace.update(f"{self.now_s!r} {sender} {to} ".encode() + packed)
        match message:
            case CallForBids():
                self.sell(machine, se.CallHeard(sender, LAB, True, message))
            case Release(auction):
                self.sell(machine, se.ReleaseHeard(sender, auction))
            case Award(sealed):
                signer = KeyedHashSigner(to)
                award = open_signed(signer, NETWORK, AWARD_DOMAIN, AwardTerms, sealed)
                self.sell(machine, se.AwardHeard(sender, award))
            case ResultReceipt(sealed):
                signer = KeyedHashSigner(to)
                receipt = open_signed(signer, NETWORK, RECEIPT_DOMAIN, ReceiptTerms, sealed)
                self.sell(machine, se.ReceiptHeard(sender, receipt))
            case Claim(sealed):
                claim = open_signed(KeyedHashSigner(to), NETWORK, CLAIM_DOMAIN, ClaimTerms, sealed)
                assert task_id_of(sealed.sender) == claim.task
                assert claim.machine == sender
                self.sell(machine, se.ClaimHeard(sender, claim))
            case ComeHome(sealed):
                home = open_signed(KeyedHashSigner(to), NETWORK, HOME_DOMAIN, HomeTerms, sealed)
                assert (task_id_of(sealed.sender), home.machine) == (home.task, sender)
                self._buy(machine, g.HomeHeard(sender, home.task))
            case Renew() | Query() | CancelJob():
                self.sell(machine, se.JobHeard(sender, message))
            case _:
                assert isinstance(message, HEARD)
                self._buy(machine, be.MessageHeard(sender, message))

    def _notice(self, machine: Machine, event: be.Notice | se.Notice) -> None:
        match event:
            case g.Carry(peer, record):
                self._carry(machine.peer, peer, record)
            case TaskChanged(task, state=TaskState.FAILED):
                self.jobs.assert_stopped(machine, task)
            case _:
                self.jobs.take(machine, event)

    def assert_nothing_is_left(self) -> None:
        """Every task ended; nobody holds, keeps or runs anything."""
        for machine in self.machines.values():
            assert all(record.state in TASK_ENDS for record in machine.buyer.ledger.all())
            assert machine.buyer.auctions_open == 0
            assert machine.seller.offers.held() == 0, machine.peer
            assert machine.seller.jobs.records() == (), machine.peer
