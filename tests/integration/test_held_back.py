"""A task under which nodes die, one after the other, is held back and says so."""

from functools import partial

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

        def runs_on() -> LocalNode | None:
            """A machine that it has not run on before, once its process is there."""
            found = view(owner, task)
            if found["phase"] != "running" or found["provider"] in {one.peer for one in died}:
                return None
            node = swarm.node_of(found["provider"])
            return node if list(node.home.glob("tasks/jobs/*/state")) else None

        def has_told(count: int) -> bool:
            told = [one for one in view(owner, task)["history"] if one["node_died_ms"]]
            return len(told) >= count

        for _ in range(3):
            node = until(runs_on, within_s=30, what=f"it runs after {len(died)} deaths")
            swarm.kill_daemon(node)
            if died:  # it comes back and tells; others are asked first, as it has lost a task
                swarm.start(died[-1])
                until(partial(has_told, len(died)), within_s=30, what="it has told")
            died.append(node)
        swarm.start(died[-1])
        until(lambda: view(owner, task)["state"] == "failed", within_s=30, what="it is held back")
        found = view(owner, task)
        assert found["reason"] == "held-back"
        assert "held back: on 3 machines the node's process died" in found["why"]
        assert {node.peer for node in died} <= {
            one["provider"] for one in found["history"] if one["node_died_ms"]
        }
