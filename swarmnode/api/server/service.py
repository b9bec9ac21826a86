"""Serves the local API: a unix socket 0600 always, TCP with bearer tokens when asked.

A socket file that is left behind is probed first: one that answers belongs to a running node, one
that does not is removed. Each listener has its own places (`door`), so that a flood at one does
not lock out the other.
"""

import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
import trio
from starlette.applications import Starlette

from swarmnode.api.access.asker import Principal
from swarmnode.api.app import Gatekeeper, Tokens
from swarmnode.api.limits import API_BACKLOG, API_CONNECTIONS_MAX, API_CONNECTIONS_PER_SOURCE_MAX
from swarmnode.api.schema.node import Problem
from swarmnode.api.server.door import ApiDoor
from swarmnode.api.server.seats import Seats
from swarmnode.errors import AlreadyRunningError, SwarmError
from swarmnode.home.places import host_and_port

UNIX_UMASK: Final = 0o177
SHARED_UMASK: Final = 0o111
SHUTDOWN_S: Final = 1.0
"""What answers in progress get to end once the node stops."""


class ApiAddressError(SwarmError):
    """The API cannot be served at `api.tcp`: the text names the cause and the remedy."""


class ApiServer(msgspec.Struct):
    """Runs the app until `stopping` is set or it is cancelled."""

    app: Starlette
    socket_path: Path
    tcp: str | None = None
    """HOST:PORT; None: unix sockets alone."""
    tokens: Tokens | Mapping[str, str] = msgspec.field(default_factory=dict)
    """Who may ask over TCP."""
    hosts: Sequence[str] = ()
    """Names by which clients may call us, besides the usual ones (Host header)."""
    services: Sequence[Callable[..., Awaitable[None]]] = ()
    """What the app needs running beside it, each as `run(*, task_status)`."""
    seats_max: int = API_CONNECTIONS_MAX
    """Connections to each listener."""
    shared: Path | None = None
    """A second unix socket, for every user of this machine whom `who` knows."""
    who: Callable[[int], Principal | Problem] | None = None
    """Who a user id is, on the shared socket."""
    stopping: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set by who ends the node; answers in progress have SHUTDOWN_S from then."""
    bound: tuple[str, ...] = ()
    """Where it is served, as URLs; empty until `run` has bound all."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, say so, serve. Raises AlreadyRunningError, ApiAddressError."""
        sockets = [path for path in (self.socket_path, self.shared) if path is not None]
        for path in sockets:
            _clear_socket(path)
        try:
            async with trio.open_nursery() as nursery:
                for service in self.services:
                    await nursery.start(service)
                doors = self._doors()
                for door in doors:
                    await nursery.start(door.run)
                task_status.started()
                await self.stopping.wait()
                with trio.move_on_after(SHUTDOWN_S):
                    for door in doors:
                        await door.drained()
                nursery.cancel_scope.cancel()
        finally:
            for path in sockets:
                path.unlink(missing_ok=True)

    def _doors(self) -> list[ApiDoor]:
        with ExitStack() as undo:
            unix = undo.enter_context(_unix_listener(self.socket_path))
            doors, bound = [self._door(unix, None)], [f"unix:{self.socket_path}"]
            if self.shared is not None:
                listener = undo.enter_context(_unix_listener(self.shared, SHARED_UMASK))
                doors.append(self._door(listener, None, self.who))
                bound.append(f"unix:{self.shared}")
            if self.tcp is not None:
                listener = undo.enter_context(_listener(self.tcp))
                host, port = listener.getsockname()[:2]
                doors.append(self._door(listener, self.tokens))
                bound.append(f"http://{host}:{port}")
            undo.pop_all()  # they are the doors' now
        self.bound = tuple(bound)
        return doors

    def _door(
        self,
        listener: socket.socket,
        tokens: Tokens | Mapping[str, str] | None,
        who: Callable[[int], Principal | Problem] | None = None,
    ) -> ApiDoor:
        listener.listen(API_BACKLOG)
        listener.setblocking(False)
        where = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        per_source_max = min(API_CONNECTIONS_PER_SOURCE_MAX, max(1, self.seats_max * 3 // 4))
        seats = Seats(self.seats_max, per_source_max)
        gate = Gatekeeper(self.app, tokens, self.hosts, who)
        return ApiDoor(gate, where, seats, self.stopping)


def _unix_listener(path: Path, umask: int = UNIX_UMASK) -> socket.socket:
    """Only whom the umask allows may connect, from the first moment on. Raises SwarmError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(umask)
    try:
        listener.bind(str(path))
    except OSError as exc:
        listener.close()
        raise ApiAddressError(
            f"the API cannot be served at {path}: {exc.strerror}: set another SWARM_HOME"
        ) from exc
    finally:
        os.umask(before)
    return listener


def _listener(address: str) -> socket.socket:
    """A socket bound to `host:port` or `[host]:port`. Raises ApiAddressError."""
    try:
        family, kind, where = _resolved(address)
        listener = socket.socket(family, kind)
    except (ValueError, OSError) as exc:
        raise ApiAddressError(f"the API cannot be served at {address!r}: {exc}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
    except OSError as exc:
        listener.close()
        raise ApiAddressError(
            f"the API cannot be served at {address}: {exc.strerror}: choose another api.tcp"
        ) from exc
    return listener


def _resolved(address: str) -> tuple[int, int, tuple[object, ...]]:
    """Family, kind and place of a socket, by getaddrinfo(3). Raises ValueError, OSError."""
    host, port = host_and_port(address)
    first = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    family, kind, _, _, where = first
    return family, kind, where


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
