"""The API over real sockets: readers that hang up, TCP with a token, a socket left behind."""

import http.client
import json
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from swarmnode.api.access.tokens import hash_of
from swarmnode.api.app import build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.paths import all_routes
from swarmnode.api.server.service import ApiAddressError, ApiServer
from swarmnode.cli.client import Client
from swarmnode.errors import AlreadyRunningError
from swarmnode.tasks.ids import TaskId
from tests.api_lab import FakeNode, ServedNode, served_node
from tests.fake_market import FakeMarket

T1 = TaskId("t1")


def wait_until(served: ServedNode, holds: Callable[[FakeMarket], bool]) -> None:
    """Ask the node again and again, for ten seconds at most."""
    idle = threading.Event()
    for _ in range(1000):
        if served.do(holds):
            return
        idle.wait(0.01)
    raise AssertionError("it never came to be")


def test_a_reader_that_hangs_up_is_noticed(tmp_path: Path) -> None:
    with served_node(tmp_path / "api.sock") as served:
        client = Client(tmp_path / "api.sock")
        client.call("POST", "/api/v1/tasks", {"run": ["x"]})
        served.do(lambda market: market.buyer.prints(T1, "one\n"))
        pieces = client.stream("/api/v1/tasks/t1/logs?follow=1")
        assert next(pieces) == b"one\n"
        wait_until(served, lambda market: market.buyer.reading == 1)
        pieces.close()  # type: ignore[attr-defined]
        wait_until(served, lambda market: market.buyer.reading == 0)


def test_events_come_over_the_socket_as_they_happen(tmp_path: Path) -> None:
    with served_node(tmp_path / "api.sock"):
        client = Client(tmp_path / "api.sock")
        pieces = client.stream("/api/v1/events")
        assert next(pieces) == b": boot b00t\n\n"
        client.call("POST", "/api/v1/tasks", {"run": ["x"]})
        assert b'"fact":"submitted"' in next(pieces)
        pieces.close()  # type: ignore[attr-defined]


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with served_node(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_live_socket_is_not_taken_over_and_a_dead_one_is(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(AlreadyRunningError, match="already answers"):
            await ApiServer(build_app([]), path).run()
    async with trio.open_nursery() as nursery:
        await nursery.start(ApiServer(build_app([]), path).run)
        nursery.cancel_scope.cancel()
    path.unlink(missing_ok=True)
    path.write_text("not a socket")
    with pytest.raises(AlreadyRunningError, match="not a socket"):
        await ApiServer(build_app([]), path).run()


async def test_tcp_asks_for_a_token_and_the_socket_does_not(tmp_path: Path) -> None:
    node = FakeNode()
    hub = EventHub(node.market.buyer.events, "b00t")
    app = build_app(all_routes(node, hub))
    tokens = {hash_of("secret"): "read"}
    server = ApiServer(app, tmp_path / "api.sock", "127.0.0.1:0", tokens, services=(hub.run,))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        port = int(next(one for one in server.bound if "127.0.0.1" in one).rsplit(":", 1)[1])
        with trio.fail_after(20):
            assert await trio.to_thread.run_sync(_status, port, "") == 401
            assert await trio.to_thread.run_sync(_status, port, "secret") == 200
            client = Client(tmp_path / "api.sock")
            found = await trio.to_thread.run_sync(client.get, "/api/v1/status")
        assert found["name"] == "ada"
        nursery.cancel_scope.cancel()


def _status(port: int, token: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request("GET", "/api/v1/status", headers=headers)
    answer = connection.getresponse()
    json.loads(answer.read())
    connection.close()
    return answer.status


def _names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_asked_to_stop_the_server_ends_by_itself(tmp_path: Path) -> None:
    node = FakeNode()
    hub = EventHub(node.market.buyer.events, "b00t")
    server = ApiServer(build_app(all_routes(node, hub)), tmp_path / "api.sock", services=(hub.run,))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            server.stopping.set()
    assert _names_in(tmp_path) == []


@pytest.mark.parametrize(
    "address", ["nothing", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1", ":x"]
)
async def test_an_address_that_is_none_is_one_line(tmp_path: Path, address: str) -> None:
    server = ApiServer(build_app([]), tmp_path / "api.sock", address)
    found = pytest.RaisesExc(ApiAddressError, match="HOST:PORT")
    with trio.fail_after(20), pytest.RaisesGroup(found, flatten_subgroups=True):
        await server.run()


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        server = ApiServer(build_app([]), tmp_path / "api.sock", where)
        found = pytest.RaisesExc(ApiAddressError, match=f"{where}: Address already in use")
        with trio.fail_after(20), pytest.RaisesGroup(found, flatten_subgroups=True):
            await server.run()


def test_an_answer_in_pieces_imports_nothing_while_the_node_runs(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    program = f"""
import sys
from pathlib import Path
from swarmnode.cli.client import Client
from tests.api_lab import served_node
with served_node(Path({str(path)!r})) as served:
    client = Client(Path({str(path)!r}))
    client.call("POST", "/api/v1/tasks", {{"run": ["x"]}})
    before = set(sys.modules)
    pieces = client.stream("/api/v1/events")
    next(pieces)
    pieces.close()
    print([name for name in sys.modules if name not in before and name.startswith("anyio")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
