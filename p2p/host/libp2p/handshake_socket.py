"""The socket under a handshake: remembers how the other end began, receives and agrees ahead.

libp2p reads a handshake byte by byte, each read a system call and a turn of the scheduler. Here a
receive takes what there is, and `take_unread` hands on what came behind the handshake. A dialler
that accepts one protocol only says so together with its first words in that protocol, and checks
the answer when it comes: two round trips less.
"""

from collections.abc import Callable
from typing import Final

import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream

from p2p.errors import WireError
from p2p.host.relay.relayed_stream import RelayedStream
from p2p.limits import HANDSHAKE_READ_BYTES_MAX
from p2p.link.agreement import Agreement

Transport = trio.SocketStream | RelayedStream
"""What is under a connection."""

_FIRST_BYTES: Final = b"\x13/multistream/1.0.0\n"
_TELLING_BYTES: Final = len(b"HTTP/")
_AHEAD_BYTES: Final = 4096
"""More than any message of the handshake has."""


def is_multistream(heard: bytes) -> bool:
    """True while what was heard can be how a libp2p peer begins."""
    return _FIRST_BYTES.startswith(heard[: len(_FIRST_BYTES)])


def check_asked(count: int | None, most: int) -> None:
    """Raises WireError when libp2p wants to collect more than anything a peer may say has."""
    if count is not None and count > most:
        raise WireError(f"the other end announces {count} bytes where {most} are enough")


class HeardStream(TrioTCPStream):
    """A socket that remembers the first bytes, says when they came, and stops at wrong ones."""

    def __init__(self, stream: Transport, on_first: Callable[[], None]) -> None:
        super().__init__(stream)  # type: ignore[arg-type]  # it only reads, writes and closes it
        self.heard = b""
        self._on_first = on_first
        self._unread = b""
        self._agreement = Agreement()

    def agree_ahead(self, protocol: str) -> None:
        """Ask for a protocol in front of what is written first; see `Agreement`."""
        self._agreement = Agreement(protocol)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some(_AHEAD_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionClosedError(str(exc)) from exc

    async def read(self, n: int | None = None) -> bytes:
        """1 to n bytes, b"" at the end.

        WireError when no libp2p peer would begin like that, or announce so long a message.
        """
        check_asked(n, HANDSHAKE_READ_BYTES_MAX)
        while not self._unread and n != 0:
            data = await self._receive()
            if not data:
                return b""
            self._listen(data)
            self._unread = self._agreement.behind(data)
        data, self._unread = self._unread[:n], self._unread[n:] if n is not None else b""
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it: a handshake has one writer, and needs no lock."""
        try:
            await self.stream.send_all(self._agreement.before() + data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionClosedError(str(exc)) from exc

    def take_unread(self) -> bytes:
        """What was received and not read: it is the next layer's."""
        data, self._unread = self._unread, b""
        return data

    def _listen(self, data: bytes) -> None:
        if data and not self.heard:
            self._on_first()
        if len(self.heard) < len(_FIRST_BYTES):
            self.heard = (self.heard + data)[: len(_FIRST_BYTES)]
            if len(self.heard) >= _TELLING_BYTES and not is_multistream(self.heard):
                raise WireError("the other end does not begin as a libp2p peer does")
