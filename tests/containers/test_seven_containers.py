"""Seven unprivileged containers, from outside: the nine steps, and what a task in one cannot do.

Needs a container engine (`make test-containers` starts one); without it these tests fail.
"""

from collections.abc import Iterator

import pytest

from swarmnode.cli.client import ApiError, Client
from swarmnode.demo.report import DemoReport, until
from swarmnode.demo.steps import STEPS, Demo
from testnet import compose
from tests.containers.container_swarm import ContainerNode, ContainerSwarm

pytestmark = pytest.mark.containers
SEED = 7
MIB = 1024 * 1024
MEMORY_SEEN = """
import trio
from pathlib import Path
from swarmnode.resources.local import LocalMachine
print(trio.run(LocalMachine(Path("/tmp")).read).memory_bytes)
"""


@pytest.fixture(scope="module")
def swarm() -> Iterator[ContainerSwarm]:
    found = ContainerSwarm(compose.read(name="swarmtest"))
    try:
        found.up()
        yield found
    finally:
        found.down()


def named(swarm: ContainerSwarm, name: str) -> ContainerNode:
    return next(node for node in swarm.nodes if node.name == name)


def all_known(swarm: ContainerSwarm, node: ContainerNode) -> bool:
    return len(node.client.get("/api/v1/peers")) == len(swarm.nodes)


def run_task(client: Client, *argv: str) -> tuple[dict[str, object], bytes]:
    task = client.call("POST", "/api/v1/tasks", {"run": list(argv)})["task"]
    done = client.get(f"/api/v1/tasks/{task}/wait?timeout_s=60", timeout_s=65)
    return done, b"".join(client.stream(f"/api/v1/tasks/{task}/logs?stream=stdout"))


LOOK_AROUND = """
id -u
grep NoNewPrivs /proc/self/status
ls /var/lib/swarm /proc/*/root/var/lib/swarm
cat /var/lib/swarm/membership.json /proc/*/root/var/lib/swarm/api-token
find / -name '*.key' -o -name membership.json -o -name 'api-token*' -o -name data.mdb
touch /usr/x /etc/x /x && echo wrote
unshare --user true && echo nested
"""
"""What a task would try that wants its node's keys."""


def test_a_task_in_a_container_is_another_user_and_sees_no_state(swarm: ContainerSwarm) -> None:
    lea = named(swarm, "lea")
    until(lambda: all_known(swarm, lea), within_s=30, what="all members")
    done, out = run_task(lea.client, "/bin/sh", "-c", LOOK_AROUND)
    assert done["state"] in ("failed", "done"), done
    uid, privileges, *rest = out.decode().splitlines()
    assert uid != lea.run("id", "-u").stdout.strip()
    assert privileges.split() == ["NoNewPrivs:", "1"]
    assert rest == []


def test_every_container_says_that_it_is_healthy(swarm: ContainerSwarm) -> None:
    def healthy() -> bool:
        form = "{{.State.Health.Status}}"
        found = compose.docker("inspect", "--format", form, *(n.container for n in swarm.nodes))
        return set(found.split()) == {"healthy"}

    until(healthy, within_s=60, what="seven healthy containers")


def test_a_node_offers_no_more_than_its_container_may_use(swarm: ContainerSwarm) -> None:
    ada = named(swarm, "ada")
    seen = int(ada.run("/opt/swarm/bin/python", "-c", MEMORY_SEEN).stdout)
    assert seen == 768 * MIB
    assert ada.client.get("/api/v1/status")["compute"]["memory_free_bytes"] <= 512 * MIB


def test_a_token_opens_what_its_scope_says_and_no_more(swarm: ContainerSwarm) -> None:
    ada = named(swarm, "ada")
    assert ada.run("stat", "-c", "%a", "/var/lib/swarm/api-token").stdout.strip() == "600"
    with pytest.raises(ApiError, match="scope"):
        ada.client.call("POST", "/api/v1/node/pause")
    assert ada.client.token not in compose.docker("logs", ada.container)
    assert ada.client.token not in compose.docker("inspect", ada.container)


def test_a_limit_that_a_container_cannot_enforce_is_shown_and_refused(
    swarm: ContainerSwarm,
) -> None:
    lea, ada = named(swarm, "lea"), named(swarm, "ada")
    missing = ada.client.get("/api/v1/status")["compute"]["not_enforced"]
    assert "memory" in missing
    until(lambda: all_known(swarm, lea), within_s=30, what="all members")
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
    lea = named(swarm, "lea")
    report = DemoReport(STEPS, as_json=False)
    Demo(swarm, report, SEED, lea, fast=True).run()
    assert report.passed
