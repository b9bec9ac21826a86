"""What the peer of one connection may send, and what of it nobody has read yet.

A window is what a stream grants: bytes on their way and bytes unread together never exceed it.
It grows where it is what holds up a path, and grows back in steps as its reader reads. All streams
of a connection share what it may hold; who sends more than there is room for loses the stream.
"""

import math
from typing import Final

import msgspec

from p2p.link.config import WINDOW_START_BYTES, YamuxConfig
from p2p.link.memory import UnreadMemory
from p2p.link.yamux.grown import GrownWindows

_GRANT_BYTES: Final = 256 * 1024
"""Windows grow back in such steps: what has been read and not granted yet is idle path."""


class YamuxStream(msgspec.Struct):
    """One stream, as both ends count it."""

    window: int
    """What the peer is granted when nothing is unread; grows with what the path needs."""
    window_max: int | None = None
    """It grows no further: whoever reads it hands on what it reads (`p2p.host.relay`)."""
    reserved: int = 0
    """The part of it that is taken from what the node has for all connections."""
    granted_s: float = -math.inf
    """When the peer was last granted more."""
    send_window: int = WINDOW_START_BYTES
    """Bytes that the peer takes now."""
    receive_window: int = WINDOW_START_BYTES
    """Bytes it may still send: with `unread` never above `window`."""
    unread: int = 0
    """Bytes that came and were not read."""
    is_send_open: bool = True
    """We have neither finished nor reset it."""
    is_receive_open: bool = True
    """The peer has neither finished nor reset it."""


class ReceiveWindows:
    """The windows of all streams of one connection, and what is held for their readers."""

    def __init__(self, config: YamuxConfig, memory: UnreadMemory | None) -> None:
        self._config = config
        self._memory, self._grown = memory, GrownWindows(memory)
        self.unread_bytes = 0
        """Received and not yet read, of all streams together."""
        self.unread_bytes_max = config.unread_bytes_max
        """Lowered for a stranger or a guest; windows that have grown come on top."""
        self.rtt_s = 0.0
        """Round trip of the connection, for whoever measures it to set."""

    def hold(self, stream: YamuxStream, size: int) -> bool:
        """So much came for a reader; False, and nothing is held, when there is no room for it."""
        if self.unread_bytes + size > self.unread_bytes_max + self._grown.total_bytes:
            return False
        stream.unread += size
        self.unread_bytes += size
        if self._memory is not None:
            self._memory.take(size)
        return True

    def was_read(self, stream: YamuxStream, size: int) -> bool:
        """So much of it has been read; True when the peer should be granted more."""
        stream.unread -= size
        self._release(size)
        window = stream.window
        free = window - stream.unread - stream.receive_window
        return stream.is_receive_open and free >= min(window // 2, _GRANT_BYTES)

    def grant(self, stream: YamuxStream, now_s: float) -> int:
        """How much more the peer may send: as much as has been read of what it sent.

        A stream that takes in its window within four round trips (`rtt_s`) is held up by it: the
        window doubles, up to `window_bytes_max` and a quarter of what the connection may hold, and
        beyond that as long as the node has room for a larger promise.
        """
        window = stream.window
        free = window - stream.unread - stream.receive_window
        if (now_s - stream.granted_s) * window < 4 * self.rtt_s * free:
            self._widen(stream)
            free += stream.window - window
        stream.granted_s = now_s
        stream.receive_window += free
        return free

    def limit(self, stream: YamuxStream, window: int) -> None:
        """Never grant more than so much at once; what was granted before stays so."""
        stream.window, stream.window_max = min(stream.window, window), window

    def _widen(self, stream: YamuxStream) -> None:
        if stream.window_max is not None:
            return
        most = min(self._config.window_bytes_max, self.unread_bytes_max // 4)
        if stream.window < most:
            stream.window = min(2 * stream.window, most)
        elif self.unread_bytes_max >= self._config.unread_bytes_max:  # neither stranger nor guest
            more = self._grown.double(stream.window)
            stream.window += more
            stream.reserved += more

    def end(self, stream: YamuxStream) -> None:
        """A stream is over: nobody reads what is left of it, and its window is free."""
        if stream.unread:
            self._release(stream.unread)
        if stream.reserved:
            self._grown.give_back(stream.reserved)

    def _release(self, size: int) -> None:
        self.unread_bytes -= size
        if self._memory is not None:
            self._memory.give_back(size)
