"""One machine with its memory service and one job, on virtual time."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from p2p.ids import PeerId
from p2p.workers import InlineWorkers, Workers
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.port import JobId, JobSpec
from swarmnode.memory.service import MemoryService
from swarmnode.tasks.checkpoint import CheckpointRecord, WatchSpec
from swarmnode.tasks.ids import TaskId
from testnet.sim.clock import VirtualWall
from testnet.sim.memory_objects import MemoryNames, MemoryObjects, Pool
from tests.task_keys import STATE_KEY, grant_for

TASK = TaskId("a" * 16)
MIB = 1024 * 1024


def job_spec(job: JobId, *argv: str) -> JobSpec:
    return JobSpec(job, argv, {}, 1000, MIB * 64, 8, MIB * 64, 1e6)


@dataclass
class Lab:
    """One machine with its memory service and one job."""

    pool: Pool = field(default_factory=Pool)
    fence: int = 1
    programs: dict[str, Any] = field(default_factory=dict)
    workers: Workers = field(default_factory=InlineWorkers)
    reported: list[CheckpointRecord] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wall = VirtualWall()
        self.job = JobId(f"{TASK}.{self.fence}")
        self.executor = FakeExecutor(programs=self.programs, wall_ms=self.wall)
        self.objects = MemoryObjects(self.pool, PeerId("bob"), self.wall)
        self.names = MemoryNames(self.pool, PeerId("bob"))
        self.memory = MemoryService(
            self.executor, self.objects, self.names, workers=self.workers, wall_ms=self.wall
        )
        self.came = trio.Event()

    async def on_checkpoint(self, checkpoint: CheckpointRecord) -> None:
        self.reported.append(checkpoint)
        self.came.set()
        self.came = trio.Event()
        await trio.lowlevel.checkpoint()

    async def on_trouble(self, words: str) -> None:
        self.troubles.append(words)
        await trio.lowlevel.checkpoint()

    def watch_spec(self, **changes: object) -> WatchSpec:
        values: dict[str, Any] = {
            "folder": "checkpoint",
            "every_ms": 1000,
            "keep": 2,
            "last_step": 0,
            "names_grant": grant_for(PeerId("bob"), self.fence),
            "state_key": STATE_KEY,
            **changes,
        }
        return WatchSpec(task=TASK, fence=self.fence, buyer=PeerId("alice"), **values)

    @asynccontextmanager
    async def watching(self, *argv: str, **changes: object) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.executor.run)
            await self.executor.prepare(self.job)
            await self.executor.start(job_spec(self.job, *(argv or ("sleep", "1000000"))))
            spec = self.watch_spec(**changes)
            nursery.start_soon(
                self.memory.watch, self.job, spec, self.on_checkpoint, self.on_trouble
            )
            with trio.fail_after(100_000):
                yield
            nursery.cancel_scope.cancel()

    async def until_step(self, step: int) -> CheckpointRecord:
        while not self.reported or self.reported[-1].step < step:
            await self.came.wait()
        return self.reported[-1]

    async def ask(self, **request: object) -> dict[str, Any]:
        answer = await self.executor.ask(self.job, json.dumps(request).encode())
        reply: dict[str, Any] = json.loads(answer)
        return reply

    async def write(self, name: str, data: bytes) -> None:
        await self.executor.put_file(self.job, name, _once(data))

    async def stage(self, step: int, data: bytes = b"x") -> None:
        await self.write(f"checkpoint/step-{step}/model", data)

    async def files(self) -> list[str]:
        return [one.name for one in await self.executor.list_files(self.job, "**")]

    async def read(self, name: str) -> bytes:
        return b"".join([part async for part in self.executor.read_file(self.job, name)])

    async def restored(self) -> "Lab":
        """Another machine, with what it gets of the newest checkpoint."""
        other = Lab(pool=self.pool, fence=self.fence + 1)
        await other.executor.prepare(other.job)
        await other.memory.restore(other.job, self.reported[-1])
        return other

    def acknowledge(self) -> None:
        """The submitter has the newest one."""
        self.memory.acknowledge(self.job, self.reported[-1].made_ms)

    def kept_steps(self) -> list[int]:
        return [int(entry.name.split("/")[2]) for entry in self.objects.entries()]


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
