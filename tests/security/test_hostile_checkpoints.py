"""Checkpoints with any number and of any size: they end no node, whoever tells of them."""

import os
import time
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from p2p.workers import InlineWorkers
from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.limits import MADE_MS_MAX, STEP_MAX
from swarmnode.memory.entries import look_at
from swarmnode.memory.folder import CheckpointFolder, by_top
from swarmnode.tasks.checkpoint import CheckpointRecord, OlderStep, StoredFile, fits_award
from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import Parts
from swarmnode.tree.scan import Found, Scan
from testnet.sim.seeded import simulated
from tests.executor_lab import pieces
from tests.job_lab import needs_bwrap, running_executor
from tests.memory_lab import MIB, Lab

T = TypeVar("T")
FILE = StoredFile(".", 1, "swarm:x", tree=True)
HUGE = [STEP_MAX + 1, 2**63, 2**64 - 1, 2**64, 10**30]


@pytest.mark.parametrize("step", HUGE)
@simulated
async def test_a_marker_that_names_any_number_is_trouble_and_ends_nothing(step: int) -> None:
    lab = Lab()
    async with lab.watching():
        await lab.write("checkpoint/model", b"x")
        await lab.write("checkpoint/step.json", b'{"step": %d}' % step)
        await trio.sleep(100)
        assert lab.reported == []
        assert "steps end at" in lab.troubles[-1]
        await lab.write("checkpoint/step.json", b'{"step": 7}')
        assert (await lab.until_step(7)).step == 7


@simulated
async def test_a_whole_folder_after_the_last_step_there_is_ends_nothing() -> None:
    lab = Lab()
    async with lab.watching(last_step=STEP_MAX):
        await lab.write("checkpoint/model", b"x")
        await trio.sleep(100)
        assert "steps end at" in lab.troubles[-1]


def test_a_checkpoint_that_could_not_be_counted_on_from_is_nobodys() -> None:
    assert fits_award(CheckpointRecord(STEP_MAX, (FILE,), MADE_MS_MAX))
    for step in (-1, STEP_MAX + 1, 2**64 - 1):
        assert not fits_award(CheckpointRecord(step, (FILE,), 1))
        assert not fits_award(
            CheckpointRecord(7, (FILE,), 1, (OlderStep(step, FILE, beside=True),))
        )
    for made_ms in (-1, MADE_MS_MAX + 1, 2**64 - 1):
        assert not fits_award(CheckpointRecord(7, (FILE,), made_ms))


def test_a_checkpoint_of_many_files_is_looked_over_in_time_that_grows_with_them() -> None:
    names = [(b"checkpoint", b"step-1", b"%05d" % number) for number in range(30_000)]
    found = [
        Found(names[0][:2], EntryKind.FOLDER, 0o755),
        *(Found(n, EntryKind.FILE, 0o644) for n in names),
    ]
    began_s = time.thread_time()
    assert by_top(found) == {names[0][:2]: found}
    assert by_top(found[1:]) == {one.parts: [one] for one in found[1:]}
    assert time.thread_time() - began_s < 5


class Noted:
    """Workers that note what they are given."""

    def __init__(self) -> None:
        self.works: list[object] = []

    async def run(self, work: Callable[[], T]) -> T:
        self.works.append(work.func if isinstance(work, partial) else work)
        await trio.lowlevel.checkpoint()
        return work()


@simulated
async def test_names_of_a_checkpoint_are_sorted_where_they_hold_up_nobody() -> None:
    noted = Noted()
    lab = Lab(workers=noted)
    async with lab.watching():
        await lab.write("checkpoint/model-7.pt", b"x")
        assert (await lab.until_step(7)).step == 7
    assert {look_at, by_top} <= set(noted.works)


class Growing:
    """A machine on which a marker grows as soon as it was looked at."""

    def __init__(self, executor: ProcessExecutor, marker: Path) -> None:
        self.executor, self.marker = executor, marker

    async def scan(self, job: JobId, base: Parts) -> Scan:
        looked = await self.executor.scan(job, base)
        os.truncate(self.marker, 256 * MIB)
        return looked

    def read_file(self, job: JobId, name: str) -> AsyncGenerator[bytes, None]:
        return self.executor.read_file(job, name)


@needs_bwrap
async def test_a_marker_that_grows_once_it_was_looked_at_is_none(tmp_path: Path) -> None:
    """It was read to its end, into the memory of the node."""
    job = JobId("t.1")
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(job)
        await executor.put_file(job, "checkpoint/step.json", pieces(b'{"step": 7}'))
        marker = tmp_path / "x/jobs/t.1/work/checkpoint/step.json"
        growing = Growing(executor, marker)
        workers = InlineWorkers()
        folder = CheckpointFolder(job, growing, workers, "checkpoint")  # type: ignore[arg-type]
        tracemalloc.start()
        try:
            look = await folder.look()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (peak < 8 * MIB, [entry.step for entry in look.entries]) == (True, [])
