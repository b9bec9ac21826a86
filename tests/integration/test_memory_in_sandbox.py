"""A real task in a real sandbox uses `ctx`; only the pool is in memory."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import trio
from msgspec.structs import replace

from p2p.ids import PeerId
from p2p.workers import InlineWorkers, ThreadWorkers
from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.memory.service import MemoryService
from swarmnode.sdk import ctx as ctx_source
from swarmnode.tasks.checkpoint import CheckpointRecord, WatchSpec
from swarmnode.tasks.ids import TaskId
from testnet.sim.memory_objects import MemoryNames, MemoryObjects, Pool
from tests.job_lab import MIB, PYTHON, needs_bwrap, needs_python, spec
from tests.task_keys import STATE_KEY, grant_for

TASK = TaskId("a" * 16)
TRAINEE = resources.files("swarmnode.demo").joinpath("trainee.py").read_bytes()
COUNTER = b"""
import swarm_ctx as ctx
n = ctx.state.get("runs", 0)
print(ctx.state.compare_and_set("runs", n or None, n + 1), n)
ctx.state.put("raw", bytes(range(256)))
print(ctx.state.get("raw") == bytes(range(256)), ctx.task_id, ctx.attempt)
ctx.checkpoint(n + 1, {"m": b"x"}, wait=True)
"""


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Site:
    """One machine: a real executor, and memory over a pool it shares."""

    def __init__(self, folder: Path, pool: Pool) -> None:
        config = ExecutorConfig(ctx_module=Path(ctx_source.__file__))
        self.executor = ProcessExecutor(folder, config, {}, ThreadWorkers())
        objects = MemoryObjects(pool, PeerId("bob"))
        names = MemoryNames(pool, PeerId("bob"))
        self.memory = MemoryService(
            self.executor, objects, names, workers=InlineWorkers(), wall_ms=lambda: 0
        )
        self.kept: list[CheckpointRecord] = []
        self.troubles: list[str] = []
        self.news = trio.Event()

    async def on_checkpoint(self, checkpoint: CheckpointRecord) -> None:
        self.kept.append(checkpoint)
        self.news.set()
        self.news = trio.Event()
        await trio.lowlevel.checkpoint()

    async def on_trouble(self, words: str) -> None:
        self.troubles.append(words)
        self.news.set()
        self.news = trio.Event()
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def running(
        self,
        program: bytes,
        *arguments: str,
        fence: int,
        restore: CheckpointRecord | None = None,
        folder: str = "",
    ) -> AsyncIterator[JobId]:
        job = JobId(f"{TASK}.{fence}")
        async with trio.open_nursery() as nursery:
            await nursery.start(self.executor.run)
            with trio.fail_after(150):  # of a machine that has much else to do
                await self.executor.prepare(job)
                await self.executor.put_file(job, "program.py", once(program))
                if restore is not None:
                    await self.memory.restore(job, restore)
                last_step = restore.step if restore else 0
                grant = grant_for(PeerId("bob"), fence)
                watch = WatchSpec(
                    TASK, fence, PeerId("alice"), "", 100, 2, last_step, grant, STATE_KEY
                )
                if folder:
                    watch = replace(watch, folder=folder, last=restore, is_restored=bool(restore))
                ears = (self.on_checkpoint, self.on_trouble)
                await nursery.start(self.memory.watch, job, watch, *ears)
                what = spec(
                    job, PYTHON, "program.py", *arguments, disk_bytes=64 * MIB
                )  # 10,000 files
                await self.executor.start(what)
                try:
                    yield job
                finally:
                    with trio.CancelScope(shield=True):
                        await self.executor.sweep(frozenset())
            nursery.cancel_scope.cancel()

    async def log(self, job: JobId) -> list[str]:
        await self.executor.wait(job)
        error = await self.executor.read_log(job, "stderr", 0, 10_000)
        assert error == b"", error.decode()
        return (await self.executor.read_log(job, "stdout", 0, 1_000_000)).decode().splitlines()


@needs_bwrap
@needs_python
async def test_a_training_goes_on_on_another_machine_from_its_last_checkpoint(
    tmp_path: Path,
) -> None:
    pool = Pool()
    first, second = Site(tmp_path / "first", pool), Site(tmp_path / "second", pool)
    async with first.running(TRAINEE, "100000", "0.01", fence=1):
        while not first.kept or first.kept[-1].step < 20:
            await first.news.wait()
    last = first.kept[-1]
    steps = str(last.step + 20)
    async with second.running(TRAINEE, steps, "0.01", fence=2, restore=last) as job:
        lines = [json.loads(line) for line in await second.log(job)]
    assert lines[0] == {"first_step": last.step}
    assert lines[1] == {"step": last.step + 1}
    assert lines[-1] == {"total": sum(range(last.step + 21))}


@needs_bwrap
@needs_python
async def test_state_outlives_machine_and_attempt(tmp_path: Path) -> None:
    pool = Pool()
    for fence in (1, 2):
        site = Site(tmp_path / str(fence), pool)
        async with site.running(COUNTER, fence=fence) as job:
            assert await site.log(job) == [f"True {fence - 1}", f"True {TASK} {fence}"]
        assert [one.step for one in site.kept] == [fence]


IN_PLACE = b"""
import os, sys, time
os.makedirs("ckpt/step-1")
for name in (".metadata", "a b", "w-0"):
    open("ckpt/step-1/" + name, "w").write(name)
os.link("ckpt/step-1/w-0", "ckpt/step-1/w-1")
os.symlink("w-0", "ckpt/step-1/latest")
os.chmod("ckpt/step-1/w-0", 0o750)
open("ckpt/best.txt", "w").write("1")
os.symlink("step-1", "ckpt/newest")
for number in range(10_000):
    open("ckpt/step-1/part-%d" % number, "w").close()
os.mkdir("ckpt/step-2")
open("ckpt/step-2/w", "w").write("2")
os.symlink("/work/ckpt/step-1", "ckpt/step-2/before")
os.symlink("/etc/passwd", "ckpt/step-2/way-out")
time.sleep(150)
"""
RESUMED = b"""
import os
one = "ckpt/step-1/"
print(open(one + ".metadata").read(), open(one + "a b").read(), open(one + "latest").read())
print(os.stat(one + "w-0").st_ino == os.stat(one + "w-1").st_ino, oct(os.stat(one + "w-1").st_mode))
print(open("ckpt/best.txt").read(), os.readlink("ckpt/newest"), len(os.listdir(one)))
print(sorted(os.listdir("ckpt/step-2")), os.readlink("ckpt/step-2/before"))
"""


@needs_bwrap
@needs_python
async def test_a_checkpoint_keeps_everything_or_says_what_it_cannot_keep(tmp_path: Path) -> None:
    pool = Pool()
    first, second = Site(tmp_path / "first", pool), Site(tmp_path / "second", pool)
    async with first.running(IN_PLACE, fence=1, folder="ckpt"):
        while not first.troubles or not first.kept[-1].sure or first.kept[-1].step != 2:
            await first.news.wait()
    said = "kept, but not all of it: left out: 'ckpt/step-2/way-out' is a link that leads out"
    assert first.troubles[0].startswith(said)
    async with second.running(RESUMED, fence=2, restore=first.kept[-1], folder="ckpt") as job:
        assert await second.log(job) == [
            ".metadata a b w-0",
            "True 0o100750",
            "1 step-1 10005",
            "['before', 'w'] ../../ckpt/step-1",
        ]
