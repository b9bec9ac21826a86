"""A worker's node that is frozen or dead: its tasks end with their lease, and go on elsewhere."""

import os
import signal
import time

import pytest

from swarmnode.demo.launcher import LocalNode, LocalSwarm
from swarmnode.demo.report import until
from tests.integration.swarm_lab import submit, swarm_of, view, wait
from tests.integration.test_daemon_restarts import processes_of

LEASE_S, GRACE_S = 6, 4
SLACK_S = 3.0
"""The last renewal was answered a beat before the fault; two cores are shared with other tests."""
HASTY = {"TIMERS__ORPHAN_GRACE_S": str(GRACE_S)}
LONG = ["/bin/sh", "-c", "trap '' TERM; while true; do sleep 0.2; done"]


def fault(swarm: LocalSwarm, node: LocalNode, kind: str) -> None:
    if kind == "frozen":
        os.kill(node.pid, signal.SIGSTOP)
    else:
        swarm.kill_daemon(node)


@pytest.mark.parametrize("kind", ["frozen", "dead"])
def test_tasks_end_with_their_lease_though_their_node_cannot_end_them(kind: str) -> None:
    # Three, since of two neither alone may judge a task that must not run twice (docs/limits.md).
    with swarm_of(3, **HASTY) as swarm:
        owner, provider, third = swarm.nodes
        for node in (owner, third):
            node.client.call("POST", "/api/v1/node/pause", {"grace_s": 0})
        once = submit(owner, {"run": LONG, "effects": "once"})
        again = submit(owner, {"run": LONG})
        jobs = provider.home / "tasks"
        until(lambda: len(processes_of(jobs)) >= 2, within_s=20, what="both run")
        fault(swarm, provider, kind)
        began_s = time.monotonic()
        owner.client.call("POST", "/api/v1/node/resume")
        until(
            lambda: view(owner, again)["provider"] == owner.peer,
            within_s=30,
            what="the task that may run twice runs elsewhere",
        )
        moved_s = time.monotonic()

        def all_ended() -> bool:
            has_failed = view(owner, once)["state"] == "failed"
            runs = processes_of(jobs)
            assert not (has_failed and runs), "it was reported failed and runs"
            return not runs

        until(all_ended, within_s=30, what="nothing runs without a lease")
        ended_s = time.monotonic()
        assert ended_s - began_s <= LEASE_S + GRACE_S + SLACK_S
        assert ended_s - moved_s <= LEASE_S + GRACE_S
        failed = wait(owner, once, within_s=30)
        assert failed["state"] == "failed"
        assert view(owner, again)["state"] == "running"
        if kind == "frozen":
            os.kill(provider.pid, signal.SIGCONT)
