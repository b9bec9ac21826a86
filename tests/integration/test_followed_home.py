"""Whoever copies a task's output has all of it, also when the own node was away at its end."""

import os
import subprocess
import sys
import time

from swarmnode.demo.launcher import LocalNode, LocalSwarm
from swarmnode.demo.report import until
from tests.integration.swarm_lab import swarm_of

LINES = 14
PRINT = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; sleep 1; done"
AWAY_S = 22.0
"""The task ends meanwhile, under a guardian that has taken its log: a lease is 6 s here."""


def _copying(node: LocalNode, *words: str) -> "subprocess.Popen[str]":
    environ = {**os.environ, "SWARM_HOME": str(node.home), "SWARM_API": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "swarmnode.cli.main", "task", *words],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _away_for_a_while(swarm: LocalSwarm, node: LocalNode) -> None:
    swarm.kill_daemon(node)
    gone_s = time.monotonic()
    until(lambda: time.monotonic() > gone_s + AWAY_S, within_s=60, what="the task is over")
    swarm.start(node)


def test_submit_and_followers_have_all_that_came_while_their_node_was_away() -> None:
    with swarm_of(4) as swarm:
        owner = swarm.nodes[0]
        owner.client.call("POST", "/api/v1/node/pause", {"grace_s": 0})
        submit = _copying(owner, "submit", "--name", "F", "--", "sh", "-c", PRINT)
        until(
            lambda: any(task["state"] == "running" for task in owner.client.get("/api/v1/tasks")),
            within_s=30,
            what="it runs",
        )
        early = _copying(owner, "logs", "-f", "F")
        began_s = time.monotonic()
        until(lambda: time.monotonic() > began_s + 3, within_s=10, what="guardians hold it")
        _away_for_a_while(swarm, owner)
        swarm.wait_ready(30)
        late = _copying(owner, "logs", "-f", "F")
        wanted = "".join(f"line {number}\n" for number in range(1, LINES + 1))
        for command in (submit, early, late):
            out, err = command.communicate(timeout=90)
            assert (out, command.returncode) == (wanted, 0), err
