"""Seven unprivileged containers, from outside: the nine steps, and what a task in one cannot do.

Needs a container engine (`make test-containers` starts one); without it these tests fail.
"""

from collections.abc import Iterator

import pytest

from swarmnode.cli.client import ApiError, Client
from swarmnode.demo.report import Report, until
from swarmnode.demo.steps import STEPS, Demo
from testnet import compose
from tests.containers.container_swarm import ContainerSwarm

pytestmark = pytest.mark.containers
SEED = 7


@pytest.fixture(scope="module")
def swarm() -> Iterator[ContainerSwarm]:
    found = ContainerSwarm(compose.read(name="swarmtest"))
    try:
        found.up()
        yield found
    finally:
        found.down()


def run_task(client: Client, *argv: str) -> tuple[dict[str, object], bytes]:
    task = client.call("POST", "/api/v1/tasks", {"run": list(argv)})["task"]
    done = client.get(f"/api/v1/tasks/{task}/wait?timeout_s=60", timeout_s=65)
    return done, b"".join(client.stream(f"/api/v1/tasks/{task}/logs?stream=stdout"))


def test_a_task_in_a_container_is_another_user_and_sees_no_state(swarm: ContainerSwarm) -> None:
    lea = next(node for node in swarm.nodes if node.name == "lea")
    until(
        lambda: len(lea.client.get("/api/v1/peers")) == len(swarm.nodes),
        within_s=30,
        what="all members",
    )
    done, out = run_task(
        lea.client, "/bin/sh", "-c", "id -u; ls /var/lib/swarm; cat /proc/1/cmdline"
    )
    uid, *rest = out.decode().splitlines()
    assert done["state"] == "failed" or done["state"] == "done"
    assert uid != lea.run("id", "-u").stdout.strip()
    assert not any("membership.json" in line or "keys" in line for line in rest)


def test_a_limit_that_a_container_cannot_enforce_is_shown_and_refused(
    swarm: ContainerSwarm,
) -> None:
    lea = next(node for node in swarm.nodes if node.name == "lea")
    ada = next(node for node in swarm.nodes if node.name == "ada")
    missing = ada.client.get("/api/v1/status")["compute"]["not_enforced"]
    assert "memory" in missing
    until(
        lambda: len(lea.client.get("/api/v1/peers")) == len(swarm.nodes),
        within_s=30,
        what="all members",
    )
    spec = {"run": ["/bin/true"], "enforce": ["memory"], "deadline": "5s"}
    task = lea.client.call("POST", "/api/v1/tasks", spec)["task"]
    view = lea.client.get(f"/api/v1/tasks/{task}/wait?timeout_s=30", timeout_s=35)
    assert view["state"] == "failed"
    assert "memory" in view["why"]


def test_a_node_in_a_container_answers_nobody_without_a_token(swarm: ContainerSwarm) -> None:
    url = swarm.nodes[0].client.url
    with pytest.raises(ApiError, match="token"):
        Client(swarm.nodes[0].client.socket_path, url).get("/api/v1/status")


def test_containers_run_without_root_and_without_capabilities(swarm: ContainerSwarm) -> None:
    for node in swarm.nodes:
        status = node.run("cat", "/proc/self/status").stdout
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        assert "10001" in fields["Uid"].split()
        assert int(fields["CapEff"], 16) == 0
        assert node.run("touch", "/etc/x").returncode != 0


def test_seven_containers_pass_the_nine_steps_from_outside(swarm: ContainerSwarm) -> None:
    """The last one: its ninth step stops everything."""
    lea = next(node for node in swarm.nodes if node.name == "lea")
    report = Report(STEPS, as_json=False)
    Demo(swarm, report, SEED, lea, fast=True).run()
    assert report.passed
