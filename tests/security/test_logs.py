"""What a task prints is the node's: whole, bounded, soon there, and not the task's to change."""

import os
import signal
from pathlib import Path

import pytest
import trio

from swarmnode.executor.port import JobId
from tests.job_lab import (
    MIB,
    PYTHON,
    SH,
    needs_bwrap,
    needs_python,
    processes_with,
    run_job,
    running_executor,
    spec,
)
from tests.small_disk import small_disk

pytestmark = needs_bwrap
JOB = JobId("t.1")


@pytest.fixture(params=["bwrap", "container"])
def sandbox(request: pytest.FixtureRequest) -> str:
    if request.param == "container" and os.geteuid() != 0:
        pytest.skip("the container sandbox needs root: users are changed")
    return str(request.param)


async def test_a_task_cannot_take_back_what_it_printed(open_path: Path, sandbox: str) -> None:
    script = (
        "echo one; echo bad >&2; : > /dev/stdout; : > /dev/stderr; echo two > /dev/stdout; "
        "truncate -s 0 /dev/stdout; truncate -s 0 /proc/self/fd/2; echo three >> /dev/stderr"
    )
    async with running_executor(open_path / "x", sandbox) as executor:
        _, out, err = await run_job(executor, spec(JOB, SH, "-c", script))
    assert out == "one\ntwo\n", err
    assert (err.splitlines()[0], err.splitlines()[-1]) == ("bad", "three")


@needs_python
async def test_a_task_has_nothing_of_the_file_of_its_log(tmp_path: Path) -> None:
    script = (
        "import errno, os, stat\n"
        "print(stat.S_ISFIFO(os.fstat(1).st_mode), stat.S_ISFIFO(os.fstat(2).st_mode))\n"
        "for step in (lambda: os.lseek(1, 0, 0), lambda: os.ftruncate(1, 0),\n"
        "             lambda: os.pwrite(1, b'x', 0), lambda: os.open('/dev/stdout/..', 0)):\n"
        "    try: step()\n"
        "    except OSError as exc: print(errno.errorcode[exc.errno])\n"
    )
    async with running_executor(tmp_path / "x") as executor:
        _, out, err = await run_job(executor, spec(JOB, PYTHON, "-c", script))
    assert out.split() == ["True", "True", "ESPIPE", "EINVAL", "ESPIPE", "ENOTDIR"], err


async def test_what_is_printed_shows_while_the_task_runs(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await executor.start(spec(JOB, SH, "-c", "echo a; sleep 0.3; echo b; sleep 60"))
        for seen in (0, 2):
            with trio.fail_after(5):
                await executor.log_grew(JOB, "stdout", seen)
        assert await executor.read_log(JOB, "stdout", 0, MIB) == b"a\nb\n"
        await executor.stop(JOB, 0)


async def test_what_a_task_prints_last_is_there_when_it_has_ended(
    open_path: Path, sandbox: str
) -> None:
    script = "head -c 9000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 3"
    async with running_executor(open_path / "x", sandbox) as executor:
        await executor.prepare(JOB)
        await executor.start(spec(JOB, SH, "-c", script))
        ended = await executor.wait(JOB)
        job = open_path / "x" / "jobs" / JOB
        sizes = [(job / name).stat().st_size for name in ("stdout", "stderr")]
    assert (ended.code, ended.reason) == (3, "exit")
    assert sizes == [9_000_000, 3_000_000]


async def test_a_child_that_stays_does_not_keep_the_task_from_its_end(
    open_path: Path, sandbox: str
) -> None:
    script = "echo begun; setsid sleep 623 & echo done; exit 5"
    async with running_executor(open_path / "x", sandbox) as executor:
        ended, out, _ = await run_job(executor, spec(JOB, SH, "-c", script))
    assert (ended.code, out) == (5, "begun\ndone\n")
    assert ended.wall_s < 10
    assert processes_with("sleep\x00623") == []


async def test_not_a_byte_of_a_log_goes_past_its_bound(open_path: Path, sandbox: str) -> None:
    script = "head -c 1000000 /dev/zero >&2; exec cat /dev/zero"
    async with running_executor(open_path / "x", sandbox, log_bytes=2 * MIB) as executor:
        ended, _, _ = await run_job(executor, spec(JOB, SH, "-c", script))
        job = open_path / "x" / "jobs" / JOB
        sizes = [(job / name).stat().st_size for name in ("stdout", "stderr")]
    assert ended.reason == "log"
    assert sizes == [2 * MIB, 1_000_000]


async def test_a_log_that_the_machines_disk_cannot_take_ends_the_task_and_not_the_node(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "small", 48) as disk:
        async with running_executor(disk / "x") as executor:
            what = spec(JOB, SH, "-c", "cat /dev/zero", disk_bytes=MIB)
            ended, _, _ = await run_job(executor, what)
            await executor.forget(JOB)
            again, out, err = await run_job(executor, spec("t.2", SH, "-c", "echo fine"))
    assert ended.reason == "lost"
    assert (again.code, out) == (0, "fine\n"), err


async def test_a_task_whose_shim_is_killed_does_not_wait_for_a_reader(
    open_path: Path, sandbox: str
) -> None:
    async with running_executor(open_path / "x", sandbox) as executor:
        await executor.prepare(JOB)
        script = "while :; do echo 0123456789; done; sleep 624"
        await executor.start(spec(JOB, SH, "-c", script))
        await executor.log_grew(JOB, "stdout", 0)
        state = executor._known(JOB).folder.read_state()
        assert state is not None
        os.kill(state.shim, signal.SIGKILL)
        ended = await executor.wait(JOB)
        assert ended.reason == "lost"
        with trio.fail_after(10):
            while processes_with("sleep 624"):  # noqa: ASYNC110 - the kernel tells nobody
                await trio.sleep(0.02)
