"""A LAN of network namespaces, and nodes that live in them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="network namespaces need root and iproute2",
)
DAEMON = (sys.executable, "-m", "swarmnode.daemon")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass
class Lan:
    """Hosts on one bridge, which is a namespace as well; their names are this test's alone."""

    tag: str

    def host(self, name: str, *addresses: str, ipv6: bool = True) -> str:
        """A namespace with these addresses, behind the bridge; its name."""
        space, cable = f"{self.tag}{name}", f"v{self.tag}{name}"[:14]
        ip("netns", "add", space)
        if not ipv6:
            self.inside(space, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        ip("link", "add", cable, "netns", self.tag, "type", "veth", "peer", "lan", "netns", space)
        ip("-n", self.tag, "link", "set", cable, "master", "hub", "up")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "link", "set", "lan", "up")
        for address in addresses:
            six = ("nodad",) if ":" in address else ()
            ip("-n", space, "addr", "add", address, "dev", "lan", *six)
            via = "fd77::fe" if six else "10.78.0.254"
            ip("-6" if six else "-4", "-n", space, "route", "replace", "default", "via", via)
        return space

    def inside(self, space: str, *command: str) -> None:
        ip("netns", "exec", space, *command)

    def remove(self) -> None:
        found = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
        for line in found.stdout.splitlines():
            if line.split()[0].startswith(self.tag):
                ip("netns", "del", line.split()[0])


@contextmanager
def lan() -> Iterator[Lan]:
    made = Lan(f"sw{os.getpid() % 100_000}")
    try:
        ip("netns", "add", made.tag)
        ip("-n", made.tag, "link", "add", "hub", "type", "bridge")
        ip("-n", made.tag, "link", "set", "hub", "up")
        yield made
    finally:
        made.remove()


class Moving(LocalSwarm):
    """A swarm whose nodes live in namespaces and listen as they do by default."""

    spaces: dict[str, str] = {}  # noqa: RUF012 - replaced for each swarm

    def start(self, node: LocalNode, program: Sequence[str] = DAEMON) -> None:
        if node.name != "loop":
            node.environ.pop("SWARM_LISTEN__ADDRESSES", None)
        # `ip netns exec` would hide the control groups, and no task could run.
        space = f"--net=/run/netns/{self.spaces[node.name]}"
        super().start(node, ["nsenter", space, *program])


@contextmanager
def swarm_in(**spaces: str) -> Iterator[Moving]:
    swarm = Moving(new_root(), environ={"SWARM_COMPUTE__ENABLED": "false"})
    swarm.spaces = spaces
    try:
        yield swarm
    finally:
        swarm.destroy()
