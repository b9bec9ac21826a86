"""One connection: a socket, a Noise session and Yamux, with one reader and one writer task.

    callers --write--> YamuxCore --output--> writer task --seal--> socket
    callers <--read--- LinkStream <-events-- reader task <--open-- socket

Callers only ever touch buffers, so that cancelling one can never cut a sealed message in half.
The writer sends whatever has been queued since it last looked, as one piece. A ping every few
seconds measures the round trip and finds out when the other end has gone without a word.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from p2p.errors import LinkClosedError, StreamResetError, WireError
from p2p.limits import TURN_S_MAX
from p2p.link import yamux_core as yamux
from p2p.link import yamux_events as events
from p2p.link.channel import SecureChannel
from p2p.link.config import LinkConfig
from p2p.link.memory import UnreadMemory
from p2p.link.stream import LinkStream
from p2p.link.yamux_core import YamuxCore

_FRAMES_AT_ONCE: Final = 16
"""After so many we look whether the turn is over: a stream opened and reset costs 50 us."""

_RESTS_PER_TURN: Final = 4
"""A peer that opens, resets and pings without end gets a fifth of the time."""

_TURN_S_WORST: Final = 0.01
"""A turn that took longer was the machine's fault."""


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
        self.closed = trio.Event()  # set when everything is over; `is_closing` is true before that
        self.reason = ""  # why it closes, for people; the first one stays
        self.rtt_s: float | None = None  # smoothed; None before the first pong
        self.on_room: Callable[[], None] | None = None
        """Called when the socket has taken all: for whoever fills the room at once."""
        self._channel = channel
        self._memory = memory
        self._streams: dict[int, LinkStream] = {}
        self._arrivals: deque[LinkStream] = deque()  # opened by the peer and not yet accepted
        self._acceptors = trio.lowlevel.ParkingLot()
        self._waiting_for_room = trio.lowlevel.ParkingLot()
        """Parked until the socket has taken all: writers, and a reader when too much waits."""
        self._output_ready = trio.Event()
        self._closing = trio.Event()  # set by the first `close`
        self._unsent = memoryview(b"")
        """Sealed, and not yet taken by the socket."""
        self._owes_room = False
        """`on_room` was passed over for tasks that waited: next time it comes first."""
        self._heard_s = -math.inf  # when bytes last came: `dead_after_s` of silence closes it
        self._pings: dict[int, float] = {}  # number -> when sent; without a pong so far
        self._ping_count = 0
        self._ponged = trio.lowlevel.ParkingLot()
        self._unparsed = b""  # what `feed_first` brought, to be taken in first
        self._turn_began_s = -math.inf  # when bytes came, or others had had their turn
        self._frames_seen, self._idle_seen = 0, 0
        """`frames_in` and `frames_idle` of the core when its last full turn ended."""
        self.backlog_bytes = self.config.backlog_bytes
        """Lowered on a slow line, where what was queued can no longer be overtaken."""

    # For callers

    def open_stream(self) -> LinkStream:
        """Open a stream; LinkClosedError or StreamLimitError when that cannot be."""
        if self._closing.is_set():
            raise LinkClosedError(self.reason)
        stream = self._new_stream(self.core.open_stream())
        self.wake_writer()
        return stream

    async def accept_stream(self) -> LinkStream:
        """The next stream the peer opened; LinkClosedError once there will be none."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            while self._arrivals:
                stream = self._arrivals.popleft()
                if self.core.has(stream.stream_id):  # not reset before anybody looked at it
                    return stream
            if self._closing.is_set():
                raise LinkClosedError(self.reason)
            await self._acceptors.park()

    @property
    def is_closing(self) -> bool:
        """True from the first step of closing on."""
        return self._closing.is_set()

    @property
    def room_bytes(self) -> int:
        """How much more may wait for the socket without being out of reach too early."""
        return self.backlog_bytes - self.core.output_bytes - len(self._unsent)

    def has_room(self) -> bool:
        """True while little enough waits for the socket that another frame should join it."""
        return self.room_bytes > 0 and not self._closing.is_set()

    async def wait_for_room(self) -> None:
        """Return once `has_room`; LinkClosedError when the connection ends."""
        while not self.has_room():
            if self._closing.is_set():
                raise LinkClosedError(self.reason)
            await self._waiting_for_room.park()

    def wake_writer(self) -> None:
        """Something was queued in the core."""
        if self.core.output_bytes:
            self._output_ready.set()

    def flush_if_full(self) -> bool:
        """Send at once what fills the backlog, if the socket takes it; True when it was tried.

        Whoever writes much calls this between two pieces and then lets others run: the writer
        task need not be woken for it.
        """
        if self._unsent or self.core.output_bytes < self.backlog_bytes:
            return False
        try:
            self._seal_output()
            self._send_now()
        except LinkClosedError as exc:
            self._broke(exc)
        if self._unsent:
            self._output_ready.set()
        return True

    def close(self, reason: str, code: int = yamux.NORMAL) -> None:
        """Say goodbye, send what is queued, and end; returns at once, `closed` tells when."""
        if self._closing.is_set():
            return
        self.reason = reason
        self.core.leave(code)
        self._closing.set()
        self._output_ready.set()
        self._acceptors.unpark_all()
        self._waiting_for_room.unpark_all()
        self._ponged.unpark_all()

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
        return self.core.unread_bytes

    def evict(self) -> None:
        """Drop what nobody has read, and close: the node is short of memory."""
        reason = "this node is short of memory, and this peer made it hold most"
        for stream in self._streams.values():
            stream.fail(StreamResetError(reason))
        self._streams.clear()
        self.core.end()
        self.close(reason, yamux.INTERNAL_ERROR)

    def feed_first(self, data: bytes) -> None:
        """Plaintext that came before `run`: behind the talk that agreed on this protocol."""
        self._unparsed += data

    # Tasks

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry streams until the connection is closed, broken or cancelled."""
        self._heard_s = self._turn_began_s = trio.current_time()
        if self._memory is not None:
            self._memory.join(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_forever)
                nursery.start_soon(self._write_forever)
                nursery.start_soon(self._keep_alive)
                task_status.started()
                await self._closing.wait()
                with trio.move_on_after(self.config.close_within_s):
                    await self._drained()
                nursery.cancel_scope.cancel()
        finally:
            self.close("the node stopped")
            self._end_streams()
            await self._channel.aclose()

    async def _drained(self) -> None:
        while self.core.output_bytes or self._unsent:
            await self._waiting_for_room.park()

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
                if self.core.output_bytes + len(self._unsent) > self.config.output_bytes_max:
                    await self._waiting_for_room.park()
                    continue
                plaintexts = await self._channel.receive()
                if not plaintexts:
                    self.close("the peer closed the connection")
                    return
                self._heard_s = self._turn_began_s = trio.current_time()
                await self._take_in(plaintexts)
        except WireError as exc:
            self.close(f"the peer broke the protocol: {exc}", yamux.PROTOCOL_ERROR)
        except LinkClosedError as exc:
            self.close(str(exc))

    async def _take_in(self, plaintexts: Sequence[bytes]) -> None:
        """Act on what came; a peer that sends mostly headers must let others have their turn."""
        for data in plaintexts:
            for event in self.core.feed(data, _FRAMES_AT_ONCE):
                if isinstance(event, events.Paused):
                    await self._let_others()
                else:
                    self._on_event(event)
            await self._let_others()
        self.wake_writer()

    async def _let_others(self) -> None:
        """Give up the turn if it is over; for longer, if what came in it was good for nothing."""
        now_s = trio.current_time()
        took_s = now_s - self._turn_began_s
        if took_s < TURN_S_MAX:
            return
        self.wake_writer()
        frames, idle = (
            self.core.frames_in - self._frames_seen,
            self.core.frames_idle - self._idle_seen,
        )
        self._frames_seen, self._idle_seen = self.core.frames_in, self.core.frames_idle
        if 2 * idle > frames > _FRAMES_AT_ONCE:
            await trio.sleep(_RESTS_PER_TURN * min(took_s, _TURN_S_WORST))
        else:
            await trio.lowlevel.checkpoint()
        self._turn_began_s = trio.current_time()

    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.Received(stream_id, data):
                if stream := self._streams.get(stream_id):
                    stream.take(data)
            case events.WindowGrew(stream_id):
                if stream := self._streams.get(stream_id):
                    stream.window_grew()
            case events.StreamOpened(stream_id):
                if len(self._arrivals) > 2 * self.config.yamux.streams_inbound_max:
                    self._arrivals = deque(s for s in self._arrivals if self.core.has(s.stream_id))
                self._arrivals.append(self._new_stream(stream_id))
                self._acceptors.unpark(count=1)
            case events.Finished(stream_id):
                if stream := self._streams.get(stream_id):
                    stream.end()
                    self.forget_if_over(stream_id)
            case events.WasReset(stream_id):
                if stream := self._streams.pop(stream_id, None):
                    stream.fail(StreamResetError("the stream was reset"))
            case events.Ponged(value):
                self._on_pong(value)
            case events.PeerLeft(code):
                self.close("the peer left" if code == yamux.NORMAL else f"the peer left: {code}")

    def _on_pong(self, value: int) -> None:
        sent_s = self._pings.pop(value, None)
        if sent_s is not None:
            sample_s = trio.current_time() - sent_s
            # RFC 6298: one eighth of what is new.
            self.rtt_s = sample_s if self.rtt_s is None else 0.875 * self.rtt_s + 0.125 * sample_s
            self.core.rtt_s = self.rtt_s
            self._ponged.unpark_all()

    async def _write_forever(self) -> None:
        try:
            while True:
                await self._output_ready.wait()
                self._output_ready = trio.Event()
                if self._owes_room:
                    await trio.lowlevel.checkpoint()  # who was woken has had its turn by then
                    if self.on_room is not None:
                        self.on_room()
                if not self._unsent:
                    self._seal_output()
                self._send_now()
                if self._unsent:
                    await self._channel.send_sealed(self._unsent)
                    self._unsent = memoryview(b"")
                    self._tell_of_room()
                self.wake_writer()
        except LinkClosedError as exc:
            self._broke(exc)

    def _seal_output(self) -> None:
        self._unsent = self._channel.seal(self.core.take_output())

    def _send_now(self) -> None:
        """Give the socket what it takes without waiting."""
        if sent := self._channel.send_now(self._unsent):
            self._unsent = self._unsent[sent:]
            if not self._unsent:
                self._tell_of_room()

    def _tell_of_room(self) -> None:
        """There is room for whoever waits in `wait_for_room`, or for `on_room`, by turns.

        `on_room` fills it at once; a task that waits first has to get its turn.
        """
        is_waited_for = bool(self._waiting_for_room)
        self._waiting_for_room.unpark_all()
        self._owes_room = is_waited_for and not self._owes_room
        if self._owes_room:
            self._output_ready.set()
        elif self.on_room is not None:
            self.on_room()

    def _broke(self, why: LinkClosedError) -> None:
        """Nothing can leave any more: do not wait for the goodbye."""
        self.core.take_output()
        self._unsent = memoryview(b"")
        self.close(str(why))
        self.core.take_output()
        self._waiting_for_room.unpark_all()

    async def _keep_alive(self) -> None:
        while not self._closing.is_set():
            self.ping()
            next_ping_s = trio.current_time() + self.config.ping_every_s
            dead_s = self._heard_s + self.config.dead_after_s
            await trio.sleep_until(min(next_ping_s, dead_s))
            if trio.current_time() >= self._heard_s + self.config.dead_after_s:
                # Nothing more can leave either: do not wait for the goodbye.
                self.close(f"the peer was silent for {self.config.dead_after_s:g} s")

    def ping(self) -> None:
        """Measure the round trip once; the answer updates `rtt_s`."""
        self._ping_count = (self._ping_count + 1) % 2**32
        oldest_kept_s = trio.current_time() - self.config.dead_after_s
        self._pings = {n: sent_s for n, sent_s in self._pings.items() if sent_s > oldest_kept_s}
        self._pings[self._ping_count] = trio.current_time()
        self.core.ping(self._ping_count)
        self.wake_writer()

    async def answers_ping(self) -> bool:
        """True once the peer has answered a ping sent now, False when the connection ends."""
        self.ping()
        number = self._ping_count
        while number in self._pings and not self._closing.is_set():
            await self._ponged.park()
        return not self._closing.is_set()

    def _new_stream(self, stream_id: int) -> LinkStream:
        stream = self._streams[stream_id] = LinkStream(self, stream_id)
        return stream
