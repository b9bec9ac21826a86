"""One connection: a socket, a Noise session and Yamux, with one reader and one writer task.

    callers --write--> YamuxCore --LinkOutput (writer task)--> socket
    callers <--read--- LinkStream <--events-- reader task <--open-- socket

Callers only ever touch buffers, so that cancelling one can never cut a sealed message in half.
The writer sends whatever has been queued since it last looked, as one piece. A ping every few
seconds measures the round trip and finds out when the other end has gone without a word.
"""

from collections.abc import Sequence

import trio

from p2p.errors import LinkClosedError, StreamResetError, WireError
from p2p.link.arrivals import Arrivals
from p2p.link.channel import SecureChannel
from p2p.link.config import LinkConfig
from p2p.link.memory import UnreadMemory
from p2p.link.output import LinkOutput
from p2p.link.pulse import Pulse
from p2p.link.stream import LinkStream
from p2p.link.turn import FRAMES_AT_ONCE, ReadTurn
from p2p.link.yamux import events
from p2p.link.yamux.core import YamuxCore
from p2p.link.yamux.frames import INTERNAL_ERROR, NORMAL, PROTOCOL_ERROR


class Connection:
    """All streams of one connection; `run` until it closes."""

    def __init__(
        self,
        channel: SecureChannel,
        *,
        is_initiator: bool,
        config: LinkConfig | None = None,
        memory: UnreadMemory | None = None,
    ) -> None:
        """`memory` is what this connection shares with the others of its node."""
        self.config = config or LinkConfig()
        self.core = YamuxCore(is_initiator=is_initiator, config=self.config.yamux, memory=memory)
        self.out = LinkOutput(channel, self.core.output, self.config.backlog_bytes, self.close)
        self.pulse = Pulse(self.core, self.out, self.config)
        self.closed = trio.Event()
        """Set when everything is over; `is_closing` is true before that."""
        self.reason = ""
        """Why it closes, for people; the first one stays."""
        self.was_left = False
        """The peer has said goodbye, for no fault of ours."""
        self._closing = trio.Event()
        """Set by the first `close`."""
        self._channel = channel
        self._memory = memory
        self._streams: dict[int, LinkStream] = {}
        self._arrivals = Arrivals(self.core.has, self.config.yamux.streams_inbound_max)
        self._turn = ReadTurn(self.core)
        self._unparsed = b""
        """What `feed_first` brought, to be taken in first."""

    # For callers

    def open_stream(self, window_max: int | None = None) -> LinkStream:
        """Open a stream; LinkClosedError or StreamLimitError when that cannot be."""
        if self._closing.is_set():
            raise LinkClosedError(self.reason)
        stream = self._new_stream(self.core.open_stream(window_max))
        self.out.wake()
        return stream

    async def accept_stream(self) -> LinkStream:
        """The next stream the peer opened; LinkClosedError once there will be none."""
        return await self._arrivals.accept()

    @property
    def is_closing(self) -> bool:
        """True from the first step of closing on."""
        return self._closing.is_set()

    def close(self, reason: str, code: int = NORMAL) -> None:
        """Say goodbye, send what is queued, and end; returns at once, `closed` tells when."""
        if self._closing.is_set():
            return
        self.reason = reason
        self.core.leave(code)
        self._closing.set()
        self.out.end(reason)
        self._arrivals.end(reason)
        self.pulse.end()

    def forget(self, stream_id: int) -> None:
        """A stream is over; events for it are dropped from now on."""
        self._streams.pop(stream_id, None)

    def forget_if_over(self, stream_id: int) -> None:
        """The same, once both sides have finished; what was received can still be read."""
        if not self.core.has(stream_id):
            self.forget(stream_id)

    @property
    def held_bytes(self) -> int:
        """Received and unread bytes of all streams."""
        return self.core.windows.unread_bytes

    def evict(self) -> None:
        """Drop what nobody has read, and close: the node is short of memory."""
        reason = "this node is short of memory, and this peer made it hold most"
        for stream in self._streams.values():
            stream.fail(StreamResetError(reason))
        self._streams.clear()
        self.core.end()
        self.close(reason, INTERNAL_ERROR)

    def feed_first(self, data: bytes) -> None:
        """Plaintext that came before `run`: behind the talk that agreed on this protocol."""
        self._unparsed += data

    # Tasks

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry streams until the connection is closed, broken or cancelled."""
        self.pulse.heard_s = self._turn.began_s = trio.current_time()
        if self._memory is not None:
            self._memory.join(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_forever)
                nursery.start_soon(self.out.run)
                nursery.start_soon(self._end_when_silent)
                task_status.started()
                await self._closing.wait()
                with trio.move_on_after(self.config.close_within_s):
                    await self.out.drained()
                nursery.cancel_scope.cancel()
        finally:
            self.close("the node stopped")
            self._end_streams()
            await self._channel.aclose()

    def _end_streams(self) -> None:
        for stream in self._streams.values():
            stream.fail(LinkClosedError(self.reason))
        self._streams.clear()
        self._arrivals.clear()
        self.core.end()
        if self._memory is not None:
            self._memory.leave(self)
        self.closed.set()

    async def _read_forever(self) -> None:
        try:
            await self._take_in((self._unparsed,))
            while not self._closing.is_set():
                if self.out.waiting_bytes > self.config.output_bytes_max:
                    await self.out.wait_for_socket()
                    continue
                plaintexts = await self._channel.receive()
                if not plaintexts:
                    self.close("the peer closed the connection")
                    return
                self.pulse.heard_s = self._turn.began_s = trio.current_time()
                await self._take_in(plaintexts)
        except WireError as exc:
            self.close(f"the peer broke the protocol: {exc}", PROTOCOL_ERROR)
        except LinkClosedError as exc:
            self.close(str(exc))

    async def _take_in(self, plaintexts: Sequence[bytes]) -> None:
        """Act on what came; a peer that sends mostly headers must let others have their turn."""
        for data in plaintexts:
            for event in self.core.feed(data, FRAMES_AT_ONCE):
                if isinstance(event, events.Paused):
                    await self._let_others()
                else:
                    self._on_event(event)
            await self._let_others()
        self.out.wake()

    async def _let_others(self) -> None:
        """Give up the turn if it is over."""
        rest_s = self._turn.rest_s(trio.current_time())
        if rest_s is None:
            return
        self.out.wake()
        await trio.sleep(rest_s)
        self._turn.began_s = trio.current_time()

    def _on_event(self, event: events.FromPeer) -> None:
        match event:
            case events.Received(stream_id, data):
                if stream := self._streams.get(stream_id):
                    stream.take(data)
            case events.WindowGrew(stream_id):
                if stream := self._streams.get(stream_id):
                    stream.window_grew()
            case events.StreamOpened(stream_id):
                self._arrivals.put(self._new_stream(stream_id))
            case events.Finished(stream_id):
                if stream := self._streams.get(stream_id):
                    stream.end()
                    self.forget_if_over(stream_id)
            case events.WasReset(stream_id):
                if stream := self._streams.pop(stream_id, None):
                    stream.fail(StreamResetError("the stream was reset"))
            case events.Ponged(value):
                self.pulse.on_pong(value)
            case events.PeerLeft(code):
                self.was_left = code == NORMAL
                self.close("the peer left" if code == NORMAL else f"the peer left: {code}")

    async def _end_when_silent(self) -> None:
        await self.pulse.beat()
        # Nothing more can leave either: do not wait for the goodbye.
        self.close(f"the peer was silent for {self.config.dead_after_s:g} s")

    def _new_stream(self, stream_id: int) -> LinkStream:
        stream = self._streams[stream_id] = LinkStream(self, stream_id)
        return stream
