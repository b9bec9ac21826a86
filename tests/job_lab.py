"""Real jobs for tests: an executor on a temporary folder, specs, and what is left over."""

import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from p2p.workers import ThreadWorkers
from swarmnode.executor.disk.work_use import IMAGE
from swarmnode.executor.port import DataServer, Executor, JobExit, JobId, JobSpec
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox import bubblewrap
from swarmnode.executor.sandbox.capability import BWRAP, CONTAINER, ExecutorConfig

MIB = 1024 * 1024
SH = "/bin/sh"
PYTHON = "/usr/bin/python3"

needs_bwrap = pytest.mark.skipif(
    not bubblewrap.find(), reason="bubblewrap is missing: apt install bubblewrap"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users are changed")
needs_python = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"{PYTHON} is missing")

_RANGES: Final = [range(first, first + 65) for first in range(62_000, 65_000, 65)]
"""Of users, none of them those of a node on this machine."""


def spec(job: str, *argv: str, **changes: object) -> JobSpec:
    """A small job."""
    values: dict[str, object] = {
        "job": JobId(job),
        "argv": argv,
        "env": {},
        "cpu_millis": 1000,
        "memory_bytes": 128 * MIB,
        "pids_max": 32,
        "disk_bytes": 32 * MIB,
        "wall_s": 30.0,
        **changes,
    }
    return JobSpec(**values)  # type: ignore[arg-type]


@cache
def own_users() -> tuple[range, socket.socket]:
    """Users for the mode `container` that no other run of tests on this machine has meanwhile.

    It ends whatever its users run: two runs with the same would end each other's jobs. The name of
    the socket marks them as taken, for as long as this process lives.
    """
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for users in _RANGES:
        try:
            mark.bind(f"\0swarm-test-users-{users.start}")
        except OSError:
            continue
        return users, mark
    raise AssertionError("more runs of these tests on one machine than there are users for")


@asynccontextmanager
async def running_executor(
    folder: Path,
    sandbox: str = BWRAP,
    environments: Mapping[str, Path] | None = None,
    serve: DataServer | None = None,
    gpu_device: Callable[[str], str] = str,
    **settings: Any,  # noqa: ANN401
) -> AsyncIterator[ProcessExecutor]:
    """An executor that serves; at the end every job is swept."""
    if sandbox == CONTAINER:
        users, _ = own_users()
        settings = {"uid_first": users.start, "uid_count": len(users), **settings}
    config = ExecutorConfig(sandbox=sandbox, **settings)
    executor = ProcessExecutor(
        folder, config, environments or {}, ThreadWorkers(), gpu_device=gpu_device
    )
    if serve is not None:
        executor.on_data(serve)
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        if trouble := executor.trouble():
            pytest.skip(trouble)
        try:
            with trio.fail_after(60):
                yield executor
        finally:
            with trio.CancelScope(shield=True):
                await executor.sweep(frozenset())
            nursery.cancel_scope.cancel()


async def run_job(executor: Executor, what: JobSpec) -> tuple[JobExit, str, str]:
    """Start, wait, and read both logs."""
    await executor.prepare(what.job)
    await executor.start(what)
    ended = await executor.wait(what.job)
    logs = [await executor.read_log(what.job, name, 0, MIB) for name in ("stdout", "stderr")]
    return ended, logs[0].decode(errors="replace"), logs[1].decode(errors="replace")


def processes_with(marker: str) -> list[int]:
    """Pids whose command line holds the marker, this process left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in words:
                found.append(int(entry.name))
    return found


def work_folder(job: Path) -> Path:
    """A running job's work folder, from its folder of the executor: perhaps only it has mounted."""
    if not (job / "state").exists():
        return job / "work"
    pairs = (job / "state").read_text().split("\0")
    pid = dict(pair.partition("=")[::2] for pair in pairs)["pid"]
    return Path(f"/proc/{pid}/root/work") if (job / IMAGE).exists() else job / "work"


def interpreter_prefix() -> Path:
    """The virtual environment (or prefix) that runs these tests."""
    return Path(sys.prefix)
