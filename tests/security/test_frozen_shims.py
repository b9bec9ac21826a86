"""Frozen shims, and what forks them: jobs are bounded all the same, and no node waits."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from swarmnode.executor.port import JobId
from swarmnode.executor.spawn import Shims
from tests.job_lab import SH, needs_bwrap, run_job, running_executor, spec
from tests.unit.swarmnode.executor.test_spawn import is_gone, stem_of, until_gone


@needs_bwrap
async def test_what_forks_shims_is_replaced_when_it_is_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmnode.executor.spawn.JOB_START_TIMEOUT_S", 1.0)
    async with running_executor(tmp_path / "x") as executor:
        stem = stem_of(executor)
        os.kill(stem, signal.SIGSTOP)
        ended, out, err = await run_job(executor, spec("t.1", SH, "-c", "echo hi"))
        assert is_gone(stem)
    assert (ended.code, out) == (0, "hi\n"), err


@needs_bwrap
async def test_a_job_whose_shim_freezes_as_it_begins_ends_as_lost_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmnode.executor.watch.JOB_START_TIMEOUT_S", 1.0)
    start, frozen = Shims.start, list[int]()

    def start_frozen(shims: Shims, folder: Path, fds: Sequence[int]) -> int:
        shim = start(shims, folder, fds)
        if not frozen:
            os.kill(shim, signal.SIGSTOP)
            frozen.append(shim)
        return shim

    monkeypatch.setattr(Shims, "start", start_frozen)
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JobId("t.2"))
        await executor.start(spec("t.2", SH, "-c", "sleep 600"))
        with trio.fail_after(20):
            ended = await executor.stop(JobId("t.2"), 0)
        await until_gone(frozen[0])
        await executor.forget(JobId("t.2"))
        again, out, err = await run_job(executor, spec("t.3", SH, "-c", "echo hi"))
    assert ended.reason == "lost"
    assert (again.code, out) == (0, "hi\n"), err


def test_a_node_that_ends_does_not_wait_for_it_either(tmp_path: Path) -> None:
    shims = Shims(tmp_path)
    shims.stock()
    assert shims._stem is not None
    stem = shims._stem[0]
    os.kill(stem, signal.SIGSTOP)
    shims.let_go()
    assert is_gone(stem)
