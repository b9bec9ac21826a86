"""A node that comes back knows whether the one before it died, and under which young jobs."""

import os
from pathlib import Path

import pytest
import trio

from p2p.workers import ThreadWorkers
from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.life import NodeLife, deaths_of
from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.limits import NODE_DEATH_SOON_MS
from tests.job_lab import SH, needs_bwrap, spec

JOB = JobId("t.1")
NOW_MS = 1_700_000_000_000


def job_in(tmp_path: Path, started_ms: int) -> JobFolder:
    folder = JobFolder(tmp_path / "t.1")
    folder.make()
    pairs = {"shim": 1, "shim_start": 1, "pid": 1, "pid_start": 1, "started_ms": started_ms}
    (folder.path / "state").write_text("".join(f"{key}={one}\0" for key, one in pairs.items()))
    return folder


def mark(tmp_path: Path, died_ms: int) -> NodeLife:
    """A node that began an hour before, was last seen alive then, and is gone."""
    life = NodeLife(tmp_path)
    life.begin(())
    boot = (tmp_path / "alive").read_text().split()[0]
    (tmp_path / "alive").write_text(f"{boot} {died_ms - 3_600_000}")
    os.utime(tmp_path / "alive", ns=(died_ms * 1_000_000,) * 2)
    return NodeLife(tmp_path)


def test_a_death_soon_after_the_start_is_noted_once_and_counted(tmp_path: Path) -> None:
    folder = job_in(tmp_path, NOW_MS)
    mark(tmp_path, NOW_MS + 7000).begin([folder])
    assert deaths_of(folder) == (7000, 1)
    mark(tmp_path, NOW_MS + 9000).begin([folder])
    assert deaths_of(folder) == (7000, 2)


def test_a_late_death_an_orderly_end_and_a_loss_of_power_are_not(tmp_path: Path) -> None:
    folder = job_in(tmp_path, NOW_MS)
    mark(tmp_path, NOW_MS + NODE_DEATH_SOON_MS + 1).begin([folder])
    orderly = mark(tmp_path, NOW_MS + 7000)
    orderly.end()
    orderly.begin([folder])
    mark(tmp_path, NOW_MS + 7000)
    (tmp_path / "alive").write_text(f"another-boot {NOW_MS}")
    NodeLife(tmp_path).begin([folder])
    assert deaths_of(folder) == (0, 0)


def test_a_job_that_was_over_before_is_not_to_blame(tmp_path: Path) -> None:
    folder = job_in(tmp_path, NOW_MS)
    (folder.path / "exit").write_text("")
    os.utime(folder.path / "exit", ns=((NOW_MS + 3000) * 1_000_000,) * 2)
    mark(tmp_path, NOW_MS + 7000).begin([folder])
    assert deaths_of(folder) == (0, 0)


@needs_bwrap
@pytest.mark.parametrize("in_order", [True, False])
async def test_the_next_node_names_the_job(tmp_path: Path, in_order: bool) -> None:
    for is_second in (False, True):
        executor = ProcessExecutor(tmp_path / "x", ExecutorConfig(), {}, ThreadWorkers())
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await nursery.start(executor.run)
                if executor.trouble():
                    pytest.skip(executor.trouble())
                if is_second:
                    (view,) = executor.jobs()
                    await executor.sweep(frozenset())
                else:
                    await executor.start(spec(JOB, SH, "-c", "sleep 60"))
                    if in_order:
                        executor.leave()
                nursery.cancel_scope.cancel()
    assert (view.node_died_ms == 0) is in_order
