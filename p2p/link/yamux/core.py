"""The streams of one connection: bytes in, events out; streams written to, bytes to send out.

    feed(bytes) -> StreamOpened | Received | Finished | WasReset | WindowGrew | Ponged
                   | PeerLeft | Paused, in order
    open_stream, write, finish, reset, consumed, grant, ping, leave -> output, for output.take()

Who sends more than it was granted, or anything else the specification forbids, gets WireError
and with it GO_AWAY.
"""

import math
from collections.abc import Iterator

from p2p.errors import StreamLimitError, WireError
from p2p.limits import PONGS_WAITING_MAX
from p2p.link.config import WINDOW_START_BYTES, YamuxConfig
from p2p.link.memory import UnreadMemory
from p2p.link.yamux import events
from p2p.link.yamux.frames import (
    ACK,
    FIN,
    GO_AWAY,
    HEADER,
    PING,
    RST,
    SYN,
    UINT32_MAX,
    WINDOW_UPDATE,
    header,
    header_at,
)
from p2p.link.yamux.output import YamuxOutput
from p2p.link.yamux.windows import ReceiveWindows, YamuxStream


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
        self.windows = ReceiveWindows(self._config, memory)
        """What the peer may send, and what nobody has read yet."""
        self.output = YamuxOutput()
        """Frames that wait for the line; whoever writes to it takes them out."""
        self._next_id = 1 if is_initiator else 2
        """Of the next stream that we open; grows by two, above UINT32_MAX none is left."""
        self._peer_parity = 0 if is_initiator else 1
        """Streams of the peer have ids that leave this when divided by two."""
        self._streams: dict[int, YamuxStream] = {}
        """By id, those that are open in one direction at least."""
        self._inbound = 0
        """How many of them the peer has opened."""
        self._header = b""
        """As much as has come of one that is not whole."""
        self._body_left = 0
        """Bytes that have not come yet of the data frame begun last."""
        self._body_id = 0
        """The stream of that frame."""
        self._body_flags = 0
        """Its flags: they count once the body has come."""
        self.frames_in = self.frames_idle = 0
        """Headers so far; those that only opened or reset a stream, pinged, or were for nobody."""
        self.has_left = False
        """We have said goodbye."""

    # What the peer sends

    def feed(self, data: bytes, frames_at_once: float = math.inf) -> Iterator[events.FromPeer]:
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
                yield from self._on_body(_piece(data, at, end))
                at = end
            elif self._header or size - at < HEADER.size:
                need = HEADER.size - len(self._header)
                self._header += data[at : at + need]
                at += need
                if len(self._header) == HEADER.size:
                    head, self._header = self._header, b""
                    self.frames_in += 1
                    yield from self._on_header(*header_at(head))
            else:
                self.frames_in += 1
                begins, at = at, at + HEADER.size
                end = at + self._whole_body(data, begins)
                if end > at:
                    yield events.Received(self._body_id, _piece(data, at, end))
                    at = end
                else:
                    yield from self._on_header(*header_at(data, begins))

    def _whole_body(self, data: bytes, begins: int) -> int:
        """The length of a plain data frame that lies in `data` whole, accounted for; else 0.

        What most bytes arrive in; everything else takes the way through `_on_header`.
        """
        length: int
        version, kind, flags, stream_id, length = header_at(data, begins)
        stream = self._streams.get(stream_id)
        if version or kind or flags or stream is None or not stream.is_receive_open:
            return 0
        is_whole = begins + HEADER.size + length <= len(data)
        if not is_whole or length > stream.receive_window or not self.windows.hold(stream, length):
            return 0
        stream.receive_window -= length
        self._body_id = stream_id
        return length

    def _on_header(
        self, version: int, kind: int, flags: int, stream_id: int, length: int
    ) -> Iterator[events.FromPeer]:
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

    def _on_ping(self, flags: int, value: int) -> Iterator[events.FromPeer]:
        if flags & ACK:
            yield events.Ponged(value)
            return
        self.frames_idle += 1
        self.output.pongs += 1
        if self.output.pongs > PONGS_WAITING_MAX:
            raise WireError("pings without end")
        self.output.put(header(0, PING, ACK, 0, value))

    def _on_stream_frame(
        self, kind: int, flags: int, stream_id: int, length: int
    ) -> Iterator[events.FromPeer]:
        if flags & SYN:
            yield from self._on_open(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None or flags & (SYN | RST):
            self.frames_idle += 1
        if kind == WINDOW_UPDATE:
            if stream is not None and length:
                stream.send_window = min(stream.send_window + length, UINT32_MAX)
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

    def _on_open(self, stream_id: int) -> Iterator[events.FromPeer]:
        if stream_id % 2 != self._peer_parity or stream_id in self._streams:
            raise WireError(f"stream {stream_id} is not the peer's to open")
        if self._inbound >= self._config.streams_inbound_max or self.has_left:
            self.output.put(header(0, WINDOW_UPDATE, RST, stream_id, 0))
            return
        self._inbound += 1
        self._streams[stream_id] = YamuxStream(self._config.window_bytes)
        self.output.put(header(0, WINDOW_UPDATE, ACK, stream_id, 0))
        yield events.StreamOpened(stream_id)

    def _on_body(self, data: bytes | memoryview) -> Iterator[events.FromPeer]:
        self._body_left -= len(data)
        stream = self._streams.get(self._body_id)
        if stream is not None and stream.is_receive_open:
            if self.windows.hold(stream, len(data)):
                yield events.Received(self._body_id, data)
            else:
                self.reset(self._body_id)
                yield events.WasReset(self._body_id)
        if not self._body_left:
            yield from self._on_end_flags(self._body_id, self._body_flags)

    def _on_end_flags(self, stream_id: int, flags: int) -> Iterator[events.FromPeer]:
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

    def open_stream(self, window_max: int | None = None) -> int:
        """Open a stream and return its id; it may be written to at once.

        With `window_max` the peer is never granted more than that, or the 256 KiB of any stream.
        Raises StreamLimitError when too many are open or all ids are used up.
        """
        stream_id = self._next_id
        outbound = len(self._streams) - self._inbound
        if outbound >= self._config.streams_outbound_max or stream_id > UINT32_MAX:
            raise StreamLimitError(f"{outbound} streams are open on this connection")
        self._next_id += 2
        window = self._config.window_bytes
        if window_max is not None:
            window = max(WINDOW_START_BYTES, min(window, window_max))
        stream = self._streams[stream_id] = YamuxStream(window, receive_window=window)
        stream.window_max = window_max
        extra = window - WINDOW_START_BYTES
        self.output.put(header(0, WINDOW_UPDATE, SYN, stream_id, extra))
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
        size = len(data)
        if size > stream.send_window:
            size = stream.send_window
        stream.send_window -= size
        self.output.put_data(stream_id, data, size)
        return size

    def consumed(self, stream_id: int, size: int) -> bool:
        """`size` received bytes have been read; True when the peer should be granted more."""
        stream = self._streams.get(stream_id)
        return stream is not None and self.windows.was_read(stream, size)

    def grant(self, stream_id: int, now_s: float = math.inf) -> None:
        """Let the peer send as much more as has been read of what it sent, or a little more."""
        free = self.windows.grant(self._streams[stream_id], now_s)
        self.output.put(header(0, WINDOW_UPDATE, 0, stream_id, free))

    def limit_window(self, stream_id: int, window: int) -> None:
        """Let the peer never have more than so much on its way, or unread, on this stream."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.windows.limit(stream, window)

    def finish(self, stream_id: int) -> None:
        """Send no more on this stream; what the peer sends still arrives."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.is_send_open:
            return
        stream.is_send_open = False
        self.output.put(header(0, WINDOW_UPDATE, FIN, stream_id, 0))
        if not stream.is_receive_open:
            self._forget(stream_id)

    def reset(self, stream_id: int) -> None:
        """Give a stream up in both directions."""
        if stream_id in self._streams:
            self._forget(stream_id)
            self.output.put(header(0, WINDOW_UPDATE, RST, stream_id, 0))

    def ping(self, value: int) -> None:
        """Ask the peer to answer with Ponged(value)."""
        self.output.put(header(0, PING, SYN, 0, value))

    def leave(self, code: int) -> None:
        """Say goodbye, once: no stream is opened or accepted after this."""
        if not self.has_left:
            self.has_left = True
            self.output.put(header(0, GO_AWAY, 0, 0, code))

    def end(self) -> None:
        """The connection is over: what its streams held is free."""
        for stream_id in list(self._streams):
            self._forget(stream_id)

    def _forget(self, stream_id: int) -> None:
        self.windows.end(self._streams.pop(stream_id))
        if stream_id % 2 == self._peer_parity:
            self._inbound -= 1


def _piece(data: bytes, at: int, end: int) -> bytes | memoryview:
    """Bytes of a plaintext: a view when it is most of it, else a copy that holds nothing else."""
    if 2 * (end - at) < len(data):
        return data[at:end]
    return memoryview(data)[at:end]
