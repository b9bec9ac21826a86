"""The door behind the listening sockets (`own_addresses`).

The stock listener sets SO_REUSEPORT, so that two nodes can silently share a port, and keeps
hundreds of silent sockets waiting. Here a port has one owner and the accept guard (p2p.link.guard)
decides who may wait.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import trio

from p2p.accepting import accept_forever
from p2p.link.guard import AcceptGuard


class Pending(msgspec.Struct):
    """A socket on its way in; `drop` ends it when it has to make room."""

    number: int
    drop: Callable[[], None] = lambda: None


class Door:
    """Lets sockets in while the guard agrees."""

    def __init__(
        self,
        guard: AcceptGuard,
        welcome: Callable[[trio.SocketStream, Pending], Awaitable[None]],
        is_known: Callable[[str], bool],
    ) -> None:
        self._guard = guard
        self._welcome = welcome
        self._is_known = is_known
        self._pending: dict[int, Pending] = {}
        """By number: those that are also with the guard."""
        self._count = 0
        """Sockets accepted so far: the number of the newest."""

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until cancelled."""
        accept = partial(accept_forever, serve=self._on_socket, what="connections of peers")
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                await nursery.start(accept, listener)
            task_status.started()

    async def _on_socket(self, socket: trio.SocketStream) -> None:
        try:
            host = str(socket.socket.getpeername()[0])
        except OSError:  # gone before we looked
            return
        pending = self._let_in(host)
        if pending is None:
            await trio.aclose_forcefully(socket)
            return
        try:
            await self._welcome(socket, pending)
        finally:
            self.passed(pending)

    def _let_in(self, host: str) -> Pending | None:
        """A place for a socket from there, for which others may have to go; None: there is none."""
        self._count += 1
        pending = self._pending[self._count] = Pending(self._count)
        victims = self._guard.arrived(pending.number, host, is_known=self._is_known(host))
        for victim in victims:
            self._pending.pop(victim).drop()
        return None if pending.number in victims else pending

    def spoke(self, pending: Pending) -> None:
        """The socket sent its first bytes."""
        self._guard.spoke(pending.number)

    def proved(self, pending: Pending, *, is_known: bool) -> None:
        """The handshake is done, by a key of a peer that is known or not."""
        self._guard.proved(pending.number, is_known=is_known)

    def passed(self, pending: Pending) -> None:
        """The socket is admitted, or gone."""
        self._pending.pop(pending.number, None)
        self._guard.left(pending.number)
