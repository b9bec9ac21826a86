"""The process that forks shims: used, not missed when it is gone, never left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import trio

from swarmnode.executor.process import ProcessExecutor
from tests.job_lab import SH, needs_bwrap, processes_with, run_job, running_executor, spec

pytestmark = needs_bwrap
ROOT = Path(__file__).resolve().parents[4]
NODE = """
import sys, time
from pathlib import Path
from swarmnode.executor.spawn import Shims
shims = Shims(Path("x"))
shims.stock()
print(shims._stem[0], flush=True)
time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True


async def until_gone(pid: int) -> None:
    with trio.fail_after(10):
        while not is_gone(pid):  # noqa: ASYNC110 - it is nobody's child any more
            await trio.sleep(0.02)


def stem_of(executor: ProcessExecutor) -> int:
    stem = executor._shims._stem
    assert stem is not None
    return stem[0]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


async def test_one_process_forks_every_shim_and_outlives_none_of_its_executor(
    tmp_path: Path,
) -> None:
    async with running_executor(tmp_path / "x") as executor:
        stem = stem_of(executor)
        for name in ("t.1", "t.2"):
            job = spec(name, SH, "-c", "sleep 600")
            await executor.prepare(job.job)
            await executor.start(job)
            state = executor._known(job.job).folder.read_state()
            assert state is not None
            assert parent_of(state.shim) == stem
            assert os.getsid(state.shim) == state.shim, "in a session of its own"
        assert stem_of(executor) == stem
    assert is_gone(stem)


async def test_shims_live_on_without_the_process_that_forked_them(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        job = spec(
            "t.1", SH, "-c", "trap 'echo heard; exit 3' TERM; echo on; while :; do sleep 0.01; done"
        )
        await executor.prepare(job.job)
        await executor.start(job)
        with trio.fail_after(10):
            while not await executor.read_log(job.job, "stdout", 0, 99):  # noqa: ASYNC110
                await trio.sleep(0.02)
        stem = stem_of(executor)
        os.kill(stem, signal.SIGKILL)
        await until_gone(stem)
        ended = await executor.stop(job.job, 5)
        out = await executor.read_log(job.job, "stdout", 0, 99)
    assert (ended.code, out) == (3, b"on\nheard\n")


async def test_a_list_of_processes_tells_whose_shim_each_is(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await run_job(executor, spec("t.1", SH, "-c", "true"))
        shim = stem_of(executor)
        with trio.fail_after(10):  # the kernel shows no words of a process that begins just now
            while shim not in processes_with(str(tmp_path / "x")):  # noqa: ASYNC110
                await trio.sleep(0.02)


async def test_one_that_was_ended_is_not_missed(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await run_job(executor, spec("t.1", SH, "-c", "true"))
        stem = stem_of(executor)
        os.kill(stem, signal.SIGKILL)
        await until_gone(stem)
        ended, out, err = await run_job(executor, spec("t.2", SH, "-c", "echo hi"))
    assert (ended.code, out) == (0, "hi\n"), err


async def test_it_ends_with_a_node_that_is_killed() -> None:
    node = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", NODE], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert node.stdout is not None
    with node.stdout as said:
        shim = int(await trio.to_thread.run_sync(said.readline))
    assert not is_gone(shim)
    node.kill()
    node.wait()
    await until_gone(shim)


async def test_what_the_nodes_starter_ignores_or_blocks_no_job_does(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        async with running_executor(tmp_path / "x") as executor:
            dying = [
                await run_job(executor, spec(f"t.{n}", SH, "-c", f"kill -{n} $$; echo deaf"))
                for n in (signal.SIGQUIT.value, signal.SIGUSR2.value)
            ]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGQUIT, before)
    assert [(ended.code, out) for ended, out, _ in dying] == [(131, ""), (140, "")]
