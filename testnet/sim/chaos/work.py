"""What people do meanwhile, and what they were promised: above all, that every task ends."""

import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from storage.errors import StorageError, StoreFullError
from storage.manifests.capability import parse_cap
from swarmnode.errors import TaskUnknownError
from swarmnode.market.explain import TaskView
from swarmnode.node import Node
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskFact, TaskState
from swarmnode.tasks.records import AttemptRecord, TaskRecord
from swarmnode.tasks.spec import CheckpointSpec, Shape, TaskSpec
from testnet.sim.chaos.objects import ObjectWork
from testnet.sim.chaos.options import Outcome
from testnet.sim.chaos.state import StateWork
from testnet.sim.world import World

LATE_S: Final = 300.0
"""How long after the calm the last task may end, and the last shard be repaired."""
ACT_S: Final = 120.0
"""People wait no longer for one thing."""
SHAPE: Final = Shape(cpu_millis=1500, memory_bytes=1 << 30, disk_bytes=1 << 20)
PROGRAMS: Final = (
    ("sleep", "5"),
    ("sleep", "5"),
    ("sleep", "40"),
    ("exit", "3"),
    ("train", "20", "1", "4"),
    ("train", "60", "1", "6"),
)

Act = Callable[[str, Node], Awaitable[None]]


@dataclass(slots=True)
class Promised:
    """An acknowledged task."""

    task: TaskId
    owner: str
    run: tuple[str, ...]
    ends: int = 0
    is_lost: bool = False
    """Its provider is, and it was not put to auction since."""
    is_unwanted: bool = False
    """Somebody asked for it to be cancelled."""


class Work:
    """A few people with dice of their own; they stop when `is_over`."""

    def __init__(self, world: World, outcome: Outcome) -> None:
        self._world, self._outcome = world, outcome
        options = outcome.options
        self._dice = random.Random(f"work/{options.seed}/{options.nodes}")  # noqa: S311
        self._tasks: dict[TaskId, Promised] = {}
        self.objects = ObjectWork(world, outcome)
        self._state = StateWork(world, outcome)
        self.is_over = False

    def begin(self, nursery: trio.Nursery) -> None:
        """Let them work until the nursery is cancelled: more of them, the more machines."""
        share = min(1.0, max(0.3, self._outcome.options.nodes / 20))
        for act, pause_s in (
            (self._submit, 5.0 / share),
            (self._cancel, 60.0 / share),
            (self.objects.put, 10.0 / share),
            (self.objects.read, 10.0),
            (self.objects.give_up, 30.0 / share),
        ):
            nursery.start_soon(self._now_and_then, act, pause_s)
        nursery.start_soon(self._count_up)

    async def _now_and_then(self, act: Act, pause_s: float) -> None:
        while True:
            await trio.sleep(self._dice.uniform(0.4, 1.6) * pause_s)
            up = [n for n, machine in self._world.machines.items() if machine.node is not None]
            if up and not self.is_over:
                name = self._dice.choice(up)
                with trio.move_on_after(ACT_S), self._world.client(name) as node:
                    await act(name, node)

    async def _count_up(self) -> None:
        while True:
            await trio.sleep(self._dice.uniform(1, 6))
            if not self.is_over:
                with trio.move_on_after(ACT_S):
                    await self._state.count_up()

    def _violated(self, what: str) -> None:
        self._outcome.violations.append(f"{what} (at {trio.current_time():.1f} s)")

    async def _submit(self, name: str, node: Node) -> None:
        run = self._dice.choice(PROGRAMS)
        is_training = run[0] == "train"
        spec = TaskSpec(
            run=run,
            shape=SHAPE,
            checkpoint=CheckpointSpec("checkpoint", every_ms=1000) if is_training else None,
            outputs=("result.json",) if is_training else (),
            timeout_ms=300_000,
        )
        try:
            task = await node.market.buyer.submit(spec)
        except StoreFullError:
            self._outcome.reached["submit refused"] += 1
            return
        self._tasks[task] = Promised(task, name, run)

    async def _cancel(self, name: str, node: Node) -> None:
        ours = [one for one in self._tasks.values() if one.owner == name and not one.ends]
        if ours:
            promised = self._dice.choice(ours)
            promised.is_unwanted = True
            with suppress(StoreFullError):  # it is refused, and goes on
                await node.market.buyer.cancel(promised.task)

    def on_event(self, name: str, event: TaskChanged) -> None:
        """T2: a task ends once, by the result of its newest attempt."""
        promised = self._tasks.get(event.task)
        if promised is None:
            return
        if event.fact == TaskFact.PROVIDER_LOST:
            promised.is_lost = True
        elif event.fact == TaskFact.BIDDING_OPENED and promised.is_lost:
            promised.is_lost = False
            self._outcome.reached["re-auction"] += 1
        if event.state in TASK_ENDS and event.fact != "noted":  # what it left may follow
            promised.ends += 1
            if promised.ends > 1:
                self._violated(f"T2: {event.task} ended {promised.ends} times ({event.fact})")

    def may_lose_disk(self, name: str) -> bool:
        """Whether nobody waits for a task that was submitted at a machine."""
        ours = [one for one in self._tasks.values() if one.owner == name]
        return all(view is not None and view.has_ended for view in map(self._view, ours))

    def lose_disk(self, name: str) -> None:
        """What was submitted at a machine has ended; look at it while it can be looked at."""
        for promised in [one for one in self._tasks.values() if one.owner == name]:
            self._check_task(promised)
            del self._tasks[promised.task]
        self.objects.lose_disk(name)

    # -- at the end

    async def check(self) -> None:
        """T1, R3, S1, S4: what was acknowledged has come true."""
        with trio.move_on_after(LATE_S):
            for promised in self._tasks.values():
                if self._view(promised) is not None:
                    await self._world[promised.owner].up.market.buyer.wait(promised.task)
        for promised in self._tasks.values():
            self._check_task(promised)
            await self._check_result(promised)
        await self.objects.check(LATE_S)
        self._state.check()

    def _view(self, promised: Promised) -> TaskView | None:
        try:
            return self._world[promised.owner].up.market.buyer.task(promised.task)
        except TaskUnknownError:
            return None

    def _check_task(self, promised: Promised) -> None:
        view = self._view(promised)
        if view is None:
            self._violated(f"T1: {promised.task} of {promised.owner} is forgotten")
            return
        record = view.record
        if not view.has_ended:
            self._violated(f"T1: {promised.run} is {record.state} for ever: {record.why}")
            return
        wanted = TaskState.FAILED if promised.run[0] == "exit" else TaskState.DONE
        is_cancelled = promised.is_unwanted and record.state is TaskState.CANCELLED
        if record.state is not wanted and not is_cancelled:
            self._violated(f"T1: {promised.run} ended {record.state}: {record.why}")
        self._check_fences(promised, record.attempts)

    def _check_fences(self, promised: Promised, attempts: tuple[AttemptRecord, ...]) -> None:
        """R3: fences only grow, and the result that counted is that of the newest."""
        fences = [attempt.fence for attempt in attempts]
        ended = [a.fence for a in attempts if a.ended_as in ("done", "failed")]
        if fences != sorted(set(fences)) or (ended and ended != [fences[-1]]):
            self._violated(f"R3: {promised.task} has the attempts {attempts}")
        restored = sum(attempt.restored_step > 0 for attempt in attempts)
        self._outcome.reached["restore"] += restored

    async def _check_result(self, promised: Promised) -> None:
        """A training gives what an undisturbed one gives, however often it was moved."""
        view = self._view(promised)
        if promised.run[0] != "train" or view is None or view.state is not TaskState.DONE:
            return
        steps = int(promised.run[1])
        found = await self._total(promised.owner, view.record)
        if found not in (None, steps * (steps + 1) // 2):
            self._violated(f"T1: {promised.run} came to {found}")

    async def _total(self, owner: str, record: TaskRecord) -> int | None:
        """None when the result cannot be read: it may have been stored on one machine only."""
        assert record.outcome is not None
        data = bytearray()
        try:
            for file in record.outcome.outputs:
                async for chunk in self._world[owner].up.storage.objects.get(parse_cap(file.cap)):
                    data += chunk
        except StorageError:
            self._outcome.reached["result not readable"] += 1
            return None
        return int(json.loads(data)["total"])
