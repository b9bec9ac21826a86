"""Floods at every door of a node that has few descriptors: it serves on, and forgets them."""

import os
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from swarmnode.cli.client import ApiError
from swarmnode.demo.launcher import LocalNode
from swarmnode.demo.report import until
from tests.integration.swarm_lab import put, submit, swarm_of, wait

DESCRIPTORS = 400
CONNECTIONS = 1100
H2 = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
    # HEADERS of stream 1 without END_STREAM: GET / at `swarm`, from HPACK's static table.
    b"\0\0\x0a\x01\x04\0\0\0\x01\x82\x84\x86\x41\x05swarm"
)
SLOW = b"GET /api/v1/status HTTP/1.1\r\nhost: swarm\r\nx: "
UNFINISHED = b"POST /api/v1/objects HTTP/1.1\r\nhost: swarm\r\ncontent-length: 1000000\r\n\r\nabc"
IDLE = b"GET /healthz HTTP/1.1\r\nhost: swarm\r\n\r\n"
UPGRADE = (
    b"GET /api/v1/events HTTP/1.1\r\nhost: swarm\r\nconnection: upgrade, http2-settings\r\n"
    b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
)


def descriptors(node: LocalNode) -> int:
    return len(os.listdir(f"/proc/{node.pid}/fd"))


@pytest.fixture(scope="module", autouse=True)
def room_for_our_own_ends() -> Iterator[None]:
    """The other ends of all connections are in this process, whose limit may be 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CONNECTIONS:
        pytest.skip(f"{hard} files may be open, needs {2 * CONNECTIONS}: raise ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * CONNECTIONS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[LocalNode, LocalNode]]:
    """Two nodes, of which the first may open few files."""
    limit = f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS})); "
    with swarm_of(2) as swarm:
        victim, other = swarm.nodes
        swarm.kill_daemon(victim)
        script = limit + "import runpy; runpy.run_module('swarmnode.daemon', run_name='__main__')"
        swarm.start(victim, (sys.executable, "-c", script))
        swarm.wait_ready(30)
        until(lambda: _is_kept(other), within_s=30, what="both lend")
        yield victim, other


def _is_kept(node: LocalNode) -> bool:
    try:
        return bool(put(node, b"x")["n"] == 2)
    except ApiError:  # the other one is not back yet
        return False


@contextmanager
def flooding(victim: LocalNode, words: bytes, door: str) -> Iterator[None]:
    """So many connections that say so and then nothing more."""
    with ExitStack() as held:
        for _ in range(CONNECTIONS):
            one = held.enter_context(_connection(victim, door))
            with suppress(OSError):  # it was hung up on already
                one.send(words)
        yield


def _connection(victim: LocalNode, door: str) -> socket.socket:
    if door == "api":
        one = socket.socket(socket.AF_UNIX)
        where: str | tuple[str, int] = str(victim.home / "run" / "api.sock")
    else:
        one = socket.socket()
        parts = victim.listen.split("/")
        where = (parts[2], int(parts[4]))
    one.settimeout(0.01)
    with suppress(OSError):  # the kernel's queue is full
        one.connect(where)
    return one


def answer_of(node: LocalNode) -> str:
    """Its state, or that whoever floods has all places of this user: they are busy, not idle."""
    try:
        state: str = node.client.get("/api/v1/status")["state"]
    except ApiError as error:
        return error.code
    return state


@pytest.mark.parametrize(
    ("words", "door"),
    [
        (H2, "api"),
        (UPGRADE, "api"),
        (SLOW, "api"),
        (UNFINISHED, "api"),
        (IDLE, "api"),
        (b"", "api"),
        (b"", "peers"),
        (b"\x13/multistream/1.0.0\n", "peers"),
    ],
    ids=["http2", "h2c", "slow head", "unfinished body", "idle", "silent", "peers", "multistream"],
)
def test_a_flood_without_end_ends_nothing(
    pair: tuple[LocalNode, LocalNode], words: bytes, door: str
) -> None:
    victim, other = pair
    before = descriptors(victim)
    with flooding(victim, words, door):
        assert descriptors(victim) < DESCRIPTORS - 40
        assert put(other, os.urandom(200_000))["n"] == 2
        task = submit(other, {"run": ["true"], "require": [victim.peer]})
        assert wait(other, task)["state"] == "done"
        began = time.monotonic()
        assert answer_of(victim) in ("ready", "too_many_connections")
        assert time.monotonic() - began < 5
    until(lambda: descriptors(victim) < before + 30, within_s=90, what="all closed")
    assert "Traceback" not in victim.log_tail()
