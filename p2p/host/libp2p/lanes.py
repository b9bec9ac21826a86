"""The streams that carry frames: one per class and direction on the connection in use.

A lane is opened by its sender when the first frame of the class is sent: multistream opening, one
byte with the class, then length-prefixed frames for as long as the connection lives. A lane that
ends earlier has lost frames, and takes the connection with it.
"""

from collections.abc import Callable

import trio

from p2p.errors import LinkClosedError, StreamResetError, WireError
from p2p.host.libp2p.peer import PeerConn
from p2p.host.libp2p.talk import check_answer, opening
from p2p.host.port import FrameSink
from p2p.ids import TrafficClass
from p2p.limits import DATA_FRAME_BYTES_MAX, SLICE_BYTES_MAX, TURN_S_MAX
from p2p.link import yamux_core as yamux
from p2p.link.connection import Connection
from p2p.link.stream import LinkStream
from p2p.wire.frames import FrameReader, frame


class SendLane:
    """Our stream of one class to a peer, opened when its first byte is written."""

    def __init__(
        self, link: Connection, traffic_class: TrafficClass, protocol: str,
        on_opened: Callable[[LinkStream], None], on_writable: Callable[[], None],
    ) -> None:  # fmt: skip
        self._link = link
        self._opening = opening(protocol) + bytes([traffic_class])
        self._on_opened = on_opened
        self._on_writable = on_writable
        self._stream: LinkStream | None = None

    def room(self) -> int:
        """Bytes that may be written now."""
        if self._stream is None:
            return SLICE_BYTES_MAX if self._link.has_room() else 0
        return self._stream.room()

    def write_some(self, data: memoryview) -> int:
        """Queue bytes, at most `room`."""
        if self._stream is None:
            self._stream = self._link.open_stream()
            self._stream.on_writable = self._on_writable
            self._stream.write_some(self._opening)
            self._on_opened(self._stream)
        return self._stream.write_some(data)


class Lanes:
    """Opens the lanes of every connection, and reads those of its peers."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self.sink: FrameSink | None = None
        self.nursery: trio.Nursery | None = None

    def out(self, conn: PeerConn, on_writable: Callable[[], None]) -> list[SendLane]:
        """Our four lanes on a connection, not opened yet."""

        def watch(stream: LinkStream) -> None:
            if self.nursery is not None:
                self.nursery.start_soon(self._watch, conn, stream)

        return [
            SendLane(conn.link, traffic_class, self._protocol, watch, on_writable)
            for traffic_class in TrafficClass
        ]

    def take(self, conn: PeerConn, stream: LinkStream) -> None:
        """The peer opened a lane."""
        if self.nursery is not None:
            self.nursery.start_soon(self._read, conn, stream)

    async def _read(self, conn: PeerConn, stream: LinkStream) -> None:
        """Hand frames of one class to the sink. What the sink raises but WireError is a bug."""
        assert self.sink is not None
        try:
            traffic_class = _class_of(conn, await stream.read(1))
            reader = FrameReader(DATA_FRAME_BYTES_MAX)
            while data := await stream.read():
                turn_ends_s = trio.current_time() + TURN_S_MAX
                for payload in reader.feed(data):
                    if conn.is_live:
                        self.sink.on_frame(conn.peer, traffic_class, payload)
                    if trio.current_time() > turn_ends_s:
                        await trio.lowlevel.checkpoint()
                        turn_ends_s = trio.current_time() + TURN_S_MAX
            conn.link.close("the peer ended a lane")
        except WireError as exc:
            conn.link.close(f"the peer broke the protocol: {exc}", yamux.PROTOCOL_ERROR)
        except StreamResetError:
            conn.link.close("the peer reset a lane")
        except LinkClosedError:
            return

    async def _watch(self, conn: PeerConn, stream: LinkStream) -> None:
        """A lane of ours is good once the peer has agreed, and must not end before the link."""
        try:
            await check_answer(stream, self._protocol)
            await stream.read(1)
            conn.link.close("the peer ended a lane")
        except (WireError, StreamResetError) as exc:
            conn.link.close(f"a lane failed: {exc}")
        except LinkClosedError:
            return


def _class_of(conn: PeerConn, first: bytes) -> TrafficClass:
    """The class a lane begins with; each class has one lane."""
    if not first or first[0] >= len(TrafficClass) or first[0] in conn.lanes_in:
        raise WireError(f"{first.hex() or 'nothing'} does not begin a lane")
    traffic_class = TrafficClass(first[0])
    conn.lanes_in.add(traffic_class)
    return traffic_class


def framed(payload: bytes) -> bytes:
    """A frame as it goes into a lane. Raises ValueError for one that is too long."""
    if len(payload) > DATA_FRAME_BYTES_MAX:
        raise ValueError(f"frame of {len(payload)} bytes, limit {DATA_FRAME_BYTES_MAX}")
    return frame(payload)
