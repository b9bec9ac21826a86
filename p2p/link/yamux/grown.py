"""Windows beyond what a connection may hold by itself, out of what the node may hold.

A window is a promise: the peer may send so much before anybody has read it. Every connection has
room for windows of its own; a long fast path needs more, and reserves it here, so that what was
promised to all peers together never exceeds what the node has.
"""

from p2p.limits import STREAM_WINDOW_GROWN_BYTES_MAX
from p2p.link.memory import UnreadMemory


class GrownWindows:
    """The reservations of one connection."""

    def __init__(self, memory: UnreadMemory | None) -> None:
        self._memory = memory
        self.total_bytes = 0
        """Reserved now for all streams: the connection may hold so much more."""

    def double(self, window: int) -> int:
        """By how much a window may grow: its own size, or 0 when the node has no room left."""
        more = min(window, STREAM_WINDOW_GROWN_BYTES_MAX - window)
        if more <= 0 or self._memory is None or not self._memory.reserve(more):
            return 0
        self.total_bytes += more
        return more

    def give_back(self, size: int) -> None:
        """A stream has ended that had reserved so much."""
        if self._memory is not None:
            self.total_bytes -= size
            self._memory.release(size)
