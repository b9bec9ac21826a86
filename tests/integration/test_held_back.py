"""A task under which nodes die, one after the other, is held back and says so."""

from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import until
from tests.integration.swarm_lab import submit, swarm_of, view

HASTY = {"TIMERS__ORPHAN_GRACE_S": "4"}


def test_a_task_under_which_nodes_die_on_three_machines_does_not_go_to_a_fourth() -> None:
    """The test ends them in its place: what a task could do to a node is not known, or mended."""
    with swarm_of(4, **HASTY) as swarm:
        owner, *_ = swarm.nodes
        owner.client.call("POST", "/api/v1/node/pause", {"grace_s": 0})
        task = submit(owner, {"run": ["/bin/sleep", "300"]})
        died: list[LocalNode] = []

        def runs_on_another() -> bool:
            found = view(owner, task)
            before = {node.peer for node in died}
            return found["phase"] == "running" and found["provider"] not in before

        for _ in range(3):
            until(runs_on_another, within_s=30, what=f"it runs after {len(died)} deaths")
            if died:  # it comes back, tells, and is wanted for nothing more
                swarm.start(died[-1])
                until(lambda: swarm.is_ready(died[-1]), within_s=30, what="it is back")
                died[-1].client.call("POST", "/api/v1/node/pause", {"grace_s": 0})
            died.append(swarm.node_of(view(owner, task)["provider"]))
            swarm.kill_daemon(died[-1])
        swarm.start(died[-1])
        until(lambda: view(owner, task)["state"] == "failed", within_s=30, what="it is held back")
        found = view(owner, task)
        assert found["reason"] == "held-back"
        assert "held back: on 3 machines the node's process died" in found["why"]
        assert {one["provider"] for one in found["history"]} == {node.peer for node in died}
