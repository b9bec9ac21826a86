"""`--net` from the command line through a real node, as a person has it."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from swarmnode import reach
from swarmnode.demo.launcher import LocalNode
from tests.integration.swarm_lab import swarm_of
from tests.job_lab import needs_bwrap

pytestmark = needs_bwrap

HOST = socket.gethostname().lower()
TALK = """
import socket, sys
for host in sys.argv[2:]:
    try:
        with socket.create_connection((host, int(sys.argv[1])), 20) as s:
            s.sendall(b"hello"); print(s.recv(5).decode())
    except OSError as exc: print("no")
"""


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        with sock:
            sock.sendall(sock.recv(5))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server on this machine, which only its owner can let tasks reach."""
    with socket.create_server(("", 0)) as listener:
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def node(port: int) -> Iterator[LocalNode]:
    if not reach.is_name(HOST) or reach.is_literal(HOST):
        pytest.skip(f"this machine's name is {HOST!r}, which no task can ask for")
    try:
        socket.getaddrinfo(HOST, port)
    except OSError:
        pytest.skip("this machine does not find itself by its name")
    private = f"{HOST}:{port}"
    settings = {"COMPUTE__NET": f"none,pypi,{private}", "COMPUTE__NET_PRIVATE": private}
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1", **settings) as swarm:
        status = run(swarm.nodes[0], "status", "-o", "json")[1]
        if trouble := json.loads(status)["compute"]["net_trouble"]:
            pytest.skip(trouble)
        yield swarm.nodes[0]


def run(node: LocalNode, *words: str) -> tuple[int, str, str]:
    env = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "swarmnode.cli.main", *words]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_a_task_talks_to_whom_it_may_and_the_rest_is_named_in_its_log(
    node: LocalNode, port: int
) -> None:
    task = ("python3", "-c", TALK, str(port), HOST, "example.org", "127.0.0.1")
    words = ("task", "submit", "--name", "talks", "--net", f"{HOST}:{port}", "--", *task)
    code, out, err = run(node, *words)
    assert (code, out) == (0, "hello\nno\nno\n")
    assert f"swarm: refused: example.org:{port}; this task may reach {HOST}:{port}" in err
    usage = json.loads(run(node, "task", "show", "talks", "-o", "json")[1])["usage"]
    assert (usage["up_bytes"], usage["down_bytes"]) == (5, 5)


ASK_MIRROR = """
import os, urllib.error, urllib.request
try: urllib.request.urlopen(os.environ["PIP_INDEX_URL"] + "no-such-project-of-a-test/", timeout=60)
except urllib.error.HTTPError as said: print(said.read().decode())
"""


def test_a_task_that_may_reach_an_index_is_told_of_its_mirror(node: LocalNode) -> None:
    """It answers, whether this machine has an internet or not."""
    task = ("python3", "-c", ASK_MIRROR)
    code, out, err = run(node, "task", "submit", "--net", "pypi", "--", *task)
    assert (code, out.startswith("swarm mirror: ")) == (0, True), err
    assert "pypi.org" in out


def test_a_machine_that_allows_less_is_not_asked_and_says_what_it_allows(node: LocalNode) -> None:
    code, out, err = run(node, "task", "submit", "--dry-run", "--net", "hf", "--", "true")
    assert code != 0
    assert "lets tasks of its own lab reach pypi" in out + err
    assert "hf asked" in out + err


def test_status_says_what_tasks_may_reach_here(node: LocalNode) -> None:
    said = run(node, "status")[1]
    assert f"none, pypi, {HOST}:" in said
    assert "none for others" in said


def test_doctor_makes_a_network_to_see_whether_it_can(node: LocalNode) -> None:
    rows = [json.loads(line) for line in run(node, "doctor", "-o", "jsonl")[1].splitlines()]
    (row,) = [row for row in rows if row["check"] == "task-net"]
    assert row["status"] == "ok"
