"""One listener of the API and the connections it let in, as `seats` decides."""

import socket
import struct
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import trio

from p2p.accepting import accept_forever
from swarmnode.api.app import Gatekeeper
from swarmnode.api.limits import (
    API_EVICTION_PAUSE_S,
    API_RECEIVE_BYTES,
    API_REFUSAL_S,
    API_REFUSALS_AT_ONCE_MAX,
)
from swarmnode.api.schema.node import Problem
from swarmnode.api.server.http1 import HttpConnection
from swarmnode.api.server.seats import Seat, Seats

_UCRED: Final = struct.Struct("3i")
"""pid, uid and gid of a unix socket's other end (SO_PEERCRED of unix(7))."""

_BUSY_BODY: Final = msgspec.json.encode(
    Problem(503, "too_many_connections", "too many connections from here", "close some, try again")
)
_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_BUSY_BODY), _BUSY_BODY)
)


class ApiDoor:
    """Accepts, seats, serves."""

    def __init__(
        self,
        gate: Gatekeeper,
        listener: trio.SocketListener,
        seats: Seats,
        stopping: trio.Event,
    ) -> None:
        self.seats = seats
        self._gate, self._listener, self._stopping = gate, listener, stopping
        self._left = trio.Event()
        """Set, and replaced, when a place may have become free."""
        self._told = 0
        """Newcomers that are just being told that there is none."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        what = "connections to the API"
        await accept_forever(self._listener, self._serve, self, what=what, task_status=task_status)

    async def free(self) -> None:
        """Return once one more connection may be accepted."""
        if len(self.seats) >= self.seats.seats_max:
            await trio.sleep(API_EVICTION_PAUSE_S)
        while not self.seats.has_room():
            await self._left.wait()

    async def drained(self) -> None:
        """End what is idle; return once everything has ended. `stopping` is set."""
        self.seats.drop_idle()
        while len(self.seats):
            await self._left.wait()

    async def _serve(self, stream: trio.SocketStream) -> None:
        client, source, uid = _peer_of(stream.socket)
        scope = trio.CancelScope()
        seat = self.seats.take(source, scope.cancel)
        if seat is None:
            await self._say_busy(stream)
            return
        try:
            with scope:
                busy = partial(self._changed, seat)
                await HttpConnection(self._gate.for_user(uid), stream, client, busy).run(
                    self._stopping
                )
        finally:
            self.seats.leave(seat)
            self._stir()

    async def _say_busy(self, stream: trio.SocketStream) -> None:
        """Read the request first: a close with unread bytes would take the answer back."""
        if self._told >= API_REFUSALS_AT_ONCE_MAX:
            return
        self._told += 1
        try:
            with trio.move_on_after(API_REFUSAL_S), suppress(trio.BrokenResourceError):
                await stream.receive_some(API_RECEIVE_BYTES)
                await stream.send_all(_BUSY)
        finally:
            self._told -= 1

    def _changed(self, seat: Seat, is_busy: bool) -> None:
        if is_busy:
            seat.is_idle = False
        else:
            self.seats.rests(seat)
            self._stir()

    def _stir(self) -> None:
        self._left.set()
        self._left = trio.Event()


def _peer_of(sock: trio.socket.SocketType) -> tuple[tuple[str, int] | None, str, int | None]:
    """Address of a client for the app, the source its places are counted by, its user id."""
    if sock.family == socket.AF_UNIX:
        _, uid, _ = _UCRED.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        return None, f"user {uid}", uid
    try:
        host, port = sock.getpeername()[:2]
    except OSError:  # it has gone again
        return None, "", None
    return (host, port), host, None
