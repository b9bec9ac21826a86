"""A thousand jobs of a node that is killed at random: what is left when it came back at last."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from hashlib import blake2b
from pathlib import Path
from typing import Final

import trio
from msgspec.structs import replace

from bench.containment.start import small_job
from p2p.workers import ThreadWorkers
from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import BWRAP, ExecutorConfig
from swarmnode.resources.mounts import MOUNTINFO, read_proc

AT_ONCE: Final = 8
LIVES_S: Final = (0.3, 2.0)
"""The node is killed after a time between these."""
USERS: Final = range(64_000, 64_065)
"""Whom jobs of the bench run as where the node is root; nobody else's do."""
_SETTLE_S: Final = 5.0
SCRIPTS: Final = (
    "true",
    "sleep 0.1 & setsid sleep 600 & true",
    "echo x > file; cat file",
    "kill -9 $$",
    "setsid sh -c 'trap \"\" TERM; sleep 600' & sleep 600",
    "head -c 3000000 /dev/zero > big; sleep 0.2",
)
"""What jobs do."""
_TOLD_TO_STOP: Final = 4
_NET_EACH: Final = 5
"""One of so many has a network, where there can be one: a namespace, and what answers it."""


def measure(jobs: int, seed: int, sandbox: str = BWRAP) -> dict[str, object]:
    """Counts of what is left, by kind and together."""
    folder = Path(tempfile.mkdtemp(prefix="swarm-bench-"))
    folder.chmod(0o711)
    (folder / "tmp").mkdir()
    dice = random.Random(seed)  # noqa: S311
    done = deaths = 0
    try:
        _end_in_order(folder, sandbox)
        before = _seen(folder)
        while done < jobs:
            done += _life(folder, (str(done), str(jobs - done), sandbox), dice.uniform(*LIVES_S))
            deaths += 1
        _end_in_order(folder, sandbox)
        left = _left(folder, before)
    finally:
        shutil.rmtree(folder)
    return {
        "leaks_seed": seed, "leaks_jobs": done, "leaks_kills": deaths,
        **{f"leaked_{kind}": len(found) for kind, found in left.items()},
        "leaked": sum(map(len, left.values())),
    }  # fmt: skip


_NODE: Final = (sys.executable, "-m", "bench.containment.leaks")


def _end_in_order(folder: Path, sandbox: str) -> None:
    """A process of the node that takes up what was left, starts nothing and goes."""
    order = [*_NODE, str(folder / "x"), "0", "0", sandbox]
    subprocess.run(order, check=True, env=_variables(folder))  # noqa: S603


def _variables(folder: Path) -> dict[str, str]:
    """What the node makes in passing lies where nobody else makes anything."""
    return {**os.environ, "TMPDIR": str(folder / "tmp")}


def _life(folder: Path, orders: tuple[str, str, str], life_s: float) -> int:
    """One process of the node, from its start to its death; how many jobs it started."""
    with subprocess.Popen(  # noqa: S603
        [*_NODE, str(folder / "x"), *orders],
        stdout=subprocess.PIPE,
        text=True,
        env=_variables(folder),
    ) as node:
        assert node.stdout is not None
        if node.stdout.readline() != "ready\n":
            raise RuntimeError("the node of the bench did not start")
        try:
            node.wait(life_s)
        except subprocess.TimeoutExpired:
            node.kill()
        return node.stdout.read().count("begun\n")


def _seen(folder: Path) -> dict[str, set[str]]:
    """What can be left of jobs on this machine, as it is now."""
    place = f"swarm-{blake2b(os.fsencode(folder / 'x'), digest_size=4).hexdigest()}-"
    ours = _processes(folder)
    return {
        "cgroups": {path for path in _groups() if place in path},
        "processes": set(ours),
        "namespaces": _namespaces(ours),
        "mounts": {line for line in read_proc(MOUNTINFO).splitlines() if str(folder) in line},
        "loops": {line for line in _loops() if str(folder) in line},
        "files": _files(folder / "x") if (folder / "x").exists() else set(),
        "scratch": {str(path) for path in (folder / "tmp").rglob("*")},
    }


def _left(folder: Path, before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What was not there before, once the kernel had a moment to take apart what ended."""
    until_s = time.monotonic() + _SETTLE_S
    while True:
        now = _seen(folder)
        left = {kind: found - before[kind] for kind, found in now.items()}
        if not any(left.values()) or time.monotonic() > until_s:
            return left
        threading.Event().wait(0.1)


def _groups() -> set[str]:
    """Every control group below where ours are."""
    roots = {line.split()[4] for line in read_proc(MOUNTINFO).splitlines() if " cgroup" in line}
    return {path for root in roots for path, _, _ in os.walk(root)}


def _processes(folder: Path) -> list[str]:
    """Pids of shims, sandboxes and jobs: by the folder in their words, or by a job's user."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
            user = Path(f"/proc/{name}/status").read_text().partition("Uid:")[2].split()[0]
        except (OSError, IndexError):
            continue
        is_shim = os.fsencode(folder) in words and int(name) != os.getpid()
        if is_shim or int(user) in USERS:
            found.append(name)
    return found


def _namespaces(pids: list[str]) -> set[str]:
    """Mount and pid namespaces that live in one of them, but for our own."""
    own = {os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "pid")}
    found = set()
    for pid in pids:
        for kind in ("mnt", "pid"):
            try:
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                continue
    return found - own


def _loops() -> list[str]:
    lines = []
    for place in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            lines.append(place.read_text().strip())
        except OSError:
            continue
    return lines


def _files(folder: Path) -> set[str]:
    """Of the executor's folder, but for the templates of disks, which it keeps."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-2.ext4")
    }


async def _main(folder: Path, first: int, jobs: int, sandbox: str) -> None:
    """Body of the node's process: takes up what was left, then starts jobs until it is killed."""
    config = ExecutorConfig(sandbox=sandbox, uid_first=USERS.start, uid_count=len(USERS))
    executor = ProcessExecutor(folder, config, {}, ThreadWorkers())
    slots = trio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            job, kind = JobId(f"leak{number}.1"), number % len(SCRIPTS)
            print("begun", flush=True)
            await executor.prepare(job)
            given = small_job(job, "/bin/sh", "-c", SCRIPTS[kind])
            has_net = number % _NET_EACH == 0 and not executor.net_trouble()
            await executor.start(replace(given, net=("internet",)) if has_net else given)
            if kind == _TOLD_TO_STOP:
                await executor.stop(job, 0)
            await executor.wait(job)
            await executor.forget(job)

    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        if executor.trouble():
            raise RuntimeError(executor.trouble())
        await executor.sweep(frozenset())
        if jobs:
            print("ready", flush=True)
        async with trio.open_nursery() as running:
            for number in range(first, first + jobs):
                running.start_soon(one, number)
        executor.leave()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
