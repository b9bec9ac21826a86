"""Yamux, sans-I/O: bytes in, events out; streams written to, bytes to send out.

    feed(bytes) -> [Opened | Received | Finished | WasReset | WindowGrew | Ponged | PeerLeft]
    open_stream, write, finish, reset, consumed, grant, ping, leave -> output, for take_output()

A frame is 12 bytes: version 0, type, flags, stream id, length; a data frame is followed by
`length` bytes. Receive windows are accounted here: who sends more than it was granted, or
anything else the specification forbids, gets WireError and with it GO_AWAY.
Source: https://github.com/hashicorp/yamux/blob/master/spec.md
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from p2p.errors import StreamLimitError, WireError
from p2p.limits import PONGS_WAITING_MAX
from p2p.link import yamux_events as events
from p2p.link.config import WINDOW_START_BYTES, YamuxConfig
from p2p.link.grown import GrownWindows
from p2p.link.memory import UnreadMemory
from p2p.link.noise import PLAIN_BYTES_MAX

HEADER: Final = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
NORMAL, PROTOCOL_ERROR, INTERNAL_ERROR = range(3)

DATA_BYTES_MAX: Final = PLAIN_BYTES_MAX - HEADER.size
"""Data we put in one frame: with its header it fills one Noise message exactly."""

_GRANT_BYTES: Final = 256 * 1024
"""Windows grow back in such steps: what has been read and not granted yet is idle path."""

_SMALL_BYTES: Final = 4096
"""Data that costs less to copy than to look at twice: most calls and their answers."""

_STREAM_ID_MAX: Final = 2**32 - 1


@dataclass(slots=True)
class _Stream:
    window: int
    """What the peer is granted when nothing is unread; grows with what the path needs."""
    reserved: int = 0
    """The part of it that is taken from what the node has for all connections."""
    granted_s: float = -math.inf  # when the peer was last granted more
    send_window: int = WINDOW_START_BYTES  # bytes that the peer takes now
    receive_window: int = WINDOW_START_BYTES  # bytes it may still send: with `unread` <= window
    unread: int = 0  # bytes that came and were not `consumed`
    is_send_open: bool = True
    is_receive_open: bool = True


class YamuxCore:
    """Both directions of one connection."""

    def __init__(
        self,
        *,
        is_initiator: bool,
        config: YamuxConfig | None = None,
        memory: UnreadMemory | None = None,
    ) -> None:
        self._config = config or YamuxConfig()
        self._memory, self._grown = memory, GrownWindows(memory)
        self._next_id = 1 if is_initiator else 2
        self._peer_parity = 0 if is_initiator else 1
        self._streams: dict[int, _Stream] = {}
        self._inbound = 0  # how many of them the peer has opened
        self._unread = 0  # bytes, of all streams together
        self._header = b""  # as much as has come of one that is not whole
        self._body_left = 0  # bytes that have not come yet of the data frame begun last
        self._body_id = 0
        self._body_flags = 0  # they count once the body has come
        self._output: list[bytes | memoryview] = []
        self.output_bytes = 0
        self._pongs = 0  # in the output that waits
        self.frames_in = self.frames_idle = 0
        """Headers so far; those that only opened or reset a stream, pinged, or were for nobody."""
        self._last_id = self._last_at = self._last_bytes = 0
        """The data frame at the end of the output, while more may join it."""
        self.has_left = False  # we have said goodbye
        self.rtt_s = 0.0
        """Round trip of the connection, for whoever measures it to set."""
        self.unread_bytes_max = self._config.unread_bytes_max  # lowered for a stranger or a guest

    # What the peer sends

    def feed(self, data: bytes, frames_at_once: float = math.inf) -> Iterator[events.Event]:
        """Take plaintext; yield what it means, in order, and Paused after so many frames.

        Raises WireError at the first byte the specification forbids, after what came before it.
        """
        at, size, pause_at = 0, len(data), self.frames_in + frames_at_once
        while at < size:
            if self.frames_in >= pause_at:
                pause_at = self.frames_in + frames_at_once
                yield events.Paused()
            if self._body_left:
                end = min(size, at + self._body_left)
                yield from self._on_body(events.piece(data, at, end))
                at = end
            elif self._header or size - at < HEADER.size:
                need = HEADER.size - len(self._header)
                self._header += data[at : at + need]
                at += need
                if len(self._header) == HEADER.size:
                    header, self._header = self._header, b""
                    self.frames_in += 1
                    yield from self._on_header(*HEADER.unpack(header))
            else:
                self.frames_in += 1
                header_at, at = at, at + HEADER.size
                end = at + self._whole_body(data, header_at)
                if end > at:
                    yield events.Received(self._body_id, events.piece(data, at, end))
                    at = end
                else:
                    yield from self._on_header(*HEADER.unpack_from(data, header_at))

    def _whole_body(self, data: bytes, header_at: int) -> int:
        """The length of a plain data frame that lies in `data` whole, accounted for; else 0.

        What most bytes arrive in; everything else takes the way through `_on_header`.
        """
        length: int
        version, kind, flags, stream_id, length = HEADER.unpack_from(data, header_at)
        stream = self._streams.get(stream_id)
        if version or kind or flags or stream is None or not stream.is_receive_open:
            return 0
        is_whole = header_at + HEADER.size + length <= len(data)
        if not is_whole or length > stream.receive_window or not self._has_memory(length):
            return 0
        stream.receive_window -= length
        self._keep(stream, length)
        self._body_id = stream_id
        return length

    def _on_header(
        self, version: int, kind: int, flags: int, stream_id: int, length: int
    ) -> Iterator[events.Event]:
        if version != 0 or kind > GO_AWAY:
            raise WireError(f"not a Yamux frame: version {version}, type {kind}")
        if kind == PING:
            yield from self._on_ping(flags, length)
        elif kind == GO_AWAY:
            yield events.PeerLeft(length)
        elif stream_id == 0:
            raise WireError("stream 0 carries no data")
        else:
            yield from self._on_stream_frame(kind, flags, stream_id, length)

    def _on_ping(self, flags: int, value: int) -> Iterator[events.Event]:
        if flags & ACK:
            yield events.Ponged(value)
            return
        self.frames_idle += 1
        self._pongs += 1
        if self._pongs > PONGS_WAITING_MAX:
            raise WireError("pings without end")
        self._put(HEADER.pack(0, PING, ACK, 0, value))

    def _on_stream_frame(
        self, kind: int, flags: int, stream_id: int, length: int
    ) -> Iterator[events.Event]:
        if flags & SYN:
            yield from self._on_open(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None or flags & (SYN | RST):
            self.frames_idle += 1
        if kind == WINDOW_UPDATE:
            if stream is not None and length:
                stream.send_window = min(stream.send_window + length, _STREAM_ID_MAX)
                yield events.WindowGrew(stream_id)
            yield from self._on_end_flags(stream_id, flags)
            return
        allowed = self._config.window_bytes_max if stream is None else stream.receive_window
        if length > allowed:
            raise WireError(f"data frame of {length} bytes, window {allowed}")
        if stream is not None:
            stream.receive_window -= length
        self._body_left, self._body_id, self._body_flags = length, stream_id, flags
        if not length:
            yield from self._on_end_flags(stream_id, flags)

    def _on_open(self, stream_id: int) -> Iterator[events.Event]:
        if stream_id % 2 != self._peer_parity or stream_id in self._streams:
            raise WireError(f"stream {stream_id} is not the peer's to open")
        if self._inbound >= self._config.streams_inbound_max or self.has_left:
            self._put(HEADER.pack(0, WINDOW_UPDATE, RST, stream_id, 0))
            return
        self._inbound += 1
        self._streams[stream_id] = _Stream(self._config.window_bytes)
        self._put(HEADER.pack(0, WINDOW_UPDATE, ACK, stream_id, 0))
        yield events.StreamOpened(stream_id)

    def _on_body(self, data: bytes | memoryview) -> Iterator[events.Event]:
        self._body_left -= len(data)
        stream = self._streams.get(self._body_id)
        if stream is not None and stream.is_receive_open:
            if self._has_memory(len(data)):
                self._keep(stream, len(data))
                yield events.Received(self._body_id, data)
            else:
                self.reset(self._body_id)
                yield events.WasReset(self._body_id)
        if not self._body_left:
            yield from self._on_end_flags(self._body_id, self._body_flags)

    def _on_end_flags(self, stream_id: int, flags: int) -> Iterator[events.Event]:
        stream = self._streams.get(stream_id)
        if stream is None or not flags & (FIN | RST):
            return
        if flags & RST:
            self._forget(stream_id)
            yield events.WasReset(stream_id)
        elif stream.is_receive_open:
            stream.is_receive_open = False
            if not stream.is_send_open:
                self._forget(stream_id)
            yield events.Finished(stream_id)

    # What we do

    def open_stream(self) -> int:
        """Open a stream and return its id; it may be written to at once.

        Raises StreamLimitError when too many are open or all ids are used up.
        """
        stream_id = self._next_id
        outbound = len(self._streams) - self._inbound
        if outbound >= self._config.streams_outbound_max or stream_id > _STREAM_ID_MAX:
            raise StreamLimitError(f"{outbound} streams are open on this connection")
        self._next_id += 2
        extra = self._config.window_bytes - WINDOW_START_BYTES
        window = self._config.window_bytes
        self._streams[stream_id] = _Stream(window, receive_window=window)
        self._put(HEADER.pack(0, WINDOW_UPDATE, SYN, stream_id, extra))
        return stream_id

    def has(self, stream_id: int) -> bool:
        """True until both sides have finished or one has reset the stream."""
        return stream_id in self._streams

    def window_of(self, stream_id: int) -> int:
        """Bytes the peer takes on this stream now; 0 when it cannot be written to."""
        stream = self._streams.get(stream_id)
        return stream.send_window if stream is not None and stream.is_send_open else 0

    def write(self, stream_id: int, data: bytes | memoryview) -> int:
        """Queue as much as the window allows; return how many bytes that was.

        `data` is kept, not copied, unless it is a view of something that may change.
        """
        stream = self._streams.get(stream_id)
        if stream is None or not stream.is_send_open:
            return 0
        size = min(len(data), stream.send_window)
        stream.send_window -= size
        if stream_id != self._last_id and 0 < size == len(data) <= _SMALL_BYTES:
            self._put_data(stream_id, bytes(data))  # most calls: no views, nothing to cut or join
            return size
        view = memoryview(data)
        if not view.readonly:
            view = memoryview(bytes(view[:size]))
        joined = 0
        if stream_id == self._last_id:
            joined = min(size, DATA_BYTES_MAX - self._last_bytes)
            self._join_last(view[:joined])
        for at in range(joined, size, DATA_BYTES_MAX):
            self._put_data(stream_id, view[at : min(at + DATA_BYTES_MAX, size)])
        return size

    def _put_data(self, stream_id: int, piece: bytes | memoryview) -> None:
        size = len(piece)
        self._last_id, self._last_bytes, self._last_at = stream_id, size, len(self._output)
        self._output += (HEADER.pack(0, DATA, 0, stream_id, size), piece)
        self.output_bytes += HEADER.size + size

    def _join_last(self, data: memoryview) -> None:
        """Writes to one stream fill its last frame first: the other end wakes up less often."""
        self._last_bytes += len(data)
        header = HEADER.pack(0, DATA, 0, self._last_id, self._last_bytes)
        self._output[self._last_at] = header
        self._output.append(data)
        self.output_bytes += len(data)

    def consumed(self, stream_id: int, size: int) -> bool:
        """`size` received bytes have been read; True when the peer should be granted more."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return False
        stream.unread -= size
        self._release(size)
        window = stream.window
        free = window - stream.unread - stream.receive_window
        return stream.is_receive_open and free >= min(window // 2, _GRANT_BYTES)

    def grant(self, stream_id: int, now_s: float = math.inf) -> None:
        """Let the peer send as much more as has been read of what it sent.

        A stream that takes in its window within four round trips (`rtt_s`) is held up by it: the
        window doubles, up to `window_bytes_max` and a quarter of what the connection may hold, and
        beyond that as long as the node has room for a larger promise.
        """
        stream = self._streams[stream_id]
        window = stream.window
        free = window - stream.unread - stream.receive_window
        if (now_s - stream.granted_s) * window < 4 * self.rtt_s * free:
            self._widen(stream)
            free += stream.window - window
        stream.granted_s = now_s
        stream.receive_window += free
        self._put(HEADER.pack(0, WINDOW_UPDATE, 0, stream_id, free))

    def _widen(self, stream: _Stream) -> None:
        most = min(self._config.window_bytes_max, self.unread_bytes_max // 4)
        if stream.window < most:
            stream.window = min(2 * stream.window, most)
        elif self.unread_bytes_max >= self._config.unread_bytes_max:  # neither stranger nor guest
            more = self._grown.double(stream.window)
            stream.window += more
            stream.reserved += more

    def finish(self, stream_id: int) -> None:
        """Send no more on this stream; what the peer sends still arrives."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.is_send_open:
            return
        stream.is_send_open = False
        self._put(HEADER.pack(0, WINDOW_UPDATE, FIN, stream_id, 0))
        if not stream.is_receive_open:
            self._forget(stream_id)

    def reset(self, stream_id: int) -> None:
        """Give a stream up in both directions."""
        if stream_id in self._streams:
            self._forget(stream_id)
            self._put(HEADER.pack(0, WINDOW_UPDATE, RST, stream_id, 0))

    def ping(self, value: int) -> None:
        """Ask the peer to answer with Ponged(value)."""
        self._put(HEADER.pack(0, PING, SYN, 0, value))

    def leave(self, code: int) -> None:
        """Say goodbye, once: no stream is opened or accepted after this."""
        if not self.has_left:
            self.has_left = True
            self._put(HEADER.pack(0, GO_AWAY, 0, 0, code))

    def take_output(self) -> bytes:
        """Everything queued for the peer, in order; the queue is empty afterwards."""
        self._pongs = 0
        parts, self._output = self._output, []
        self.output_bytes = self._last_id = 0
        return b"".join(parts)

    def end(self) -> None:
        """The connection is over: what its streams held is free."""
        for stream_id in list(self._streams):
            self._forget(stream_id)

    @property
    def unread_bytes(self) -> int:
        """Received and not yet `consumed`, on all streams."""
        return self._unread

    def _has_memory(self, size: int) -> bool:
        return self._unread + size <= self.unread_bytes_max + self._grown.total_bytes

    def _keep(self, stream: _Stream, size: int) -> None:
        stream.unread += size
        self._unread += size
        if self._memory is not None:
            self._memory.take(size)

    def _release(self, size: int) -> None:
        self._unread -= size
        if self._memory is not None:
            self._memory.give_back(size)

    def _forget(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id)
        self._release(stream.unread)
        self._grown.give_back(stream.reserved)
        if stream_id % 2 == self._peer_parity:
            self._inbound -= 1

    def _put(self, part: bytes | memoryview) -> None:
        self._output.append(part)
        self.output_bytes += len(part)
        self._last_id = 0
