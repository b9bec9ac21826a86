"""Three real nodes: what a person sees of copies while machines restart, freeze and are away."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from swarmnode.cli.client import NodeUnreachableError
from swarmnode.cli.main import run
from swarmnode.demo.launcher import LocalNode, LocalSwarm
from swarmnode.demo.report import until
from tests.integration.swarm_lab import all_see_all, put, swarm_of

BIG = bytes(range(256)) * 1200
SMALL_DISK = {"STORAGE__QUOTA_GIB": "1", "STORAGE__MIN_FREE_GIB": "0.1"}


@pytest.fixture(scope="module")
def swarm() -> Iterator[LocalSwarm]:
    with swarm_of(3, **SMALL_DISK) as swarm:
        yield swarm


@pytest.fixture(autouse=True)
def _well(swarm: LocalSwarm) -> None:
    until(lambda: len(swarm.alive()) == 3, within_s=30, what="all run")
    ready = swarm.nodes
    until(lambda: all(answers(n) for n in ready) and all_see_all(swarm), within_s=30, what="all")


def used(node: LocalNode) -> int:
    kept: int = node.client.get("/api/v1/status")["storage"]["used_bytes"]
    return kept


def answers(node: LocalNode) -> bool:
    try:
        node.client.get("/api/v1/status")
    except NodeUnreachableError:
        return False
    return True


def stat(node: LocalNode, receipt: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = node.client.get(f"/api/v1/objects/{receipt['address']}")
    return found


def test_a_put_right_after_a_restart_has_all_its_copies(swarm: LocalSwarm) -> None:
    node = swarm.nodes[0]
    time.sleep(2)  # the others are written down for the next start
    swarm.kill_daemon(node)
    swarm.start(node)
    until(lambda: answers(node), within_s=20, what="its API")
    receipt = put(node, BIG)  # waits for its pool
    assert (receipt["n"], len(receipt["holders"])) == (3, 3)


def test_a_frozen_holder_costs_a_moment_and_its_copy_follows(swarm: LocalSwarm) -> None:
    node, frozen = swarm.nodes[0], swarm.nodes[2]
    put(node, b"warm")
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        receipt = put(node, BIG)
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    assert receipt["seconds"] < 3, "1.5 s on a machine that has nothing else to do"
    assert receipt["survives"] == "any 1 machine; the third copy follows"
    until(lambda: stat(node, receipt)["shards_live"] == 3, within_s=120, what="the third copy")


def test_what_is_removed_while_a_holder_is_away_is_gone_when_it_is_back(
    swarm: LocalSwarm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node, away = swarm.nodes[1], swarm.nodes[2]
    monkeypatch.setenv("SWARM_API", str(node.client.socket_path))
    before = {one.name: used(one) for one in swarm.nodes}
    receipt = put(node, os.urandom(300_000))
    until(lambda: stat(node, receipt)["health"] == "whole", within_s=30, what="three copies")
    swarm.kill_daemon(away)
    until(lambda: stat(node, receipt)["health"] == "degraded", within_s=30, what="a missing copy")
    assert run(["obj", "stat", receipt["cap"]]) == 6
    assert run(["obj", "rm", receipt["cap"]]) == 0
    assert "2 of 3 holders gave it up; the other once it answers: n2" in capsys.readouterr().out
    swarm.start(away)
    until(lambda: answers(away) and all_see_all(swarm), within_s=30, what="all see all")

    def grew(one: LocalNode) -> int:
        return used(one) - before[one.name]  # by what copies of keyrings take more than before

    until(lambda: grew(away) < 100_000, within_s=60, what="its space is back")
    assert all(grew(one) < 100_000 for one in swarm.nodes)
    assert run(["obj", "stat", receipt["cap"]]) == 5
