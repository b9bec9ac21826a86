"""The streams that carry frames: one per class and direction on the connection in use.

A lane is opened by its sender when the first frame of the class is sent, or the class moves to
another connection: multistream opening, one byte with the class and one with the lane's number,
then length-prefixed frames. It lives as long as the connection, unless its class moves: then it
ends between two frames, and the next lane of the class is read once this one has been. A lane
that ends otherwise has lost frames, and takes the connection with it.
"""

from collections.abc import Callable
from typing import Final

import trio

from p2p.errors import LinkClosedError, StreamResetError, WireError
from p2p.host.peers.framing import check_answer
from p2p.host.peers.peer import PeerConn
from p2p.host.port import FrameSink
from p2p.ids import BULK, TrafficClass
from p2p.limits import DATA_FRAME_BYTES_MAX, SLICE_BYTES_MAX, TURN_S_MAX
from p2p.link.agreement import opening
from p2p.link.connection import Connection
from p2p.link.stream import LinkStream
from p2p.link.yamux import frames as yamux
from p2p.wire.frames import FrameReader, frame

_KEPT_FREE_BYTES: Final = 8 * 1024
"""Room that lanes leave to what else is said on the connection: answers to new streams, mostly.

Lanes fill room the moment there is some; whoever waits for it would never find any."""

_ROOM_BYTES_MIN: Final = 4 * 1024
"""Less is not worth a frame of its own: more comes as soon as the socket has taken some."""

_NUMBERS: Final = 256


class SendLane:
    """Our stream of one class to a peer, opened when its first byte is written."""

    def __init__(
        self, conn: PeerConn, traffic_class: TrafficClass, protocol: str,
        on_opened: "Callable[[SendLane, LinkStream], None]", on_writable: Callable[[], None],
    ) -> None:  # fmt: skip
        self._link: Connection = conn.link
        self._out = conn.link.out
        self._turns = conn.lanes.turns
        self._class = traffic_class
        self._protocol = protocol
        self._on_opened = on_opened
        self._on_writable = on_writable
        self._stream: LinkStream | None = None
        """None until the first byte, or a move, opens it."""
        self.is_finished = False
        """We have ended it: only then may the peer end it, too."""

    def room(self) -> int:
        """Bytes that may be written now."""
        room = self._out.room_bytes - _KEPT_FREE_BYTES
        if room < _ROOM_BYTES_MIN:
            return 0
        return min(room, SLICE_BYTES_MAX if self._stream is None else self._stream.room())

    def finish(self) -> None:
        """End the lane between two frames."""
        self.is_finished = True
        if self._stream is not None:
            self._stream.finish()

    def write_some(self, data: memoryview) -> int:
        """Queue bytes, at most `room`."""
        return self.opened().write_some(data)

    def opened(self) -> LinkStream:
        """Its stream. Raises LinkClosedError, or StreamLimitError when others were never ended."""
        if self._stream is None:
            self._stream = self._link.open_stream()
            self._stream.on_writable(self._on_writable)
            number = self._turns.opened[self._class]
            self._turns.opened[self._class] = number + 1
            head = bytes([self._class, number % _NUMBERS])
            self._stream.write_some(opening(self._protocol) + head)
            self._on_opened(self, self._stream)
        return self._stream


def _nobody(_conn: PeerConn) -> None:
    """Nobody waits for turns of lanes."""


class Lanes:
    """Opens the lanes of every connection, and reads those of its peers."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self.sink: FrameSink | None = None
        """Whoever takes the frames: set by the host before it runs."""
        self._told_of_ends: list[Callable[[PeerConn], None]] = []
        self.on_turned: Callable[[PeerConn], None] = _nobody
        """Told when a lane of the peer's has its turn, or the peer has read one of ours."""
        self.nursery: trio.Nursery | None = None
        """The host's, while it runs."""

    def on_ended(self, listener: Callable[[PeerConn], None]) -> None:
        """Be told when a lane of the peer's has been read to its end."""
        self._told_of_ends.append(listener)

    def out(self, conn: PeerConn, on_writable: Callable[[], None]) -> list[SendLane]:
        """Our four lanes on a connection, not opened yet."""

        def watch(lane: SendLane, stream: LinkStream) -> None:
            conn.lanes.unread += 1
            if self.nursery is not None:
                self.nursery.start_soon(self._watch, conn, lane, stream)

        return [
            SendLane(conn, traffic_class, self._protocol, watch, on_writable)
            for traffic_class in TrafficClass
        ]

    def take(self, conn: PeerConn, stream: LinkStream) -> None:
        """The peer opened a lane."""
        if self.nursery is not None:
            self.nursery.start_soon(self._read, conn, stream)

    async def _read(self, conn: PeerConn, stream: LinkStream) -> None:
        """Hand frames of one class to the sink. What the sink raises but WireError is a bug."""
        try:
            await self._read_to_end(conn, stream)
        except WireError as exc:
            conn.link.close(f"the peer broke the protocol: {exc}", yamux.PROTOCOL_ERROR)
        except StreamResetError:
            conn.link.close("the peer reset a lane")
        except LinkClosedError:
            return

    async def _read_to_end(self, conn: PeerConn, stream: LinkStream) -> None:
        """A whole lane, once it has its turn; then the next of its class has."""
        traffic_class = await _begin(conn, stream)
        if traffic_class is None:
            return
        conn.lanes.begun |= {traffic_class}
        self.on_turned(conn)
        await self._read_frames(conn, traffic_class, stream)
        conn.lanes.turns.ended[traffic_class] += 1
        conn.lanes.turns.changed.unpark_all()
        stream.finish()
        for tell in self._told_of_ends:
            tell(conn)

    async def _read_frames(
        self, conn: PeerConn, traffic_class: TrafficClass, stream: LinkStream
    ) -> None:
        assert self.sink is not None
        reader = FrameReader(DATA_FRAME_BYTES_MAX)
        while data := await stream.read():
            if traffic_class in BULK:
                conn.lanes.turns.bulk_heard += len(data)
            turn_ends_s = trio.current_time() + TURN_S_MAX
            for payload in reader.feed(data):
                if conn.is_live:
                    self.sink.on_frame(conn.peer, traffic_class, payload)
                if trio.current_time() > turn_ends_s:
                    await trio.lowlevel.checkpoint()
                    turn_ends_s = trio.current_time() + TURN_S_MAX
        if not reader.is_between_frames:
            raise WireError("a lane ended within a frame")

    async def _watch(self, conn: PeerConn, lane: SendLane, stream: LinkStream) -> None:
        """A lane of ours is good once the peer has agreed, and must not end before the link."""
        try:
            await check_answer(stream, self._protocol)
            if await stream.read(1) or not lane.is_finished:
                conn.link.close("the peer ended a lane of ours")
                return
            conn.lanes.unread -= 1
            self.on_turned(conn)
        except (WireError, StreamResetError) as exc:
            conn.link.close(f"a lane failed: {exc}")
        except LinkClosedError:
            return


def framed(payload: bytes) -> bytes:
    """A frame as it goes into a lane. Raises ValueError for one that is too long."""
    if len(payload) > DATA_FRAME_BYTES_MAX:
        raise ValueError(f"frame of {len(payload)} bytes, limit {DATA_FRAME_BYTES_MAX}")
    return frame(payload)


async def _begin(conn: PeerConn, stream: LinkStream) -> TrafficClass | None:
    """Read how a lane begins, and wait for its turn; None when the peer goes before that."""
    head = await stream.read(2)
    if len(head) == 1:
        head += await stream.read(1)
    if len(head) < 2 or head[0] >= len(TrafficClass):
        raise WireError(f"{head.hex() or 'nothing'} does not begin a lane")
    traffic_class, number, turns = TrafficClass(head[0]), head[1], conn.lanes.turns
    while conn.is_live and turns.ended[traffic_class] % _NUMBERS != number:
        await turns.changed.park()
    if turns.begun[traffic_class] != turns.ended[traffic_class]:
        raise WireError(f"two lanes of class {traffic_class} have the number {number}")
    turns.begun[traffic_class] += 1
    return traffic_class if conn.is_live else None
