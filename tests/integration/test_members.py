"""One lab of real nodes: a person is removed, an invite is passed on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from p2p.identity.invites import Invite
from p2p.identity.issue import DAY_MS, Grant, Names
from swarmnode.cli.client import NodeUnreachableError
from swarmnode.demo.launcher import LocalNode, LocalSwarm, new_root
from swarmnode.demo.report import until
from swarmnode.home import enrol
from swarmnode.home.folders import Home
from tests.integration.swarm_lab import all_see_all, put, submit, view

HEARS_S = 5.0
"""What was promised: after a node has heard, connections of a removed member end so soon."""


class Lab(LocalSwarm):
    """A swarm of one lab: the first node founds it, the others come with invites of its founder."""

    used: Invite | None = None
    valid_ms: int = DAY_MS

    def _enrol(self, home: Path, names: Names) -> str:
        place = _home(home)
        person = Names(names.machine, f"{names.machine}-person", "physics", names.site, names.roles)
        now_ms = time.time_ns() // 1_000_000
        if not self.nodes:
            return enrol.found_network(place, person, os.urandom, now_ms).peer
        founder = self.nodes[0]
        if names.machine != "thief" or self.used is None:
            grant = Grant(valid_ms=self.valid_ms)
            where = [founder.listen]
            self.used = enrol.make_invite(_home(founder.home), where, grant, os.urandom, now_ms)
        return enrol.join(place, self.used, person, os.urandom, now_ms).peer


def _home(path: Path) -> Home:
    return Home(path, path, path / "cache", path / "run")


@contextmanager
def lab_of(*names: str, valid_ms: int = DAY_MS) -> Iterator[Lab]:
    swarm = Lab(new_root())
    swarm.valid_ms = valid_ms
    try:
        for name in names:
            swarm.add(name)
            swarm.start(swarm.nodes[-1])
        swarm.wait_ready(30)
        until(lambda: all_see_all(swarm), within_s=30, what="everybody seen by everybody")
        yield swarm
    finally:
        swarm.destroy()


def command(node: LocalNode, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `swarmnode` as that node's owner."""
    return subprocess.run(
        [sys.executable, "-m", "swarmnode.cli.main", *arguments],
        env=node.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def connected(node: LocalNode) -> list[str]:
    rows = node.client.get("/api/v1/peers")
    return sorted(row["name"] for row in rows if row["connected"])


def test_a_removed_person_is_out_within_seconds_for_good_and_for_those_that_were_off() -> None:
    with lab_of("ann", "bob", "carol", "dave") as swarm:
        ann, bob, carol, dave = swarm.nodes
        spec = {"run": ["/bin/sleep", "600"], "require": [bob.peer]}
        task = submit(carol, spec)
        until(lambda: view(carol, task)["phase"] == "running", within_s=30, what="a running task")
        object_of_carol = put(carol, b"x" * 100_000)
        swarm.kill_daemon(dave)
        assert command(bob, "member", "remove", "carol-person").returncode == 4
        done = command(ann, "member", "remove", "carol-person")
        assert (done.returncode, done.stdout) == (0, "person carol-person is removed\n")
        for node in (ann, bob):
            gone = f"carol gone from {node.name}"
            until(partial(_lacks, node, "carol"), within_s=HEARS_S, what=gone)
        running = "the jobs for carol to end"
        until(
            lambda: bob.client.get("/api/v1/status")["compute"]["jobs_running"] == 0,
            within_s=HEARS_S + 10,
            what=running,
        )
        assert "carol-person was removed by physics on" in command(ann, "member", "ls").stdout
        assert "carol-person was removed by physics" in bob.log_tail()
        # What she stored stays until its leases end.
        kept = [n.client.get("/api/v1/status")["storage"]["used_bytes"] for n in (ann, bob)]
        assert sum(kept) > 0, object_of_carol
        swarm.start(dave)  # was off: hears of it at its first connection
        until(lambda: swarm.is_ready(dave), within_s=30, what="dave")
        until(
            lambda: any(row["standing"] == "removed" for row in dave.client.get("/api/v1/members")),
            within_s=10,
            what="dave to hear",
        )
        # She may have come to him before he heard it.
        until(partial(_lacks, dave, "carol"), within_s=HEARS_S, what="carol gone from dave")
        swarm.kill_daemon(ann)
        swarm.start(ann)  # and it outlives a restart
        until(lambda: swarm.is_ready(ann), within_s=30, what="ann")
        why = [row["why"] for row in ann.client.get("/api/v1/members") if row["why"]]
        assert any("carol-person was removed by physics" in one for one in why)
        until(
            lambda: "carol-person was removed by physics" in _failures(carol),
            within_s=60,
            what="carol to be told why",
        )
        first, words, *_ = command(carol, "status").stdout.splitlines()
        assert first == "removed"
        assert "out of the network: carol-person was removed by physics on" in words
        assert "ask for a new invite, and join in an empty SWARM_HOME" in words
        assert command(carol, "status", "--check").returncode == 6
        for node in (ann, bob, dave):  # who may have dialled her, and heard the same words
            assert "this machine is out" not in command(node, "status").stdout


def _lacks(node: LocalNode, name: str) -> bool:
    return name not in connected(node)


def _failures(node: LocalNode) -> str:
    try:
        return str(node.client.get("/api/v1/status")["join_failures"])
    except NodeUnreachableError:  # it is only starting
        return ""


def test_an_invite_for_one_use_admits_one_machine() -> None:
    with lab_of("ann", "bob") as swarm:
        swarm.add("thief")  # with the invite that bob has used
        thief = swarm.nodes[-1]
        swarm.start(thief)
        until(
            lambda: "was used before, by bob-person on" in _failures(thief),
            within_s=30,
            what="the thief to be refused",
        )
        assert connected(swarm.nodes[0]) == ["bob"]


def test_a_membership_renews_itself_once_the_labs_key_is_up_and_says_so_while_it_is_not() -> None:
    with lab_of("ann", "bob", valid_ms=24_000) as swarm:
        ann, bob = swarm.nodes
        swarm.kill_daemon(ann)
        before = _until_ms(bob)
        until(
            lambda: "was not renewed (no machine" in _warnings(bob), within_s=30, what="a warning"
        )
        until(lambda: "membership ended on" in _warnings(bob), within_s=30, what="the end")
        assert command(bob, "status", "--check").returncode == 6
        swarm.start(ann)
        until(lambda: _until_ms(bob) > before, within_s=40, what="the renewal")
        until(lambda: "membership" not in _warnings(bob), within_s=5, what="no warning")


def _warnings(node: LocalNode) -> str:
    return str(node.client.get("/api/v1/status")["warnings"])


def _until_ms(node: LocalNode) -> int:
    """When the membership of its owner ends."""
    rows = node.client.get("/api/v1/members")
    return int(next(row["valid_until_ms"] for row in rows if row["is_me"]))
