"""Real nodes for tests: a swarm of processes on loopback that is gone when the test ends."""

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from swarmnode.demo.report import until

ENVIRONMENT = "test"
"""Environment of every node: the Python that runs the tests, with what is installed in it."""


@contextmanager
def swarm_of(nodes: int, **settings: str) -> Iterator[LocalSwarm]:
    """So many nodes that all see each other; `settings` are SECTION__KEY values of each."""
    with _running(nodes, settings, own_people=False) as swarm:
        yield swarm


@contextmanager
def people_of(nodes: int, **settings: str) -> Iterator[LocalSwarm]:
    """The same, each node another person's."""
    with _running(nodes, settings, own_people=True) as swarm:
        yield swarm


@contextmanager
def labs_of(nodes: int, **settings: str) -> Iterator[LocalSwarm]:
    """The same, each node of another person and lab."""
    with _running(nodes, settings, own_people=True, own_labs=True) as swarm:
        yield swarm


@contextmanager
def _running(
    nodes: int, settings: Mapping[str, str], *, own_people: bool, own_labs: bool = False
) -> Iterator[LocalSwarm]:
    environ = {f"SWARM_{key}": value for key, value in settings.items()}
    environ[f"SWARM_ENV__{ENVIRONMENT.upper()}__PATH"] = sys.prefix
    swarm = LocalSwarm(new_root(), environ=environ, own_people=own_people, own_labs=own_labs)
    try:
        for number in range(nodes):
            swarm.add(f"n{number}")
        for node in swarm.nodes:
            swarm.start(node)
        swarm.wait_ready(30)
        until(lambda: all_see_all(swarm), within_s=30, what="everybody seen by everybody")
        yield swarm
    finally:
        swarm.destroy()


def all_see_all(swarm: LocalSwarm) -> bool:
    """Whether every living node holds exactly the living ones for alive."""
    want = len(swarm.alive())
    return all(n.client.get("/api/v1/status")["members_alive"] == want for n in swarm.alive())


def put(node: LocalNode, data: bytes, name: str = "test") -> dict[str, Any]:
    """Store bytes; the receipt."""
    receipt: dict[str, Any] = node.client.upload(f"/api/v1/objects?name={name}", io.BytesIO(data))
    return receipt


def submit(node: LocalNode, spec: dict[str, Any]) -> str:
    """Submit a task; its id."""
    task: str = node.client.call("POST", "/api/v1/tasks", spec)["task"]
    return task


def view(node: LocalNode, task: str) -> dict[str, Any]:
    """A task as its submitter sees it."""
    found: dict[str, Any] = node.client.get(f"/api/v1/tasks/{task}")
    return found


def wait(node: LocalNode, task: str, within_s: int = 60) -> dict[str, Any]:
    """Wait for a task's end; what became of it."""
    path = f"/api/v1/tasks/{task}/wait?timeout_s={within_s}"
    found: dict[str, Any] = node.client.get(path, timeout_s=within_s + 5)
    return found


def log(node: LocalNode, task: str, stream: str = "stdout") -> bytes:
    """Everything a task wrote to a stream, of all its attempts."""
    return b"".join(node.client.stream(f"/api/v1/tasks/{task}/logs?stream={stream}"))


def memory_bytes(pid: int) -> int:
    """RssAnon + RssShmem of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))
