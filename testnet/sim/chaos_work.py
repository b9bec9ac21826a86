"""What people do meanwhile: objects put and read, tasks submitted; and what they were promised."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from storage.errors import StorageError
from storage.facade import ReadCap
from swarmnode.errors import TaskUnknownError
from swarmnode.market.explain import TaskView
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.records import AttemptRecord
from swarmnode.tasks.spec import CheckpointSpec, Shape, TaskSpec
from testnet.sim.chaos_options import Outcome
from testnet.sim.world import World

LATE_S: Final = 300.0
"""How long after the calm the last task may end, and the last shard be repaired."""
SIZES: Final = (100, 30_000, 200_000)
SHAPE: Final = Shape(cpu_millis=1500, memory_bytes=1 << 30, disk_bytes=1 << 20)
PROGRAMS: Final = (
    ("sleep", "5"),
    ("sleep", "40"),
    ("exit", "3"),
    ("train", "30", "1", "5"),
)


@dataclass(slots=True)
class Stored:
    """An acknowledged object."""

    cap: ReadCap
    data: bytes
    owner: str
    n: int


@dataclass(slots=True)
class Promised:
    """An acknowledged task."""

    task: TaskId
    owner: str
    run: tuple[str, ...]
    ends: int = 0


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Work:
    """A few people with dice of their own; they stop when `is_over`."""

    def __init__(self, world: World, outcome: Outcome) -> None:
        self._world, self._outcome = world, outcome
        options = outcome.options
        self._dice = random.Random(f"work/{options.seed}/{options.nodes}")  # noqa: S311
        self._objects: list[Stored] = []
        self._tasks: dict[TaskId, Promised] = {}
        self.is_over = False

    def begin(self, nursery: trio.Nursery) -> None:
        """Let them work until the nursery is cancelled."""
        for act in (self._put, self._read, self._submit):
            nursery.start_soon(self._now_and_then, act)

    async def _now_and_then(self, act: Callable[[str], Awaitable[None]]) -> None:
        while True:
            await trio.sleep(self._dice.uniform(5, 30))
            up = [n for n, machine in self._world.machines.items() if machine.node is not None]
            if up and not self.is_over:
                with trio.move_on_after(120):
                    await act(self._dice.choice(up))

    def _violated(self, what: str) -> None:
        self._outcome.violations.append(f"{what} (at {trio.current_time():.1f} s)")

    async def _put(self, name: str) -> None:
        data = self._dice.randbytes(self._dice.choice(SIZES))
        try:
            receipt = await self._world[name].up.objects.put(_whole(data), name="chaos")
        except StorageError:
            self._outcome.reached["put refused"] += 1
            return
        self._objects.append(Stored(receipt.cap, data, name, receipt.n))
        self._outcome.reached["put"] += 1

    async def _read(self, name: str) -> None:
        if self._objects:
            await self._compare(self._dice.choice(self._objects), name)

    async def _compare(self, stored: Stored, name: str) -> bool:
        """S2: whatever comes is what was put; False when nothing comes now."""
        found = bytearray()
        try:
            async for chunk in self._world[name].up.objects.get(stored.cap):
                found += chunk
        except StorageError:
            self._outcome.reached["read refused"] += 1
            return False
        if bytes(found) != stored.data:
            self._violated(f"S2: {name} read other bytes than {stored.owner} put")
        self._outcome.reached["read"] += 1
        return True

    async def _submit(self, name: str) -> None:
        run = self._dice.choice(PROGRAMS)
        checkpoint = CheckpointSpec("checkpoint", every_ms=1000) if run[0] == "train" else None
        spec = TaskSpec(run=run, shape=SHAPE, checkpoint=checkpoint, timeout_ms=300_000)
        task = await self._world[name].up.market.submit(spec)
        self._tasks[task] = Promised(task, name, run)

    def on_event(self, name: str, event: TaskChanged) -> None:
        """T2: a task ends once, by the result of its newest attempt."""
        promised = self._tasks.get(event.task)
        if promised is None or event.state not in TASK_ENDS:
            return
        promised.ends += 1
        if promised.ends > 1:
            self._violated(f"T2: {event.task} ended {promised.ends} times ({event.fact})")

    # -- at the end

    async def check(self) -> None:
        """T1, R3, S1, S4: what was acknowledged has come true."""
        with trio.move_on_after(LATE_S):
            for promised in self._tasks.values():
                await self._until_ended(promised)
        for promised in self._tasks.values():
            self._check_task(promised)
        for stored in self._objects:
            await self._check_object(stored)

    def _view(self, promised: Promised) -> TaskView | None:
        try:
            return self._world[promised.owner].up.market.task(promised.task)
        except TaskUnknownError:
            return None

    async def _until_ended(self, promised: Promised) -> None:
        if self._view(promised) is not None:
            await self._world[promised.owner].up.market.wait(promised.task)

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
        if record.state is not wanted:
            self._violated(f"T1: {promised.run} ended {record.state}: {record.why}")
        self._check_fences(promised, record.attempts)

    def _check_fences(self, promised: Promised, attempts: tuple[AttemptRecord, ...]) -> None:
        """R3: fences only grow, and the result that counted is that of the newest."""
        fences = [attempt.fence for attempt in attempts]
        ended = [a.fence for a in attempts if a.ended_as in ("done", "failed")]
        if fences != sorted(set(fences)) or (ended and ended != [fences[-1]]):
            self._violated(f"R3: {promised.task} has the attempts {attempts}")
        if attempts and attempts[-1].restored_step > 0:
            self._outcome.reached["restored"] += 1

    async def _check_object(self, stored: Stored) -> None:
        reader = self._dice.choice(sorted(self._world.machines))
        if not await self._compare(stored, reader):
            self._violated(f"S1: an object that {stored.owner} put cannot be read by {reader}")
            return
        want = min(stored.n, len(self._world.machines))
        live = 0
        with trio.move_on_after(LATE_S):
            while live < want:
                stat = await self._world[reader].up.objects.stat(stored.cap.address)
                live = stat.shards_live
                await trio.sleep(2)
        if live < want:
            self._violated(f"S4: {live} of {want} shards of an object of {stored.owner} live")
