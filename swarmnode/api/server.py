"""Serves the local API: a unix socket 0600 always, TCP with bearer tokens when asked.

anycorn leaves the socket file behind and binds over a live one, so the file is probed first: a
socket that answers belongs to a running node, one that does not is removed.
"""

import socket
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anycorn
import trio
from anycorn.typing import ASGIFramework
from starlette.applications import Starlette

from swarmnode.api.app import Gatekeeper
from swarmnode.errors import AlreadyRunningError, SwarmError

UNIX_UMASK = 0o177
SHUTDOWN_S = 1.0


class ApiAddressError(SwarmError):
    """The API cannot be served at `api.tcp`: the text names the cause and the remedy."""


@dataclass(slots=True)
class ApiServer:
    """Runs the app until `stop` is set or it is cancelled."""

    app: Starlette
    socket_path: Path
    tcp: str | None = None
    tokens: Mapping[str, str] = field(default_factory=dict)
    hosts: Sequence[str] = ()
    services: Sequence[Callable[..., Awaitable[None]]] = ()
    """What the app needs running beside it, each as `run(*, task_status)`."""
    stopping: trio.Event = field(default_factory=trio.Event)
    bound: tuple[str, ...] = ()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, say so, serve. Raises AlreadyRunningError, ApiAddressError."""
        _clear_socket(self.socket_path)
        try:
            async with trio.open_nursery() as beside:
                for service in self.services:
                    await beside.start(service)
                async with trio.open_nursery() as nursery:
                    await self._bind(nursery)
                    task_status.started()
                beside.cancel_scope.cancel()
        finally:
            self.socket_path.unlink(missing_ok=True)

    async def _bind(self, nursery: trio.Nursery) -> None:
        unix = Gatekeeper(self.app, None, self.hosts)
        bound = await self._serve(nursery, unix, f"unix:{self.socket_path}")
        if self.tcp is not None:
            gate = Gatekeeper(self.app, self.tokens, self.hosts)
            listener = _listener(self.tcp)
            host, port = listener.getsockname()[:2]
            await self._serve(nursery, gate, f"fd://{listener.detach()}")
            bound.append(f"http://{host}:{port}")
        self.bound = tuple(bound)

    async def _serve(self, nursery: trio.Nursery, app: Gatekeeper, bind: str) -> list[str]:
        config = anycorn.Config()
        config.bind = [bind]
        config.umask = UNIX_UMASK
        config.graceful_timeout = SHUTDOWN_S
        config.accesslog = None
        config.errorlog = None
        framework: ASGIFramework = app  # type: ignore[assignment]
        serve = partial(
            anycorn.serve, framework, config, shutdown_trigger=self.stopping.wait, mode="asgi"
        )
        bound: list[str] = await nursery.start(serve)
        return bound


def _listener(address: str) -> socket.socket:
    """A socket bound to `host:port` or `[host]:port`. Raises ApiAddressError."""
    host, _, port = address.rpartition(":")
    try:
        number = int(port)
        if not 0 <= number < 65_536:  # the C library would take it modulo 65536
            raise ValueError(port)
        family, kind, _, _, where = socket.getaddrinfo(
            host.strip("[]"), number, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind)
    except (ValueError, OSError) as exc:
        remedy = "api.tcp is HOST:PORT, such as 127.0.0.1:4851"
        raise ApiAddressError(f"the API cannot be served at {address!r}: {remedy}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
    except OSError as exc:
        listener.close()
        raise ApiAddressError(
            f"the API cannot be served at {address}: {exc.strerror}: choose another api.tcp"
        ) from exc
    return listener


def _clear_socket(path: Path) -> None:
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise AlreadyRunningError(f"{path} is not a socket: move it away")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise AlreadyRunningError(
        f"a node already answers on {path}: stop it or set another SWARM_HOME"
    )
