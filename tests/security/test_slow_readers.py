"""Clients of the API that ask and take no answer: who may ask nothing keeps nobody out by it."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import trio

from swarmnode.api.access.tokens import hash_of
from swarmnode.api.app import build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.paths import all_routes
from swarmnode.api.server.service import ApiServer
from tests.api_lab import FakeNode

SEATS = 8
ASKED = 50_000
"""So many answers fill every buffer on the way."""


@contextmanager
def taking_nothing(port: int, path: str) -> Iterator[None]:
    """Connections that ask without end, and do not read, all of them stuck."""
    request = f"GET {path} HTTP/1.1\r\nhost: swarm\r\n\r\n".encode()
    with ExitStack() as held:
        for _ in range(2 * SEATS):
            one = held.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(0.5)
            with suppress(OSError):  # it is stuck, or has had to give way
                one.connect(("127.0.0.1", port))
                one.sendall(request * ASKED)
        yield


def _status(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/v1/status", headers={"Authorization": "Bearer secret"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/status", "/api/v1/nothing"])
async def test_answers_that_nobody_takes_keep_no_holder_of_a_token_out(
    tmp_path: Path, path: str
) -> None:
    node = FakeNode()
    hub = EventHub(node.market.buyer.events, "b00t")
    server = ApiServer(
        build_app(all_routes(node, hub)),
        tmp_path / "api.sock",
        "127.0.0.1:0",
        {hash_of("secret"): "read"},
        services=(hub.run,),
        seats_max=SEATS,
    )

    def ask(port: int) -> list[int]:
        with taking_nothing(port, path):
            return [_status(port) for _ in range(3)]

    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        port = int(next(one for one in server.bound if "127.0.0.1" in one).rsplit(":", 1)[1])
        assert await trio.to_thread.run_sync(ask, port) == [200, 200, 200]
        nursery.cancel_scope.cancel()
