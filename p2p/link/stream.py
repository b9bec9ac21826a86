"""One stream of a connection, for those who read and write it."""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import trio

from p2p.errors import StreamResetError
from p2p.link.output import LinkOutput
from p2p.link.yamux.core import YamuxCore

_READ_BYTES_MAX: Final = 1024 * 1024


class StreamCarrier(Protocol):
    """What a stream needs of its connection."""

    @property
    def core(self) -> YamuxCore: ...

    @property
    def out(self) -> LinkOutput: ...

    def forget(self, stream_id: int) -> None: ...
    def forget_if_over(self, stream_id: int) -> None: ...


class LinkStream:
    """One stream of a connection."""

    def __init__(self, link: StreamCarrier, stream_id: int) -> None:
        self.link = link
        self._core, self._out = link.core, link.out
        self.stream_id = stream_id
        self._on_writable: Callable[[], None] | None = None
        self._chunks: deque[bytes | memoryview] = deque()
        """What came and was not read, in order."""
        self._is_ended = False
        """The peer has finished: nothing comes after `_chunks`."""
        self._failure: Exception | None = None
        """Why it is over before its end; the first reason stays."""
        self._readers = trio.lowlevel.ParkingLot()
        """Parked until something comes or it is over."""
        self._writers = trio.lowlevel.ParkingLot()
        """Parked until the peer takes more or it is over."""

    def on_writable(self, listener: Callable[[], None]) -> None:
        """Be told when the peer takes more: for whoever writes without waiting."""
        self._on_writable = listener

    def room(self) -> int:
        """Bytes that may be written now without waiting for the peer or the socket."""
        return self._core.window_of(self.stream_id) if self._out.has_room() else 0

    def write_some(self, data: bytes | memoryview) -> int:
        """Queue what the peer's window takes; never waits. Returns the number of bytes."""
        self._raise_failure()
        size = self._core.write(self.stream_id, data)
        self._out.wake()
        return size

    async def write(self, data: bytes) -> None:
        """Queue all bytes, waiting for window and backlog.

        Raises StreamResetError or LinkClosedError; when cancelled, a part may have been queued.
        """
        left: bytes | memoryview = data
        await trio.lowlevel.checkpoint_if_cancelled()
        while left:
            self._raise_failure()
            if not self._out.has_room():
                await self._out.wait_for_room()
            elif sent := self._core.write(self.stream_id, left):
                left = memoryview(left)[sent:]
                if self._out.flush_if_full():
                    await trio.lowlevel.checkpoint()
                else:
                    self._out.wake()
            else:
                await self._writers.park()

    async def read(self, bytes_max: int = _READ_BYTES_MAX) -> bytes:
        """1 to `bytes_max` bytes, or b"" once the peer has finished.

        Raises StreamResetError when the stream was reset, LinkClosedError when the link ended.
        """
        if self._chunks:
            await trio.lowlevel.checkpoint_if_cancelled()
        while not self._chunks:
            self._raise_failure()
            if self._is_ended:
                await trio.lowlevel.checkpoint_if_cancelled()
                return b""
            await self._readers.park()
        chunk = self._chunks.popleft()
        if len(chunk) > bytes_max:
            self._chunks.appendleft(chunk[bytes_max:])
            chunk = chunk[:bytes_max]
        self._consumed(len(chunk))
        return bytes(chunk)

    def take_prefix(self, prefix: bytes) -> bool:
        """Read exactly this if it has come, in one piece, and is what comes next; else nothing."""
        if not self._chunks or self._chunks[0][: len(prefix)] != prefix:
            return False
        rest = self._chunks[0][len(prefix) :]
        if rest:
            self._chunks[0] = rest
        else:
            self._chunks.popleft()
        self._consumed(len(prefix))
        return True

    def limit_window(self, window_max: int) -> None:
        """Let the peer never have more than so much on its way to us, or unread here."""
        self._core.limit_window(self.stream_id, window_max)

    async def write_behind(self, data: bytes, backlog_bytes_max: int) -> None:
        """The same as `write`, once no more than so much waits for the socket: for what others
        should overtake."""
        await self._out.wait_below(backlog_bytes_max)
        await self.write(data)

    def finish(self) -> None:
        """Send no more; the peer sees the end after what was written."""
        self._core.finish(self.stream_id)
        self._out.wake()
        self.link.forget_if_over(self.stream_id)
        self._writers.unpark_all()

    def reset(self) -> None:
        """Give the stream up; the peer sees a reset."""
        self._core.reset(self.stream_id)
        self._out.wake()
        self.link.forget(self.stream_id)
        self.fail(StreamResetError("we reset the stream"))

    # What the connection tells its streams

    def take(self, data: bytes | memoryview) -> None:
        """Bytes arrived."""
        self._chunks.append(data)
        self._readers.unpark_all()

    def end(self) -> None:
        """The peer has finished."""
        self._is_ended = True
        self._readers.unpark_all()

    def window_grew(self) -> None:
        """The peer takes more."""
        self._writers.unpark_all()
        if self._on_writable is not None:
            self._on_writable()

    def fail(self, why: Exception) -> None:
        """The stream is over without having ended."""
        if self._failure is None:
            self._failure = why
        if isinstance(why, StreamResetError):
            self._chunks.clear()
        self._readers.unpark_all()
        self._writers.unpark_all()

    def _consumed(self, size: int) -> None:
        if self._core.consumed(self.stream_id, size):
            self._core.grant(self.stream_id, trio.current_time())
            self._out.wake()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)
