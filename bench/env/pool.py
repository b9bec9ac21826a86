"""Nodes of one person on loopback, commands typed at one of them, and what they send."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from swarmnode.demo.report import until

START_S: Final = 60.0
ROOM: Final = {"SWARM_STORAGE__MIN_FREE_GIB": "0.2"}
_REST_S: Final = 1.0
_REST_BYTES: Final = 30_000
"""In that time all nodes together send less while nothing is asked of them."""
_RESTS_MAX: Final = 60


@contextmanager
def pool_of(count: int, environ: Mapping[str, str] | None = None) -> Iterator[LocalSwarm]:
    """Nodes that all see each other; gone with the block. `environ` is set for each of them."""
    swarm = LocalSwarm(new_root(), environ={**ROOM, **(environ or {})})
    try:
        for number in range(count):
            swarm.add(f"n{number}")
        for node in swarm.nodes:
            swarm.start(node)
        meet(swarm)
        yield swarm
    finally:
        swarm.destroy()


def meet(swarm: LocalSwarm) -> None:
    """Return once all nodes are ready and see each other. Raises StepFailedError."""
    swarm.wait_ready(START_S)
    until(partial(_is_whole, swarm), within_s=START_S, what="a pool of all nodes")


def _is_whole(swarm: LocalSwarm) -> bool:
    nodes = swarm.alive()
    return all(n.client.get("/api/v1/status")["members_alive"] == len(nodes) for n in nodes)


def all_cores(node: LocalNode) -> tuple[str, str]:
    """The words that ask for as much of a processor as the node lends."""
    return "--cpu", f"{node.client.get('/api/v1/status')['compute']['cpu_millis']}m"


def type_at(
    node: LocalNode, folder: Path, *words: str, environ: Mapping[str, str] = os.environ
) -> str:
    """What a command prints there. Raises SystemExit with what it complained of."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "swarmnode.cli.main", *words],
        env={**environ, "SWARM_API": str(node.client.socket_path)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise SystemExit(f"swarm {' '.join(words)}: {done.stderr}")
    return done.stdout


def typed(node: LocalNode, folder: Path, *words: str) -> float:
    """Seconds that a command takes there. Raises SystemExit."""
    began_s = time.perf_counter()
    type_at(node, folder, *words)
    return time.perf_counter() - began_s


def sent_at_rest(swarm: LocalSwarm) -> int:
    """Bytes that all nodes have sent to each other, once they send no more than keeps them alive.

    Raises TimeoutError when they do not come to rest.
    """
    before = _sent(swarm)
    for _ in range(_RESTS_MAX):
        threading.Event().wait(_REST_S)
        now = _sent(swarm)
        if now - before < _REST_BYTES:
            return now
        before = now
    raise TimeoutError("the nodes did not come to rest")


def _sent(swarm: LocalSwarm) -> int:
    counters = [node.client.get("/api/v1/status")["counters"] for node in swarm.nodes]
    return sum(
        value
        for of_one in counters
        for name, value in of_one.items()
        if name.startswith("net_") and name.endswith("_sent_bytes")
    )
