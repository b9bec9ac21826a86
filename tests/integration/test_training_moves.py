from pathlib import Path
from typing import Any

from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import objects_in, until
from tests.integration.swarm_lab import (
    ENVIRONMENT,
    log,
    put,
    submit,
    swarm_of,
    view,
    wait,
)

STEPS = 60
EVERY = 5
KILL_AFTER = 20


def train(node: LocalNode, cap: str, seconds_per_step: float) -> str:
    spec: dict[str, Any] = {
        "run": ["python3", "digits.py", str(STEPS), str(seconds_per_step), str(EVERY)],
        "env": ENVIRONMENT,
        "inputs": {"digits.py": cap},
        "checkpoint": {"dir": "checkpoint", "every_s": 0.5},
    }
    return submit(node, spec)


def test_a_training_whose_provider_is_killed_ends_elsewhere_with_the_same_weights() -> None:
    with swarm_of(5) as swarm:
        owner = swarm.nodes[0]
        source = Path(__file__).with_name("digits.py").read_bytes()
        cap = put(owner, source)["cap"]
        whole = train(owner, cap, 0.0)
        assert wait(owner, whole)["state"] == "done"
        expected = objects_in(log(owner, whole))[-1]
        assert expected["accuracy"] > 0.9

        task = train(owner, cap, 0.1)
        provider = _provider_after(owner, task)
        if provider == owner.peer:  # the submitter must live on: it keeps the ledger
            owner.client.call("POST", f"/api/v1/tasks/{task}/cancel", {})
            owner.client.call("POST", "/api/v1/node/pause", {"grace_s": 0.0})
            task = train(owner, cap, 0.1)
            provider = _provider_after(owner, task)
        killed = swarm.node_of(provider)
        swarm.kill_machine(killed)
        done = wait(owner, task)

        lines = objects_in(log(owner, task))
        starts = [line["first_step"] for line in lines if "first_step" in line]
        executed = sum("step" in line for line in lines)
        assert done["state"] == "done", done
        assert done["provider"] != killed.peer
        assert starts[-1] > 0
        assert starts[-1] % EVERY == 0
        assert executed < 2 * STEPS
        assert lines[-1] == expected


def _provider_after(owner: LocalNode, task: str) -> str:
    def far_enough() -> bool:
        steps = [line["step"] for line in objects_in(log(owner, task)) if "step" in line]
        return max(steps, default=0) >= KILL_AFTER and bool(view(owner, task)["checkpoint_step"])

    until(far_enough, within_s=60, what=f"step {KILL_AFTER} and a checkpoint")
    provider: str = view(owner, task)["provider"]
    return provider
