"""Two machines behind firewalls that let nothing in, and two that both of them reach: one pool.

Four network namespaces on one bridge; nft drops what begins outside the two. The relays keep no
bytes of others and run nothing.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import until
from tests.integration.lan_lab import Moving, lan, needs_namespaces, swarm_in
from tests.integration.swarm_lab import ENVIRONMENT, all_see_all, put

pytestmark = [
    needs_namespaces,
    pytest.mark.skipif(shutil.which("nft") is None, reason="firewalls need nftables"),
]
HOSTS = {"rita": 1, "rob": 2, "alice": 3, "bob": 4}
RELAYS = ("rita", "rob")
RULES = """
table inet wall {
    chain input {
        type filter hook input priority 0; policy drop;
        iif lo accept
        ct state established,related accept
        meta l4proto { icmp, ipv6-icmp } accept
    }
}
"""
TRAIN = """\
import os, sys
os.makedirs("results", exist_ok=True)
lines = sum(len(open(f"data/{name}").readlines()) for name in os.listdir("data"))
open("results/lines.txt", "w").write(str(lines))
print("counted", flush=True)
"""


def nft(space: str, rules: str) -> None:
    command = ["ip", "netns", "exec", space, "nft", "-f", "-"]
    subprocess.run(command, input=rules, text=True, check=True, capture_output=True)


@dataclass
class Walled:
    """Alice and Bob behind firewalls, Rita and Rob in the open."""

    swarm: Moving
    spaces: dict[str, str]

    def __getitem__(self, name: str) -> LocalNode:
        return next(node for node in self.swarm.nodes if node.name == name)

    def row(self, one: str, other: str) -> dict[str, Any]:
        rows = self[one].client.get("/api/v1/peers")
        return next((row for row in rows if row["name"] == other), {})

    def way(self, one: str, other: str) -> str:
        """The name of the relay, `direct`, or nothing while they are not connected."""
        row = self.row(one, other)
        if not row.get("connected"):
            return ""
        return self.swarm.name_of(row["relay"]) if row["relay"] else "direct"

    def cli(self, name: str, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "SWARM_HOME": str(self[name].home), "HOME": "/nowhere"}
        return subprocess.run(
            [sys.executable, "-m", "swarmnode.cli.main", *words],
            env=env,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def read(node: LocalNode, cap: str) -> bytes:
    return b"".join(node.client.download("/api/v1/objects/read", {"cap": cap}))


def settings_of(name: str) -> dict[str, str]:
    """Only bob runs tasks; only alice and bob keep bytes."""
    return {
        "COMPUTE__ENABLED": str(name == "bob").lower(),
        "STORAGE__ENABLED": str(name not in RELAYS).lower(),
        "STORAGE__MIN_FREE_GIB": "1",
        f"ENV__{ENVIRONMENT.upper()}__PATH": sys.prefix,
    }


@pytest.fixture(scope="module")
def walled() -> Iterator[Walled]:
    with lan() as net:
        spaces = {name: net.host(name, f"10.78.0.{host}/24") for name, host in HOSTS.items()}
        for name in HOSTS:
            if name not in RELAYS:
                nft(spaces[name], RULES)
        with swarm_in(**spaces) as swarm:
            for name in HOSTS:
                if swarm.nodes:
                    first = swarm.nodes[0]
                    first.listen = f"/ip4/10.78.0.1/tcp/4850/p2p/{first.peer}"
                node = swarm.add(name)
                node.environ.update({f"SWARM_{k}": v for k, v in settings_of(name).items()})
                swarm.start(node)
                until(partial(swarm.is_ready, node), within_s=30, what=f"{name} to be ready")
            until(lambda: all_see_all(swarm), within_s=30, what="everybody seen by everybody")
            yield Walled(swarm, spaces)


def test_they_join_by_one_that_both_reach_and_are_shown_as_relayed(
    walled: Walled, tmp_path: Path
) -> None:
    until(lambda: walled.way("alice", "bob") in RELAYS, within_s=30, what="a relayed connection")
    relay = walled.way("alice", "bob")
    assert walled.way("alice", "rita") == walled.way("bob", "rob") == "direct"
    listed = walled.cli("alice", tmp_path, "peer", "ls")
    assert f"relay {relay}" in listed.stdout
    status = walled.cli("alice", tmp_path, "status").stdout
    assert "2 directly, 1 by relay" in status
    assert walled[relay].client.get("/api/v1/status")["peers"]["circuits"] >= 1
    assert f"bob by relay {relay}" in walled.cli("alice", tmp_path, "doctor").stdout
    pong = walled.cli("alice", tmp_path, "ping", "bob", "-o", "json")
    assert pong.returncode == 0, pong.stderr


def test_what_one_puts_the_other_reads_and_the_relays_keep_nothing(walled: Walled) -> None:
    data = os.urandom(6_000_000)
    receipt = put(walled["alice"], data)
    got = read(walled["bob"], receipt["cap"])
    assert got == data
    for relay in RELAYS:
        assert walled[relay].client.get("/api/v1/status")["storage"]["used_bytes"] == 0
    carried = [walled[relay].client.get("/api/v1/status")["peers"] for relay in RELAYS]
    assert sum(each["carried_bytes"] for each in carried) > len(data) // 2


def test_a_folder_goes_to_the_other_runs_there_and_its_results_come_back(
    walled: Walled, tmp_path: Path
) -> None:
    project = tmp_path / "lines"
    (project / "data").mkdir(parents=True)
    (project / "requirements.txt").write_text("")
    (project / "train.py").write_text(TRAIN)
    for number in range(20):
        (project / "data" / f"{number}.txt").write_text("a line\n" * 5000)
    done = walled.cli("alice", project, "run", "--out", "results", "--", "python3", "train.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "counted\n"
    assert (project / "results/lines.txt").read_text() == "100000"


def test_when_the_relay_dies_the_other_carries_and_an_opened_firewall_makes_it_direct(
    walled: Walled,
) -> None:
    first = walled.way("alice", "bob")
    left = next(name for name in RELAYS if name != first)
    walled.swarm.kill_machine(walled[first])
    until(lambda: walled.way("alice", "bob") == left, within_s=30, what=f"a way by {left}")
    data = os.urandom(1_000_000)
    cap = put(walled["bob"], data)["cap"]
    assert read(walled["alice"], cap) == data
    nft(walled.spaces["bob"], "flush ruleset\n")
    until(lambda: walled.way("alice", "bob") == "direct", within_s=45, what="a direct connection")
    assert walled.way("bob", "alice") == "direct"
    assert read(walled["alice"], cap) == data
