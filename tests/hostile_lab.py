"""Hostile tasks, tried on a node of root and on one of a plain user, in one process for each.

`python -m tests.hostile_lab FOLDER SANDBOX [image]` reads names and scripts of tries as JSON from
its input, runs each as a task of its own and prints what became of it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from p2p.workers import ThreadWorkers
from swarmnode.boot.descriptors import raise_limit
from swarmnode.executor.network.resolver import TableResolver
from swarmnode.executor.port import DataMount, JobId, JobSpec, Limit
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import BWRAP, ExecutorConfig
from swarmnode.sdk import ctx
from tests.job_lab import MIB, PYTHON, own_users, processes_with

ROOT = Path(__file__).resolve().parents[1]
PLAIN_USER = 65534
AT_ONCE = 8
"""Tasks at a time: most of what they do is to wait until somebody looks."""
SECRET = "SWARM_TEST_SECRET"
"""A variable of the node's that no task may see."""
TRY_S = 20.0
HOST = "/host"
HOSTS = {
    "friend.example": ["127.0.0.1"],
    "inside.example": ["127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "both.example": ["8.8.8.8", "127.0.0.1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "ula.example": ["fd00::1"],
    "own6.example": ["::1"],
}
"""What names lead to, for tasks with a network; the owner lets them reach the first, at FRIEND."""


@dataclass(frozen=True)
class Ended:
    """What became of a try."""

    code: int
    reason: str
    out: str
    err: str
    wall_s: float
    cpu_s: float
    enforced: tuple[str, ...]
    left: int
    """Processes of it that outlived it."""
    touched: int = 0
    """Connections that had come to a service of the machine when it was over; see VICTIM."""
    over_s: float = 0.0
    """When that was known, on the wall clock."""

    def says(self, *words: str) -> bool:
        """It printed exactly these words, and was done."""
        return self.reason == "exit" and self.out.split() == list(words)


@dataclass(frozen=True)
class Try:
    """A task with bad intentions, and how to tell that it came to nothing."""

    name: str
    script: str
    """Python."""
    is_contained: Callable[[Ended], bool]
    changes: Mapping[str, float] = field(default_factory=dict)
    """Of the job's shape: memory_bytes, disk_bytes, pids_max, wall_s, cpu_millis."""
    needs: Limit | None = None
    """Tried where this is enforced only."""
    net: tuple[str, ...] = ()
    """What it may reach: hosts of HOSTS, at the port that VICTIM names."""


def run_tries(
    folder: Path,
    tries: Sequence[Try],
    *,
    as_user: bool,
    sandbox: str = BWRAP,
    in_image: bool = False,
) -> dict[str, Ended]:
    """All of them on one node; skips where no such node can run here. With `in_image` they have the
    system of an image, and this machine's at HOST."""
    version = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout
    if version.split()[1].rsplit(".", 1)[0] != ".".join(map(str, sys.version_info[:2])):
        pytest.skip(f"{PYTHON} is {version.strip()}, the installed packages are for another one")
    said = subprocess.run(
        command_of(folder, as_user=as_user, sandbox=sandbox, in_image=in_image),
        input=words_of(tries), capture_output=True, text=True, timeout=180, check=False, cwd=ROOT,
        env=environment(),
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    body = json.loads(said.stdout)
    if isinstance(body, str):
        pytest.skip(body)
    return {name: Ended(**ended) for name, ended in body.items()}


def command_of(
    folder: Path, *, as_user: bool, sandbox: str = BWRAP, in_image: bool = False
) -> list[str]:
    """This module as a program, with nothing but its input missing; skips where it cannot run."""
    become: list[str] = []
    if as_user and os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv (util-linux) is missing")
        os.chown(folder, PLAIN_USER, PLAIN_USER)
        become = ["setpriv", "--reuid", str(PLAIN_USER), "--regid", str(PLAIN_USER)]
        become += ["--clear-groups", "--inh-caps=-all"]
    elif not as_user and os.geteuid() != 0:
        pytest.skip("needs root")
    image = ["image"] if in_image else []
    return [*become, PYTHON, "-m", "tests.hostile_lab", str(folder / "x"), sandbox, *image]


def words_of(tries: Sequence[Try]) -> str:
    """Its input."""
    return json.dumps([[one.name, one.script, dict(one.changes), one.net] for one in tries])


def environment() -> dict[str, str]:
    """Its variables."""
    packages = Path(trio.__file__).parents[1]
    return {"PATH": os.environ["PATH"], SECRET: "secret", "PYTHONPATH": f"{ROOT}:{packages}"}


class Services:
    """Two of the machine's: one that nobody must reach, and one that its owner lets tasks reach."""

    def __init__(self) -> None:
        self.touched = 0
        """Connections to the first."""
        self.env: dict[str, str] = {}
        """Their ports, for tasks."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        victim = await trio.open_tcp_listeners(0, host="127.0.0.1")
        friend = await trio.open_tcp_listeners(0, host="127.0.0.1")
        for name, (listener,) in (("VICTIM", victim), ("FRIEND", friend)):
            self.env[name] = str(listener.socket.getsockname()[1])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._touch, victim)
            nursery.start_soon(trio.serve_listeners, _echo, friend)
            task_status.started()

    async def _touch(self, _stream: trio.SocketStream) -> None:
        self.touched += 1


async def _echo(stream: trio.SocketStream) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass


async def _main(
    folder: Path,
    sandbox: str,
    tries: list[tuple[str, str, dict[str, float], list[str]]],
    *,
    in_image: bool,
) -> None:
    services, (users, _) = Services(), own_users()
    found: dict[str, dict[str, object]] = {}
    slots = trio.Semaphore(AT_ONCE)

    async def one(
        number: int, name: str, script: str, changes: dict[str, float], net: list[str]
    ) -> None:
        async with slots:
            job = JobId(f"try{number}.1")
            found[name] = await _run(
                executor, services, job, script, {**within, **changes, "net": tuple(net)}
            )

    async with trio.open_nursery() as nursery:
        await nursery.start(services.run)
        config = ExecutorConfig(
            sandbox=sandbox,
            ctx_module=Path(ctx.__file__),
            log_bytes=8 * MIB,
            uid_first=users.start,
            uid_count=len(users),
            net_private=(f"friend.example:{services.env['FRIEND']}",),
        )
        resolver = TableResolver(HOSTS)
        executor = ProcessExecutor(folder, config, {}, ThreadWorkers(), resolver=resolver)
        await nursery.start(executor.run)
        troubles = [executor.trouble()]
        troubles += [executor.net_trouble() for _, _, _, net in tries if net]
        if why := next(filter(None, troubles), ""):
            print(json.dumps(why))
        else:
            within = await _image(executor, folder) if in_image else {}
            async with trio.open_nursery() as running:
                for number, (name, script, changes, net) in enumerate(tries):
                    running.start_soon(one, number, name, script, changes, net)
            print(json.dumps(found))
        nursery.cancel_scope.cancel()


async def _image(executor: ProcessExecutor, folder: Path) -> dict[str, object]:
    """Brings an image with next to nothing in it; what a job has by it."""
    from tests.unit.swarmnode.executor.test_images_written import bring

    await bring(executor, folder.with_name("made"))
    host = DataMount(HOST, "", is_folder=True, source="/usr")
    libraries = f"{HOST}/lib/{os.uname().machine}-linux-gnu:{HOST}/lib64"
    return {
        "argv": (f"{HOST}/bin/python3", "-c"),
        "env": {"PYTHONHOME": HOST, "LD_LIBRARY_PATH": libraries},
        "environment": "@one",
        "data": (host,),
    }


async def _run(
    executor: ProcessExecutor,
    services: Services,
    job: JobId,
    script: str,
    changes: Mapping[str, Any],
) -> dict[str, object]:
    shape: dict[str, Any] = {
        "argv": (PYTHON, "-c"), "env": {},
        "cpu_millis": 1000, "memory_bytes": 256 * MIB, "pids_max": 32, "disk_bytes": 32 * MIB,
        "wall_s": TRY_S, **changes,
    }  # fmt: skip
    await executor.prepare(job)
    shape["argv"] = (*shape["argv"], script)
    shape["env"] = {"JOB": str(job), **shape["env"], **services.env}
    await executor.start(JobSpec(job=job, **shape))
    ended = await executor.wait(job)
    over_s = time.time()
    logs = [await executor.read_log(job, name, 0, MIB) for name in ("stdout", "stderr")]
    await executor.forget(job)
    return {
        "code": ended.code,
        "reason": ended.reason,
        "out": logs[0].decode(errors="replace"),
        "err": logs[1].decode(errors="replace")[-4000:],
        "wall_s": ended.wall_s,
        "cpu_s": ended.cpu_s,
        "enforced": [limit.value for limit in ended.enforced],
        "left": len(processes_with(str(job))),
        "touched": services.touched,
        "over_s": over_s,
    }


if __name__ == "__main__":
    raise_limit()  # as a node does
    main = partial(_main, in_image="image" in sys.argv[3:])
    trio.run(main, Path(sys.argv[1]), sys.argv[2], json.load(sys.stdin))
