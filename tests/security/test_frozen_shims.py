"""A shim that was frozen while it waited: its job is bounded all the same, and no node waits."""

import os
import signal
from pathlib import Path

import pytest
import trio

from swarmnode.executor.port import JobId
from swarmnode.executor.spawn import Shims
from tests.job_lab import SH, needs_bwrap, run_job, running_executor, spec
from tests.unit.swarmnode.executor.test_spawn import is_gone, until_gone, waiting


@needs_bwrap
async def test_a_job_that_a_frozen_shim_got_ends_as_lost_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmnode.executor.watch.JOB_START_TIMEOUT_S", 1.0)
    async with running_executor(tmp_path / "x") as executor:
        await run_job(executor, spec("t.1", SH, "-c", "true"))
        shim = await waiting(executor)
        os.kill(shim, signal.SIGSTOP)
        await executor.prepare(JobId("t.2"))
        await executor.start(spec("t.2", SH, "-c", "echo never"))
        with trio.fail_after(20):
            ended = await executor.stop(JobId("t.2"), 0)
        await until_gone(shim)
        await executor.forget(JobId("t.2"))
        again, out, err = await run_job(executor, spec("t.3", SH, "-c", "echo hi"))
    assert ended.reason == "lost"
    assert (again.code, out) == (0, "hi\n"), err


def test_a_node_that_ends_does_not_wait_for_a_frozen_shim(tmp_path: Path) -> None:
    shims = Shims(tmp_path)
    shims.stock()
    assert shims._waiting is not None
    shim = shims._waiting[0]
    os.kill(shim, signal.SIGSTOP)
    shims.let_go()
    assert is_gone(shim)
