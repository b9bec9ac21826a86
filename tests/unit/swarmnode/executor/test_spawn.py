"""The shim that waits for the next job: used, not missed when it is gone, never left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import trio

from tests.job_lab import SH, needs_bwrap, processes_with, run_job, running_executor, spec

pytestmark = needs_bwrap
ROOT = Path(__file__).resolve().parents[4]
NODE = """
import sys, time
from pathlib import Path
from swarmnode.executor.spawn import Shims
shims = Shims(Path("x"))
shims.stock()
print(shims._waiting[0], flush=True)
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


async def waiting(executor: object) -> int:
    with trio.fail_after(10):
        while (shim := executor._shims._waiting) is None:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await trio.sleep(0.02)
    return int(shim[0])


async def test_the_next_job_is_given_to_the_shim_that_waits(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await run_job(executor, spec("t.1", SH, "-c", "true"))
        shim = await waiting(executor)
        ended, out, err = await run_job(executor, spec("t.2", SH, "-c", "echo hi"))
        state = executor._known("t.2").folder.read_state()  # type: ignore[arg-type]
        another = await waiting(executor)
    assert (ended.code, out) == (0, "hi\n"), err
    assert state is not None
    assert state.shim == shim != another
    assert is_gone(another)


async def test_a_list_of_processes_tells_whose_shim_each_is(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await run_job(executor, spec("t.1", SH, "-c", "true"))
        shim = await waiting(executor)
        with trio.fail_after(10):  # the kernel shows no words of a process that begins just now
            while shim not in processes_with(str(tmp_path / "x")):  # noqa: ASYNC110
                await trio.sleep(0.02)


async def test_a_waiting_shim_that_was_ended_is_not_missed(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await run_job(executor, spec("t.1", SH, "-c", "true"))
        shim = await waiting(executor)
        os.kill(shim, signal.SIGKILL)
        await until_gone(shim)
        ended, out, err = await run_job(executor, spec("t.2", SH, "-c", "echo hi"))
    assert (ended.code, out) == (0, "hi\n"), err


async def test_a_waiting_shim_ends_with_a_node_that_is_killed() -> None:
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
