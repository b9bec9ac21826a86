"""What one Yamux connection has to say and has not given to the line yet."""

from typing import Final

from p2p.link.yamux.frames import DATA, DATA_BYTES_MAX, HEADER, header

_SMALL_BYTES: Final = 4096
"""Data that costs less to copy than to look at twice: most calls and their answers."""


class YamuxOutput:
    """Frames in the order in which they leave; writes to one stream fill its last frame first."""

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []
        self.size_bytes = 0
        """Of all parts together."""
        self.pongs = 0
        """Answers to pings among them: for the core to count, as a peer may ask without end."""
        self._last_id = self._last_at = self._last_bytes = 0
        """The data frame at the end: its stream (0: none that may be joined), place and length."""

    def put(self, part: bytes | memoryview) -> None:
        """A whole frame that is not data."""
        self._parts.append(part)
        self.size_bytes += len(part)
        self._last_id = 0

    def put_data(self, stream_id: int, data: bytes | memoryview, size: int) -> None:
        """The first `size` bytes of `data`, in as many frames as they need.

        `data` is kept, not copied, unless it is a view of something that may change.
        """
        if stream_id != self._last_id and 0 < size == len(data) <= _SMALL_BYTES:
            self._begin(stream_id, bytes(data))  # most calls: no views, nothing to cut or join
            return
        view = memoryview(data)
        if not view.readonly:
            view = memoryview(bytes(view[:size]))
        joined = 0
        if stream_id == self._last_id:
            joined = min(size, DATA_BYTES_MAX - self._last_bytes)
            self._join(view[:joined])
        for at in range(joined, size, DATA_BYTES_MAX):
            self._begin(stream_id, view[at : min(at + DATA_BYTES_MAX, size)])

    def _begin(self, stream_id: int, piece: bytes | memoryview) -> None:
        size = len(piece)
        self._last_id, self._last_bytes, self._last_at = stream_id, size, len(self._parts)
        self._parts += (header(0, DATA, 0, stream_id, size), piece)
        self.size_bytes += HEADER.size + size

    def _join(self, data: memoryview) -> None:
        """Make the last frame longer: the other end wakes up less often."""
        self._last_bytes += len(data)
        self._parts[self._last_at] = header(0, DATA, 0, self._last_id, self._last_bytes)
        self._parts.append(data)
        self.size_bytes += len(data)

    def take(self) -> bytes:
        """Everything, in order; nothing waits afterwards."""
        self.pongs = 0
        parts, self._parts = self._parts, []
        self.size_bytes = self._last_id = 0
        return b"".join(parts)
