"""Nodes in network namespaces of their own: a machine that moves, IPv6 alone, IPv4 alone."""

import time
from functools import partial
from pathlib import Path

from swarmnode.cli.client import NodeUnreachableError
from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import until
from tests.integration.lan_lab import Moving, ip, lan, needs_namespaces, swarm_in
from tests.integration.swarm_lab import all_see_all

pytestmark = needs_namespaces
MOVES_S = 10.0
"""What was promised: the others know a new address within so long."""


def add(swarm: Moving, name: str, first: str) -> LocalNode:
    """A node that knows the first one at that host."""
    if swarm.nodes:
        peer = swarm.nodes[0].peer
        kind = "ip6" if ":" in first else "ip4"
        swarm.nodes[0].listen = f"/{kind}/{first}/tcp/4850/p2p/{peer}"
    node = swarm.add(name)
    swarm.start(node)
    until(partial(swarm.is_ready, node), within_s=30, what=f"{name} to be ready")
    return node


def hosts_of(node: LocalNode, name: str) -> list[str]:
    """The hosts in the addresses that a node knows of another one, or of itself."""
    for row in node.client.get("/api/v1/peers"):
        if row["name"] == name:
            return [address.split("/")[2] for address in row["addresses"]]
    return []


def connected(node: LocalNode, name: str) -> bool:
    rows = node.client.get("/api/v1/peers")
    return any(row["name"] == name and row["connected"] for row in rows)


def test_ipv6_alone_and_ipv4_alone_join_and_loopback_stays_at_home() -> None:
    with lan() as net:
        both = net.host("a", "10.78.0.1/24", "fd77::1/64")
        old = net.host("b", "10.78.0.2/24", ipv6=False)
        new = net.host("c", "fd77::3/64")
        with swarm_in(a=both, b=old, c=new, loop=old) as swarm:
            a = add(swarm, "a", "")
            b = add(swarm, "b", "10.78.0.1")
            c = add(swarm, "c", "fd77::1")
            loop = add(swarm, "loop", "10.78.0.1")  # listens on 127.0.0.1 alone
            seen: list[str] = []
            until(lambda: _all_see(swarm, c, seen), within_s=30, what="everybody seen by everybody")
            assert hosts_of(loop, "loop") == seen == []
            assert hosts_of(b, "a") == ["10.78.0.1", "fd77::1"]
            assert hosts_of(a, "b") == ["10.78.0.2"]
            assert hosts_of(b, "c") == hosts_of(c, "c") == ["fd77::3"]


def _all_see(swarm: Moving, far: LocalNode, seen: list[str]) -> bool:
    """Whether all see all; meanwhile collect what is told of the node on loopback."""
    seen += hosts_of(far, "loop")
    return all_see_all(swarm)


def test_a_machine_that_moves_is_found_at_its_new_address_within_ten_seconds() -> None:
    with lan() as net:
        stays, moves = net.host("a", "10.78.0.1/24"), net.host("b", "10.78.0.2/24", "10.79.0.2/24")
        with swarm_in(a=stays, b=moves) as swarm:
            a = add(swarm, "a", "")
            b = add(swarm, "b", "10.78.0.1")
            until(lambda: connected(a, "b"), within_s=10, what="a connection")
            assert hosts_of(a, "b")[0] == "10.78.0.2"  # on the way to the world, so first
            ip("-n", moves, "addr", "del", "10.78.0.2/24", "dev", "lan")
            ip("-n", moves, "addr", "add", "10.78.0.9/24", "dev", "lan")
            ip("-n", moves, "route", "replace", "default", "via", "10.78.0.254")
            began = time.monotonic()
            until(
                lambda: "10.78.0.9" in hosts_of(a, "b") and "10.78.0.2" not in hosts_of(a, "b"),
                within_s=MOVES_S,
                what="the new address",
            )
            until(lambda: connected(a, "b"), within_s=5, what="a connection")
            assert time.monotonic() - began < MOVES_S
            noted = b.home / "run" / "addresses.json"
            until(
                lambda: "10.78.0.9" in noted.read_text(), within_s=5, what="it in the next invite"
            )
            assert "10.78.0.2/" not in noted.read_text()


def test_a_failed_join_says_of_each_address_what_happened() -> None:
    with lan() as net:
        here, there = net.host("a", "10.78.0.1/24"), net.host("b", "10.78.0.2/24")
        with swarm_in(a=here, b=there) as swarm:
            a = swarm.add("a")
            b = swarm.add("b")
            home = b.home / "config.toml"
            wanted = [
                f"/ip4/10.78.0.1/tcp/4850/p2p/{a.peer}",  # nothing listens
                f"/ip4/10.78.0.77/tcp/4850/p2p/{a.peer}",  # nobody there
                f"/dns/no-such-host.invalid/tcp/4850/p2p/{a.peer}",
            ]
            Path(home).write_text(f"[network]\nbootstrap = {wanted}\n")
            home.chmod(0o600)
            swarm.start(b)
            until(lambda: len(_failures(b)) >= len(wanted), within_s=30, what="every failure")
            told = "\n".join(_failures(b))
            assert f"{wanted[0]}: port: 10.78.0.1 port 4850 refuses connections" in told
            assert f"{wanted[1]}: port: " in told
            assert f"{wanted[2]}: dns: the name no-such-host.invalid" in told


def _failures(node: LocalNode) -> list[str]:
    try:
        status = node.client.get("/api/v1/status")
    except NodeUnreachableError:  # it is only starting
        return []
    found: list[str] = status["join_failures"]
    return found if status["join_step"] == "retrying" else []
