"""Calls and casts between peers, over whatever Host carries the frames.

A cast is a message without an answer. A call has one, within a deadline that travels along: the
handler is cancelled when it passes, when the caller stops waiting and when the peer goes away.
Messages to our own peer id take the same way, without the host.

        call() -> Conversation -> Channel -> Host.send ~~> on_frame -> Channel -> handler
"""

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar, TypeVarTuple, cast

import msgspec
import trio

from p2p.effects import Send
from p2p.errors import (
    CallTimeoutError,
    PeerUnreachableError,
    UnsayableError,
    WireError,
)
from p2p.host.port import Host
from p2p.host.rpc.bounds import CallBounds, RpcConfig
from p2p.host.rpc.calls import OutgoingCall
from p2p.host.rpc.channel import Channel
from p2p.host.rpc.conversation import Conversation
from p2p.host.rpc.frames import decode_frame
from p2p.host.rpc.handlers import Handlers
from p2p.host.rpc.messages import Cast, ChannelOpened
from p2p.host.rpc.payloads import UNSAYABLE, packed
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.limits import (
    BODY_BYTES_MAX,
    BODY_WINDOW_BYTES,
    CALL_TIMEOUT_S_MAX,
    OUTBOX_FRAMES_MAX,
)
from p2p.wire.codec import Message, decode_as, encode, number_in, number_of

log = logging.getLogger("swarm")

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)
Args = TypeVarTuple("Args")

_DEFAULT: Final = RpcConfig()


def no_body(_request: Message, _body_len: int) -> int:
    """For calls whose replies have none."""
    return 0


class RpcStats(msgspec.Struct, frozen=True):
    """What is under way, and what was dropped since the start."""

    channels: int
    calls_out: int
    calls_in: int
    body_bytes_held: int
    credit_bytes_out: int
    casts_unknown: int
    casts_dropped: int


class Rpc:
    """One node's calls and casts; the only one that sees the host's frames."""

    def __init__(self, host: Host, config: RpcConfig = _DEFAULT) -> None:
        self._host = host
        self._listeners: dict[int, tuple[type[Message], Callable[[Caller, Message], None]]] = {}
        """By the number of the kind: one for each."""
        self._callers: dict[PeerId, Caller] = {}
        """Who is connected; and ourselves."""
        self._on_peer: list[Callable[[PeerId, bool], None]] = []
        """Told of each peer that comes or goes."""
        self._conversations: dict[tuple[PeerId, TrafficClass], Conversation] = {}
        """Those that are open, also with ourselves; made when needed."""
        self._bounds = CallBounds(host.peer_id, config)
        self._handlers = Handlers()
        self._nursery: trio.Nursery | None = None
        """Of `run`; None before."""
        self._is_over = False
        """`run` was cancelled: its nursery takes nobody any more, or will not in a moment."""
        self._last_id = 0
        """Of our newest call, to whomever."""
        self._last_epoch = 0
        """Of our newest channel: microseconds of our clock, or one more than the last."""
        self._casts_unknown = 0
        """Casts of kinds nobody listens to here, since the start."""
        self._casts_dropped = 0
        """Casts that fit no message, or of which too many were for ourselves, since the start."""
        self._loopback = Loopback()
        """No cast joins OUTBOX_FRAMES_MAX frames there."""
        host.attach(self)

    @property
    def peer_id(self) -> PeerId:
        """Who we are."""
        return self._host.peer_id

    @property
    def me(self) -> Caller:
        """Who we are, as our own certificates say."""
        return self._host.me

    def caller(self, peer: PeerId) -> Caller | None:
        """Who a peer is by its certificates, while it is connected."""
        return self.me if peer == self.peer_id else self._callers.get(peer)

    # -- what services register, before or while running

    def listen(self, kind: type[M], on_message: Callable[[Caller, M], None]) -> None:
        """Have casts of this kind handed to `on_message`, which must not block."""
        entry = (kind, cast("Callable[[Caller, Message], None]", on_message))
        if self._listeners.setdefault(number_of(kind), entry) is not entry:
            raise ValueError(f"{kind.__name__} has a listener already")

    def serve(
        self,
        kind: type[M],
        answer: Callable[[Caller, M, bytes], Awaitable[tuple[Message, bytes]]],
        reply_bytes: Callable[[M, int], int] = no_body,
    ) -> None:
        """Have calls of this kind answered; RefusalError says no, any other error is a bug.

        `reply_bytes` tells from a request and the length of its body how long the reply's body
        will be at most: a handler does not start before there is room for it.
        """
        self._handlers.serve(kind, answer, reply_bytes)

    def on_peer(self, changed: Callable[[PeerId, bool], None]) -> None:
        """Be told when a peer is connected (True) and when it no longer is (False)."""
        self._on_peer.append(changed)

    # -- what services do

    def cast(
        self,
        peer: PeerId,
        message: Message,
        traffic_class: TrafficClass = TrafficClass.CONTROL,
    ) -> None:
        """Send without waiting and without a promise; dials when needed.

        What fits no message is dropped, counted and named in the log.
        """
        try:
            frame = encode(Cast(packed(message)))
        except UNSAYABLE as fault:
            log.warning("%s was not told: %s", peer, fault)
            self._casts_dropped += 1
            return
        if peer != self._host.peer_id:
            self._host.cast(peer, traffic_class, frame)
        elif len(self._loopback) < OUTBOX_FRAMES_MAX:
            self._loopback.put(traffic_class, frame)
        else:
            self._casts_dropped += 1

    def send(self, effect: Send) -> None:
        """Carry out what a core asks for: a cast."""
        self.cast(effect.peer, effect.message, effect.traffic_class)

    async def call(
        self,
        peer: PeerId,
        request: Message,
        reply: type[R],
        *,
        traffic_class: TrafficClass,
        timeout_s: float,
        body: bytes = b"",
    ) -> tuple[R, bytes]:
        """Ask a peer; returns its reply and the reply's body.

        Raises PeerUnreachableError, CallTimeoutError, RemoteRefusalError (UnsayableError for what
        fits no message). Cancelling the call cancels the handler over there.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # the node stops, and we may be over already
        payload = _sayable(peer, request, body)
        if self._is_over:
            raise PeerUnreachableError(peer, "this node stops")
        self._last_id += 1
        expires_s = trio.current_time() + timeout_s
        call = OutgoingCall(self._last_id, type(request).__name__, reply, expires_s)
        deadline_ms = math.ceil(min(max(timeout_s, 0.0), CALL_TIMEOUT_S_MAX) * 1000)
        conversation = self._conversation(peer, traffic_class)
        over = conversation.ask(call, payload, body, deadline_ms)
        try:
            with trio.move_on_after(timeout_s):
                await over.wait()
        finally:
            conversation.leave(call)
        if call.failure is not None:
            raise call.failure
        if call.reply is None or call.body is None or not call.body.is_whole:
            raise CallTimeoutError(peer, call.request, timeout_s)
        return cast("R", call.reply), call.body.take()

    def came_bytes(self, peer: PeerId) -> int:
        """Of the bodies of its replies to us. It grows while some come, and begins anew with each
        connection."""
        pairs = ((peer, traffic_class) for traffic_class in TrafficClass)
        known = (self._conversations[pair] for pair in pairs if pair in self._conversations)
        return sum(conversation.channel.outgoing.came_bytes for conversation in known)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer and send until cancelled; start it before the host."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._handlers.run, nursery)
            task_status.started()
            try:
                await self._hear_ourselves()
            finally:
                self._is_over = True

    def stats(self) -> RpcStats:
        """A snapshot for telemetry and tests."""
        channels = [conversation.channel for conversation in self._conversations.values()]
        return RpcStats(
            channels=len(channels),
            calls_out=sum(len(c.outgoing) for c in channels),
            calls_in=sum(len(c.incoming) for c in channels),
            body_bytes_held=sum(sum(c.bodies.held) for c in channels),
            credit_bytes_out=sum(2 * BODY_WINDOW_BYTES - sum(c.bodies.window) for c in channels),
            casts_unknown=self._casts_unknown,
            casts_dropped=self._casts_dropped,
        )

    # -- what the host tells us (p2p.host.port.FrameSink)

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        """Take one frame. Raises WireError for what no honest peer sends."""
        if self._is_over:
            return
        message = decode_frame(frame)
        if isinstance(message, Cast):
            self._on_cast(peer, message)
        else:
            conversation = self._conversation(peer, traffic_class)
            conversation.receive(message, self._callers.get(peer))

    def on_up(self, caller: Caller) -> None:
        """Remember who it is, for the handlers of what it sends; tell the services."""
        self._callers[caller.peer] = caller
        for changed in self._on_peer:
            changed(caller.peer, True)

    def on_down(self, peer: PeerId, reason: str) -> None:
        """Fail what waits for the peer, stop what works for it, tell the services."""
        for traffic_class in TrafficClass:
            self._close(peer, traffic_class, reason)
        self._callers.pop(peer, None)
        for changed in self._on_peer:
            changed(peer, False)

    # -- inside

    def _on_cast(self, peer: PeerId, message: Cast) -> None:
        listener = self._listeners.get(number_in(message.payload))
        if listener is None:
            self._casts_unknown += 1  # of a newer peer
            return
        kind, on_message = listener
        on_message(self._caller(peer), decode_as(kind, message.payload))

    def _begin_anew(self, conversation: Conversation, epoch: int) -> None:
        peer, traffic_class = conversation.channel.peer, conversation.traffic_class
        self._close(peer, traffic_class, "the peer has started anew")
        self._conversation(peer, traffic_class).receive(ChannelOpened(epoch), None)

    def _caller(self, peer: PeerId) -> Caller:
        caller = self._callers.get(peer)
        if caller is None:
            raise WireError("a frame of a peer that was not admitted")
        return caller

    def _conversation(self, peer: PeerId, traffic_class: TrafficClass) -> Conversation:
        conversation = self._conversations.get((peer, traffic_class))
        if conversation is None:
            self._last_epoch = max(self._last_epoch + 1, int(trio.current_time() * 1e6))
            channel = Channel(peer, self._last_epoch, self._handlers.kinds, self._bounds)
            send = self._sender(peer, traffic_class)
            anew, start = self._begin_anew, self._handlers.start
            conversation = Conversation(channel, traffic_class, send, start, anew, self._cut_off)
            self._conversations[peer, traffic_class] = conversation
            self._bounds.opened(peer, traffic_class, channel)
            self._begin(self._carry, conversation)
        return conversation

    def _sender(
        self, peer: PeerId, traffic_class: TrafficClass
    ) -> Callable[[bytes, float], Awaitable[None]]:
        async def to_peer(frame: bytes, expires_s: float) -> None:
            await self._host.send(peer, traffic_class, frame, expires_s)

        async def to_ourselves(frame: bytes, _expires_s: float) -> None:
            self._loopback.put(traffic_class, frame)
            await trio.lowlevel.checkpoint()

        return to_ourselves if peer == self._host.peer_id else to_peer

    async def _carry(self, conversation: Conversation) -> None:
        try:
            await conversation.run()
        except PeerUnreachableError as error:
            key = (conversation.channel.peer, conversation.traffic_class)
            if self._conversations.get(key) is conversation:
                self._close(*key, error.why)

    def _close(self, peer: PeerId, traffic_class: TrafficClass, why: str) -> None:
        conversation = self._conversations.pop((peer, traffic_class), None)
        if conversation is None:
            return
        self._bounds.closed(peer, traffic_class)
        if handlers := conversation.close(why):
            self._begin(self._handlers.cancel_all, handlers)

    def _cut_off(self, peer: PeerId, why: str) -> None:
        for traffic_class in TrafficClass:
            self._close(peer, traffic_class, why)
        self._begin(self._host.disconnect, peer, why)

    def _begin(self, job: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        if self._nursery is None:
            raise RuntimeError("Rpc.run must be started before calls are made or answered")
        if not self._is_over:
            self._nursery.start_soon(job, *args)

    async def _hear_ourselves(self) -> None:
        while True:
            frames = await self._loopback.next_round()
            self._callers[self._host.peer_id] = self._host.me
            for traffic_class, frame in frames:
                self.on_frame(self._host.peer_id, traffic_class, frame)


class Loopback:
    """Frames to ourselves, in rounds: what those of one cause waits for the next."""

    def __init__(self) -> None:
        self._frames: deque[tuple[TrafficClass, bytes]] = deque()
        self._wake = trio.Event()
        """Set by whoever puts one there; replaced when a round begins."""

    def __len__(self) -> int:
        """How many wait."""
        return len(self._frames)

    def put(self, traffic_class: TrafficClass, frame: bytes) -> None:
        """Hear this in the next round."""
        self._frames.append((traffic_class, frame))
        self._wake.set()

    async def next_round(self) -> Sequence[tuple[TrafficClass, bytes]]:
        """All that wait, once there are some."""
        await self._wake.wait()
        self._wake = trio.Event()
        frames, self._frames = self._frames, deque()
        return frames


def _sayable(peer: PeerId, request: Message, body: bytes) -> bytes:
    """The request as a payload. Raises UnsayableError."""
    if len(body) > BODY_BYTES_MAX:
        raise UnsayableError(peer, f"body of {len(body)} bytes, limit {BODY_BYTES_MAX}")
    try:
        return packed(request)
    except UNSAYABLE as fault:
        log.warning("%s was not asked: %s", peer, fault)
        raise UnsayableError(peer, str(fault)) from fault
