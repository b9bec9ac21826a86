"""What the processes of a job hold and were given, seen from outside: nothing of the node's."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from tests.job_lab import SH, needs_bwrap, needs_root, running_executor, spec

JOB = JobId("t.1")
LOADED = {
    "LD_PRELOAD": "/work/evil.so", "LD_AUDIT": "/work/evil.so", "LD_LIBRARY_PATH": "/work",
    "GCONV_PATH": "/work", "LOCPATH": "/work", "PYTHONHOME": "/work", "PYTHONSTARTUP": "/work/x",
    "BASH_ENV": "/work/x", "ENV": "/work/x", "NODE_OPTIONS": "-r /work/x", "TMPDIR": "/work",
}  # fmt: skip
"""What makes a program load something of the task's (CVE-2025-23266)."""
BOXES = [
    pytest.param("bwrap", marks=needs_bwrap),
    pytest.param("container", marks=needs_root),
]


def family(pid: int) -> Iterator[int]:
    """A process and all that came of it."""
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from family(int(child))


async def family_of(executor: ProcessExecutor, env: Mapping[str, str] | None = None) -> list[int]:
    """The shim of a job that runs, what is between, and the job's own; in that order."""
    await executor.prepare(JOB)
    await executor.start(spec(JOB, SH, "-c", "/bin/sleep 60 & echo up; wait", env=env or {}))
    await executor.log_grew(JOB, "stdout", 0)
    state = executor._known(JOB).folder.read_state()
    assert state is not None
    return list(family(state.shim))


def told(pid: int, what: str) -> bytes:
    """A file of a process's in /proc."""
    return Path(f"/proc/{pid}/{what}").read_bytes()


def held(pid: int) -> dict[int, str]:
    """The descriptors of a process and what they are of."""
    base = f"/proc/{pid}/fd"
    return {int(name): os.readlink(f"{base}/{name}") for name in os.listdir(base)}


@pytest.mark.parametrize("box", BOXES)
async def test_no_descriptor_but_three_is_open_in_a_task(open_path: Path, box: str) -> None:
    """CVE-2024-21626: a folder of the machine was open in one that was about to become a task."""
    async with running_executor(open_path / "x", box) as executor:
        shim, *rest = await family_of(executor)
        between = [pid for pid in rest if b"bwrap" in told(pid, "cmdline")]
        for pid in rest:
            found = held(pid)
            assert found[0] == "/dev/null"
            kinds = {place.partition(":")[0] for number, place in found.items() if number}
            assert kinds == ({"pipe", "anon_inode"} if pid in between else {"pipe"})
            assert pid in between or set(found) == {0, 1, 2}
        own = [place for place in held(shim).values() if place.startswith("/")]
        jobs = str(open_path / "x" / "jobs" / JOB) + "/"
        assert all(place.startswith((jobs, "/dev/null", "/tmp/0")) for place in own), own
        assert not any(stat.S_ISSOCK(os.stat(f"/proc/{shim}/fd/{n}").st_mode) for n in held(shim))
        await executor.stop(JOB, 0)


@pytest.mark.parametrize("box", BOXES)
async def test_what_a_task_has_loaded_is_loaded_by_none_of_its_helpers(
    open_path: Path, box: str
) -> None:
    async with running_executor(open_path / "x", box) as executor:
        pids = await family_of(executor, LOADED)
        helpers = [pid for pid in pids if b"SWARM_TASK" not in told(pid, "environ")]
        tasks = [pid for pid in pids if pid not in helpers]
        assert len(helpers) == (3 if box == "bwrap" else 1)
        for pid in helpers:
            assert not [name for name in LOADED if name.encode() + b"=" in told(pid, "environ")]
            assert b"evil" not in told(pid, "maps")
        assert tasks
        assert all(b"LD_PRELOAD=/work/evil.so" in told(pid, "environ") for pid in tasks)
        await executor.stop(JOB, 0)


@needs_bwrap
@needs_root
async def test_a_device_in_what_a_task_was_given_opens_nothing(open_path: Path) -> None:
    """The node makes none; another program of root's may have."""
    async with running_executor(open_path / "x") as executor:
        await executor.prepare(JOB)
        work = executor._folder_of(JOB).work
        os.mknod(work / "zero", 0o20666, os.makedev(1, 5))
        (work / "zero").chmod(0o666)
        await executor.start(spec(JOB, SH, "-c", "head -c 1 zero && echo opened"))
        await executor.wait(JOB)
        said = await executor.read_log(JOB, "stdout", 0, 99)
        why = await executor.read_log(JOB, "stderr", 0, 99)
    assert said == b""
    assert b"Permission denied" in why
