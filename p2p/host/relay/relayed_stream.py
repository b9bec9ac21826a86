"""A circuit as the transport of a connection: in place of a socket, under the handshake."""

from typing import Final

import trio

from p2p.errors import LinkClosedError, StreamResetError
from p2p.host.relay.limits import (
    CIRCUIT_BACKLOG_BYTES,
    CIRCUIT_CALLS_BACKLOG_BYTES,
    CIRCUIT_PIECE_BYTES,
)
from p2p.ids import PeerId
from p2p.link.stream import LinkStream

_RECEIVE_BYTES: Final = 256 * 1024

_LINGER_S: Final = 2.0
"""How long what was sent last may take to the other end: a goodbye over two slow lines."""


class RelayedStream(trio.abc.HalfCloseableStream):
    """One end of a circuit. What breaks it says by which relay it went."""

    def __init__(self, stream: LinkStream, relay: PeerId, *, is_bulk: bool) -> None:
        self._stream = stream
        self.relay, self.is_bulk = relay, is_bulk
        self._backlog_bytes = CIRCUIT_BACKLOG_BYTES if is_bulk else CIRCUIT_CALLS_BACKLOG_BYTES
        self._closed = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """1 to `max_bytes` bytes, b"" at the end."""
        if self._closed.is_set():
            raise trio.ClosedResourceError
        try:
            return await self._stream.read(max_bytes or _RECEIVE_BYTES)
        except (StreamResetError, LinkClosedError) as exc:
            raise self._broken(exc) from exc

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Queue all of it, in pieces that others can come between."""
        if self._closed.is_set():
            raise trio.ClosedResourceError
        left = memoryview(data)
        await trio.lowlevel.checkpoint()
        try:
            while left:
                piece, left = left[:CIRCUIT_PIECE_BYTES], left[CIRCUIT_PIECE_BYTES:]
                await self._stream.write_behind(bytes(piece), self._backlog_bytes)
        except (StreamResetError, LinkClosedError) as exc:
            raise self._broken(exc) from exc

    async def wait_send_all_might_not_block(self) -> None:
        """Nothing to wait for: `send_all` waits itself."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Send no more."""
        self._stream.finish()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Send no more, and read no more; what was sent still goes its way (`see_out`)."""
        self._stream.finish()
        self._closed.set()
        await trio.lowlevel.checkpoint()

    async def see_out(self) -> None:
        """Wait until it is closed and the other end has had time to hear all; then let it go.

        Runs as long as the circuit does, in the host's nursery.
        """
        try:
            await self._closed.wait()
            with trio.move_on_after(_LINGER_S):
                while await self._stream.read():
                    pass
        except (StreamResetError, LinkClosedError):
            return
        finally:
            self._stream.reset()

    def _broken(self, why: Exception) -> trio.BrokenResourceError:
        return trio.BrokenResourceError(f"the way by relay {self.relay} ended ({why})")
