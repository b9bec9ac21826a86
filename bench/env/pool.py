"""Three nodes of one person on loopback, commands typed at the first, and what they send."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from swarmnode.demo.report import until

NODES: Final = 3
_START_S: Final = 60.0
_REST_S: Final = 1.0
_REST_BYTES: Final = 30_000
"""In that time all nodes together send less while nothing is asked of them."""
_RESTS_MAX: Final = 60


@contextmanager
def pool_of_three() -> Iterator[LocalSwarm]:
    """Nodes that all see each other; gone with the block."""
    swarm = LocalSwarm(new_root(), environ={"SWARM_STORAGE__MIN_FREE_GIB": "0.2"})
    try:
        for number in range(NODES):
            swarm.add(f"n{number}")
        for node in swarm.nodes:
            swarm.start(node)
        swarm.wait_ready(_START_S)
        until(partial(_is_whole, swarm), within_s=_START_S, what="a pool of three")
        yield swarm
    finally:
        swarm.destroy()


def _is_whole(swarm: LocalSwarm) -> bool:
    return all(
        node.client.get("/api/v1/status")["members_alive"] == NODES for node in swarm.alive()
    )


def typed(node: LocalNode, folder: Path, *words: str) -> float:
    """Seconds that a command takes there. Raises CalledProcessError."""
    environ = {**os.environ, "SWARM_API": str(node.client.socket_path)}
    began_s = time.perf_counter()
    subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "swarmnode.cli.main", *words],
        env=environ,
        cwd=folder,
        capture_output=True,
        check=True,
    )
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
