"""A node that is killed at any moment finds its jobs again: same process, whole log, right end."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing

from p2p.workers import ThreadWorkers
from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from tests.job_lab import MIB, SH, needs_bwrap, processes_with, running_executor, spec

pytestmark = needs_bwrap

ResultT = TypeVar("ResultT")
JOB = JobId("t.1")
ROOT = Path(__file__).resolve().parents[4]
NODE = """
import sys, trio
from pathlib import Path
from p2p.workers import ThreadWorkers
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.executor.process import ProcessExecutor
from tests.job_lab import spec

async def main(folder, *argv):
    executor = ProcessExecutor(Path(folder), ExecutorConfig(), {}, ThreadWorkers())
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        print(executor.trouble() or "ready", flush=True)
        await executor.prepare("t.1")
        print((await executor.start(spec("t.1", *argv))).pid, flush=True)

trio.run(main, *sys.argv[1:])
"""
COUNT = "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); sleep 0.005; done; exit 7"


def start_node(folder: Path, *argv: str) -> "subprocess.Popen[str]":
    """A process that starts the job; it has said `ready` and not yet the job's pid."""
    node = subprocess.Popen(
        [sys.executable, "-c", NODE, str(folder), *argv],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    said = read_line(node)
    if said != "ready":
        kill(node)
        pytest.skip(said)
    return node


def start_sleep() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "622"])


def read_line(node: "subprocess.Popen[str]") -> str:
    assert node.stdout is not None
    return node.stdout.readline().strip()


def kill(node: "subprocess.Popen[str]") -> None:
    assert node.stdout is not None
    node.kill()
    node.wait()
    node.stdout.close()


async def test_a_killed_nodes_job_runs_on_and_is_found_again(tmp_path: Path) -> None:
    node = start_node(tmp_path / "x", SH, "-c", COUNT)
    pid = int(read_line(node))
    kill(node)
    async with running_executor(tmp_path / "x") as executor:
        assert [view.pid for view in executor.jobs()] == [pid]
        ended = await executor.wait(JOB)
        log = await executor.read_log(JOB, "stdout", 0, MIB)
    assert (ended.code, ended.reason) == (7, "exit")
    assert log.split() == [str(i).encode() for i in range(100)]


class SlowWorkers(ThreadWorkers):
    """Once asked to, work takes until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.waits, self.go = False, trio.Event(), trio.Event()

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        result = await super().run(work)
        if self.slow:
            self.waits.set()
            await self.go.wait()
        return result


async def test_a_stop_while_a_job_is_being_started_leaves_it_to_the_next_node(
    tmp_path: Path,
) -> None:
    workers = SlowWorkers()
    executor = ProcessExecutor(tmp_path / "x", ExecutorConfig(), {}, workers)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(executor.run)
            await executor.prepare(JOB)
            workers.slow = True
            nursery.start_soon(executor.start, spec(JOB, SH, "-c", "exit 7"))
            await workers.waits.wait()
            nursery.cancel_scope.cancel()
            nursery.start_soon(_set_after_a_while, workers.go)
    async with running_executor(tmp_path / "x") as again:
        assert (await again.wait(JOB)).code == 7


async def _set_after_a_while(event: trio.Event) -> None:
    """Once whatever was cancelled has had its turns."""
    with trio.CancelScope(shield=True):
        await trio.testing.wait_all_tasks_blocked(0.05)
        event.set()


@pytest.mark.parametrize("seed", range(6))
async def test_wherever_the_kill_hits_the_job_runs_once_or_never(tmp_path: Path, seed: int) -> None:
    node = start_node(tmp_path / "x", SH, "-c", f"echo started; {COUNT}")
    await trio.sleep(random.Random(seed).random() * 0.06)  # a start takes some 30 ms
    kill(node)
    async with running_executor(tmp_path / "x") as executor:
        for view in executor.jobs():
            ended = await executor.wait(view.job)
            log = (await executor.read_log(view.job, "stdout", 0, MIB)).split()
            if ended.reason == "exit":
                assert (ended.code, len(log), log.count(b"started")) == (7, 101, 1)
            else:
                assert (ended.reason, log) == ("lost", [])


async def test_the_sweep_ends_a_job_that_nobody_wants_any_more(tmp_path: Path) -> None:
    node = start_node(tmp_path / "x", SH, "-c", "setsid sleep 621 & sleep 621")
    read_line(node)
    kill(node)
    async with running_executor(tmp_path / "x") as executor:
        assert await executor.sweep(frozenset()) == (JOB,)
        assert executor.jobs() == []
    assert processes_with("sleep\x00621") == []
    assert os.listdir(tmp_path / "x" / "jobs") == []


async def test_after_a_power_cut_a_job_is_lost_and_no_stranger_is_killed(tmp_path: Path) -> None:
    bystander = start_sleep()
    try:
        async with running_executor(tmp_path / "x") as executor:
            await executor.prepare(JOB)
            await executor.start(spec("t.1", SH, "-c", "exit 0"))
            await executor.wait(JOB)
            folder = executor._known(JOB).folder.path
            record = json.loads((folder / "record.json").read_bytes())
            record["boot_id"] = "another boot"
            (folder / "record.json").write_text(json.dumps(record))
            (folder / "exit").unlink()
            (folder / "state").write_bytes(
                b"".join(
                    b"%s=%d\0" % (key, bystander.pid)
                    for key in (b"shim", b"shim_start", b"pid", b"pid_start", b"started_ms")
                )
            )
            async with running_executor(tmp_path / "x") as again:
                ended = await again.wait(JOB)
        assert ended.reason == "lost"
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_sigterm_to_the_shim_gives_the_job_its_notice(tmp_path: Path) -> None:
    script = "trap 'echo noticed; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await executor.start(spec("t.1", SH, "-c", script))
        await executor.log_grew(JOB, "stdout", 0)
        state = JobFolder(tmp_path / "x" / "jobs" / JOB).read_state()
        assert state is not None
        os.kill(state.shim, signal.SIGTERM)
        ended = await executor.wait(JOB)
        log = await executor.read_log(JOB, "stdout", 0, MIB)
    assert (ended.code, ended.reason, log) == (3, "killed", b"up\nnoticed\n")


async def test_a_stop_that_comes_before_the_program_is_not_lost(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        for number in range(5):
            job = JobId(f"t.{number}")
            await executor.prepare(job)
            await executor.start(spec(job, SH, "-c", "exec sleep 60"))
            ended = await executor.stop(job, 20.0)
            assert (ended.code, ended.reason) == (143, "killed")
            assert ended.wall_s < 10
