"""One real node of a network of its own that is open to everybody, in a process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Any

from p2p.host.libp2p.index import PROTOCOL
from p2p.identity.issue import Names
from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from swarmnode.home import enrol
from swarmnode.home.folders import Home


class OpenSwarm(LocalSwarm):
    """A LocalSwarm whose first node founds an open network."""

    def _enrol(self, home: Path, names: Names) -> str:
        place, now_ms = home_at(home), time_ns() // 1_000_000
        return enrol.found_network(place, names, os.urandom, now_ms, is_open=True).peer


def home_at(folder: Path) -> Home:
    return Home(folder, folder, folder / "cache", folder / "run")


@dataclass(frozen=True)
class RunningNode:
    """The node as those outside see it."""

    node: LocalNode

    @property
    def peer(self) -> str:
        return self.node.peer

    @property
    def address(self) -> str:
        return self.node.listen

    @property
    def network(self) -> str:
        return enrol.load_membership(home_at(self.node.home)).anchor.network

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.node.client.get("/api/v1/status")
        return found


@contextmanager
def open_swarm() -> Iterator[tuple[RunningNode, list[str]]]:
    """A node with `network.interop`, and what foreign peers must know of its network."""
    environ = {"SWARM_NETWORK__INTEROP": "true", "SWARM_NETWORK__ALONE": "true"}
    swarm = OpenSwarm(new_root(), environ=environ)
    try:
        node = RunningNode(swarm.add("only"))
        swarm.start(node.node)
        swarm.wait_ready(30)
        names = [PROTOCOL, f"/swarm/{node.network}/lobby/1", f"/swarm/{node.network}/echo/1"]
        yield node, names
        swarm.stop()
    finally:
        swarm.destroy()
