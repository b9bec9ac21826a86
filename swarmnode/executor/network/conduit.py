"""Carries bytes between two sockets as they come, with the ends that either side makes of it.

The kernel has a real connection at both ends. An end of one side is an end for the other, and it
may go on in the other direction; a reset is a reset. One buffer serves all connections of a job: it
is full only between a read and the write after it, with no pause between them.
"""

import contextlib
import socket
import struct
from typing import Final

import trio

from swarmnode.executor.network.limits import BUFFER_BYTES

_CHUNK_BYTES: Final = 256 * 1024
_LEAST_BYTES: Final = 4096
_AHEAD_S: Final = 0.25
_LOOK_S: Final = 20.0
"""Between two looks whether an end that said its last is still there to hear the other out."""
_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""Nothing waits to become more, and who has gone without a word is noticed after two minutes."""


class Pace:
    """How much went one way, or how often something happened, and how fast it may."""

    def __init__(self, per_s: float = 0, ahead_s: float = _AHEAD_S) -> None:
        """0 is no limit. A pause is made up for by `ahead_s`, not more."""
        self._per_s, self._ahead_s = per_s, ahead_s
        self.count = 0
        self._due_s = 0.0
        """Before it nothing more may go."""

    def chunk(self) -> int:
        """The most that goes at once, so that a slow way is not fast for a moment."""
        return max(1024, min(_CHUNK_BYTES, int(self._per_s / 8))) if self._per_s else _CHUNK_BYTES

    async def spent(self, count: int) -> None:
        """So much went: return when more may, and others had their turn."""
        self.count += count
        if not self._per_s:
            await trio.lowlevel.checkpoint()
            return
        now_s = trio.current_time()
        self._due_s = max(self._due_s, now_s - self._ahead_s) + count / self._per_s
        await trio.sleep_until(self._due_s)


class Conduit:
    """Of one job: its connections share what is on the way."""

    def __init__(self, up: Pace, down: Pace) -> None:
        self.up, self.down = up, down
        self._buffer = memoryview(bytearray(_CHUNK_BYTES))
        self._carried = 0
        """Connections now."""

    async def carry(self, near: socket.socket, far: socket.socket) -> None:
        """From the task (`near`) and to it, until both ended or one was reset; closes both.

        However this process ends meanwhile, nobody takes that for an end in good order.
        """
        connection = _Carried(self, near, far)
        self._carried += 1
        try:
            for sock in (near, far):
                sock.setblocking(False)
                with contextlib.suppress(OSError):  # it is over already, as its first read says
                    for level, option, value in _OPTIONS:
                        sock.setsockopt(level, option, value)
                    _linger(sock, is_reset=True)
            await connection.run()
        finally:
            self._carried -= 1
            for sock in (near, far):
                close(sock, is_reset=not connection.has_ended)

    def into(self, sock: socket.socket, pace: Pace) -> memoryview:
        """What one read brings. Raises BlockingIOError: nothing is there; OSError: a reset."""
        share = BUFFER_BYTES // (2 * self._carried)
        room = self._buffer[: max(_LEAST_BYTES, min(pace.chunk(), share))]
        return room[: sock.recv_into(room)]


class MeteredStream(trio.abc.Stream):
    """A task's connection to somebody in this process: it counts, and is held to the same."""

    def __init__(self, stream: trio.SocketStream, up: Pace, down: Pace) -> None:
        self._stream, self._up, self._down = stream, up, down

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """To the task."""
        view = memoryview(data)
        while view:
            piece = view[: self._down.chunk()]
            await self._stream.send_all(piece)
            await self._down.spent(len(piece))
            view = view[len(piece) :]

    async def wait_send_all_might_not_block(self) -> None:
        """As trio has it."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """From the task."""
        data = await self._stream.receive_some(max_bytes or self._up.chunk())
        await self._up.spent(len(data))
        return data

    async def aclose(self) -> None:
        """In good order; without it the task's end is reset."""
        await self._stream.aclose()


class _Carried:
    """One connection."""

    def __init__(self, conduit: Conduit, near: socket.socket, far: socket.socket) -> None:
        self._conduit, self._near, self._far = conduit, near, far
        self._open = 2
        """Directions that have not ended."""

    @property
    def has_ended(self) -> bool:
        """In good order, in both directions."""
        return self._open == 0

    async def run(self) -> None:
        """Returns at a reset, too."""
        async with trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            nursery.start_soon(self._one_way, self._near, self._far, self._conduit.up, scope)
            nursery.start_soon(self._one_way, self._far, self._near, self._conduit.down, scope)

    async def _one_way(
        self, source: socket.socket, sink: socket.socket, pace: Pace, scope: trio.CancelScope
    ) -> None:
        try:
            while await self._pass(source, sink, pace):
                pass
            sink.shutdown(socket.SHUT_WR)
            self._open -= 1
            if self._open:
                await _until_gone(source)
        except OSError:  # reset, or the host behind it is gone
            pass
        scope.cancel()

    async def _pass(self, source: socket.socket, sink: socket.socket, pace: Pace) -> bool:
        """Pass one chunk on; False at the end of what comes."""
        try:
            chunk = self._conduit.into(source, pace)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(source)
            return True
        count = len(chunk)
        if rest := chunk[_sent(sink, chunk) :]:
            await _send_all(sink, bytes(rest))
        if count:
            await pace.spent(count)
        return bool(count)


async def _until_gone(sock: socket.socket) -> None:
    """Return once it turns out that nobody is at the other end any more."""
    while True:
        await trio.sleep(_LOOK_S)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return


def close(sock: socket.socket, *, is_reset: bool) -> None:
    """With a reset nobody takes it for an end in good order."""
    if sock.fileno() < 0:
        return
    trio.lowlevel.notify_closing(sock)
    _linger(sock, is_reset=is_reset)
    sock.close()


def _linger(sock: socket.socket, *, is_reset: bool) -> None:
    """What the other end hears when it is closed, by us or by the end of this process."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", is_reset, 0))


def _sent(sock: socket.socket, chunk: "memoryview | bytes") -> int:
    try:
        return sock.send(chunk) if chunk else 0
    except BlockingIOError:
        return 0


async def _send_all(sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        await trio.lowlevel.wait_writable(sock)
        view = view[_sent(sock, view) :]
