"""One container without user namespaces: it is the sandbox, and every task a user of its own."""

import time
from collections.abc import Iterator

import pytest

from swarmnode.demo.report import until
from testnet import compose

pytestmark = pytest.mark.containers
NAME = "swarmtest-sandbox"
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID")
START = """
swarmnode init --new-network >/dev/null
exec swarmnode run --listen /ip4/127.0.0.1/tcp/4850
"""
SETTINGS = {
    "SWARM_HOME": "/state",
    "SWARM_NETWORK__ALONE": "true",
    "SWARM_STORAGE__MIN_FREE_GIB": "0",
    "SWARM_COMPUTE__SANDBOX": "container",
    "SWARM_COMPUTE__TASKS_FOLDER": "/tasks",
}


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    compose.docker("rm", "--force", NAME, check=False)
    flags = ["--name", NAME, "--user", "0", "--read-only", "--cap-drop", "ALL"]
    flags += [part for name in CAPABILITIES for part in ("--cap-add", name)]
    flags += ["--security-opt", "no-new-privileges", "--network", "none"]
    for mount in ("/state:mode=0700", "/tasks:mode=0711,exec", "/tmp:mode=1777"):
        flags += ["--tmpfs", mount]
    for key, value in SETTINGS.items():
        flags += ["--env", f"{key}={value}"]
    flags += ["--entrypoint", "tini"]
    compose.docker("run", "--detach", *flags, "swarmpool:test", "--", "/bin/sh", "-c", START)
    try:
        until(lambda: inside("swarmnode", "status").startswith("ready"), within_s=30, what=NAME)
        yield NAME
    finally:
        compose.docker("rm", "--force", NAME)


def inside(*argv: str) -> str:
    return compose.docker("exec", NAME, *argv, check=False)


def test_a_task_is_a_user_of_its_own_that_cannot_enter_the_nodes_folder(node: str) -> None:
    look = "id -u; grep NoNewPrivs /proc/self/status; ls /state /state/keys; cat /state/*.json; "
    said = inside("swarm", "task", "submit", "--", "/bin/sh", "-c", look + "ls /proc/1/root/")
    uid, privileges, *rest = said.splitlines()
    assert 61_000 <= int(uid) < 61_065, said
    assert privileges.split() == ["NoNewPrivs:", "1"]
    assert rest == []


def test_what_a_task_leaves_locked_is_removed_and_the_node_lives_on(node: str) -> None:
    lock = "mkdir -p a/b; touch a/x a/b/c; chmod 1000 a/b; chmod 1555 a; echo locked"
    assert inside("swarm", "task", "submit", "--", "/bin/sh", "-c", lock) == "locked"
    until(lambda: not inside("ls", "/tasks/jobs"), within_s=30, what="an empty folder of jobs")
    assert inside("swarmnode", "status").startswith("ready")


def test_a_node_in_a_container_stops_within_its_grace(node: str) -> None:
    began = time.monotonic()
    compose.docker("stop", "--time", "15", node)
    assert compose.docker("inspect", "--format", "{{.State.ExitCode}}", node) == "0"
    assert time.monotonic() - began < 15
