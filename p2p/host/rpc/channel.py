"""One conversation of RPC: the calls, bodies and credit of one peer and traffic class.

Everything leaves through one queue and one task, so that frames arrive in the order meant here:
credit first, then small frames, then the next chunk of a body. A body takes credit for its whole
length before its first chunk and the receiver returns what it received once it is done with it;
so memory is bounded by BODY_WINDOW_BYTES per direction and kind, and as requests and replies have
separate credit, a reply can always leave while requests wait.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from p2p.errors import PeerUnreachableError, WireError
from p2p.host.rpc.answered import Answered
from p2p.host.rpc.calls import Asking, Incoming, Outgoing, Serving
from p2p.host.rpc.messages import (
    BodyKind,
    Call,
    Cancel,
    ChannelOpened,
    Chunk,
    Credit,
    Refused,
    Reply,
)
from p2p.ids import PeerId, TrafficClass
from p2p.limits import (
    BODY_BYTES_MAX,
    BODY_CHUNK_BYTES,
    BODY_WINDOW_BYTES,
    REFUSAL_CHARS_MAX,
)
from p2p.wire.codec import Message, encode


class Channel:
    """The calls and bodies between us and one peer in one class."""

    def __init__(
        self,
        peer: PeerId,
        traffic_class: TrafficClass,
        epoch: int,
        transmit: Callable[[bytes, float], Awaitable[None]],
        start: Callable[["Channel", Serving], None],
    ) -> None:
        """`start` runs the handler of a call whose request is whole."""
        self.peer = peer
        self.traffic_class = traffic_class
        self.epoch = epoch
        """Of our end; grows with every channel of this node."""
        self.remote_epoch: int | None = None
        """Of the peer's end; until it is heard, nothing else is taken from there."""
        self.is_closed = False
        self.asking: dict[int, Asking] = {}  # calls of ours by id, until their callers end them
        self.serving: dict[int, Serving] = {}  # calls of theirs, until their handlers have ended
        self.answered = Answered()
        self.window = [BODY_WINDOW_BYTES, BODY_WINDOW_BYTES]
        """Body bytes we may still send, by BodyKind; at most BODY_WINDOW_BYTES."""
        self.held = [0, 0]
        """Body bytes that came and are not given back yet, by BodyKind; at most the same."""
        self._transmit = transmit
        """Hands a frame to the host, with the time by which it must have begun to leave."""
        self._start = start
        self._owed = [0, 0]  # body bytes to give back with the next credit, by BodyKind
        self._small: deque[tuple[bytes, Asking | None]] = deque()
        """Frames but for bodies, each with the call of ours that it begins, if it does."""
        self._lanes: tuple[deque[Outgoing], deque[Outgoing]] = (deque(), deque())
        """Bodies on their way out, by BodyKind; only the first of each may have begun."""
        self._turn = BodyKind.REQUEST  # the kind that may send the next chunk, if it can
        self._reply_bytes = 0  # lengths of the replies' bodies that have not left whole
        self._promised_bytes = 0  # lengths of the bodies of all calls in `serving`
        self._reserved_bytes = 0  # room kept for the replies of handlers that run
        self._waiting: deque[Serving] = deque()
        """Calls whose replies there is no room for yet."""
        self._wake = trio.Event()
        self._scope = trio.CancelScope()

    async def pump(self) -> None:
        """Send until closed; PeerUnreachableError is the host's."""
        with self._scope:
            await self._transmit(encode(ChannelOpened(self.epoch)), math.inf)
            while True:
                frame = self._next_frame()
                if frame is None:
                    self._wake = trio.Event()
                    await self._wake.wait()
                else:
                    await self._transmit(*frame)

    def close(self, why: str) -> list[Serving]:
        """Forget everything: our calls fail. Returns the calls whose handlers are to be stopped."""
        self.is_closed = True
        self._scope.cancel()
        for call in list(self.asking.values()):
            call.fail(PeerUnreachableError(self.peer, why))
        self._small.clear()
        self._waiting.clear()
        for lane in self._lanes:
            lane.clear()
        return [served for served in self.serving.values() if served.has_begun]

    @property
    def body_bytes(self) -> int:
        """Bytes of bodies that the peer may have us hold now: its questions', and our answers'."""
        return self._promised_bytes + self._reply_bytes + self._reserved_bytes

    @property
    def answers_waiting(self) -> int:
        """Small frames that have not left yet."""
        return len(self._small)

    # -- the caller's side

    def ask(self, call: Asking, payload: bytes, body: bytes, deadline_ms: int) -> None:
        """Queue a call and its body."""
        self.asking[call.id] = call
        frame = encode(Call(call.id, deadline_ms, len(body), payload))
        self._small.append((frame, call))
        self._queue_body(BodyKind.REQUEST, call.id, body)
        self._wake.set()

    def end_asking(self, call: Asking) -> None:
        """The caller has its answer, or no longer waits: free what the call held."""
        call.is_over = True
        if self.is_closed:
            return
        del self.asking[call.id]
        if call.body is not None:
            self._give_back(BodyKind.REPLY, call.body.received)
        if not call.done.is_set() and call.is_sent:
            self._send_small(encode(Cancel(call.id)))
        self._abandon(BodyKind.REQUEST, call.id)

    def on_reply(self, message: Reply, reply: Message) -> None:
        """The answer to a call of ours; its body may still follow."""
        call = self.asking[message.id]
        if call.done.is_set():
            return  # it came before, by another path
        if call.reply is not None or not 0 <= message.body_len <= BODY_BYTES_MAX:
            raise WireError(f"reply to call {message.id} is sent twice or too large")
        call.reply = reply
        call.body = Incoming(message.body_len)
        if call.body.is_whole:
            call.done.set()

    # -- the callee's side

    def reply(self, served: Serving, payload: bytes, body: bytes) -> None:
        """Queue an answer and its body."""
        if self.is_closed:
            return
        frame = encode(Reply(served.id, len(body), payload))
        self._send_small(frame)
        if body:
            self._queue_body(BodyKind.REPLY, served.id, body)
        else:
            served.answer_frame = frame

    def refuse(self, call_id: int, code: str, detail: str) -> bytes:
        """Queue a refusal; returns its frame."""
        refused = Refused(call_id, code[:REFUSAL_CHARS_MAX], detail[:REFUSAL_CHARS_MAX])
        frame = encode(refused)
        if not self.is_closed:
            self._send_small(frame)
        return frame

    def refuse_served(self, served: Serving, code: str, detail: str) -> None:
        """The same, as the answer of a handler."""
        served.answer_frame = self.refuse(served.id, code, detail)

    def has_come(self, call_id: int) -> bool:
        """True for a call that is being answered, or has been."""
        return call_id in self.serving or call_id in self.answered

    def answer_again(self, call: Call) -> None:
        """A call came again, by another path. Raises WireError for one with a body."""
        if call.body_len:
            raise WireError(f"call {call.id} came twice, with a body")
        if call.id in self.serving:
            return  # the answer to the first copy is the answer to both
        if frame := self.answered.answer_to(call.id):
            self._send_small(frame)
        else:
            self.refuse(call.id, "repeated", "the answer to this call is no longer kept")

    def begin_serving(self, served: Serving) -> None:
        """A question came; its body follows."""
        self.serving[served.id] = served
        self._promised_bytes += served.body.length

    def ready(self, served: Serving) -> None:
        """A request is whole: its handler starts as soon as there is room for the reply."""
        if served.reply_bytes:
            self._waiting.append(served)
            self._start_waiting()
        else:
            self._start(self, served)

    def reserve(self, served: Serving) -> None:
        """A handler begins: keep room for its reply."""
        served.has_begun = True
        self._reserved_bytes += served.reply_bytes

    def _start_waiting(self) -> None:
        while self._waiting and self._reply_bytes + self._reserved_bytes < BODY_WINDOW_BYTES:
            self._start(self, self._waiting.popleft())

    def end_serving(self, served: Serving) -> None:
        """The handler has finished, or never will begin: what its request held is free again."""
        if self.serving.pop(served.id, None) is not None:
            self._promised_bytes -= served.body.length
            self.answered.add(served.id, served.answer_frame)
        if self.is_closed:
            return
        self._give_back(BodyKind.REQUEST, served.body.received)
        if served.has_begun and served.reply_bytes:
            self._reserved_bytes -= served.reply_bytes
            self._start_waiting()

    def on_cancel(self, call_id: int) -> None:
        """The caller has gone: stop its handler or its reply. Unknown ids have just finished."""
        served = self.serving.get(call_id)
        if served is None:
            self._abandon(BodyKind.REPLY, call_id)
            return
        served.scope.cancel()
        if not served.has_begun:
            if served.body.is_whole:
                self._waiting.remove(served)
            self.end_serving(served)

    def _send_small(self, frame: bytes) -> None:
        self._small.append((frame, None))
        self._wake.set()

    # -- bodies and credit

    def on_chunk(self, chunk: Chunk) -> None:
        """Bytes of a body. Raises WireError."""
        size = len(chunk.data)
        if chunk.kind not in (BodyKind.REQUEST, BodyKind.REPLY) or size == 0:
            raise WireError(f"chunk of kind {chunk.kind} with {size} bytes")
        kind = BodyKind(chunk.kind)
        served = self.serving.get(chunk.id) if kind is BodyKind.REQUEST else None
        asked = self.asking.get(chunk.id) if kind is BodyKind.REPLY else None
        body = served.body if served else asked.body if asked else None
        if body is None or body.is_whole:
            self._owe(kind, size)  # of a call that is over
            return
        self.held[kind] += size
        if self.held[kind] > BODY_WINDOW_BYTES:
            raise WireError(f"{self.held[kind]} body bytes without credit")
        body.add(chunk.data)
        if body.is_whole and asked:
            asked.done.set()
        elif body.is_whole and served:
            self.ready(served)

    def on_credit(self, credit: Credit) -> None:
        """The peer has taken bytes we sent. Raises WireError when it never got that many."""
        if credit.kind not in (BodyKind.REQUEST, BodyKind.REPLY) or credit.length <= 0:
            raise WireError(f"credit of kind {credit.kind} for {credit.length} bytes")
        self.window[credit.kind] += credit.length
        if self.window[credit.kind] > BODY_WINDOW_BYTES:
            raise WireError("credit for bytes that were never sent")
        self._wake.set()

    def _queue_body(self, kind: BodyKind, call_id: int, body: bytes) -> None:
        if len(body) > BODY_BYTES_MAX:
            raise ValueError(f"body of {len(body)} bytes, limit {BODY_BYTES_MAX}")
        if body:
            self._lanes[kind].append(Outgoing(call_id, memoryview(body)))
            if kind is BodyKind.REPLY:
                self._reply_bytes += len(body)

    def _abandon(self, kind: BodyKind, call_id: int) -> None:
        """Take a body out of its lane; the credit of what was not sent is ours again."""
        lane = self._lanes[kind]
        body = next((b for b in lane if b.call_id == call_id), None)
        if body is None:
            return
        lane.remove(body)
        if body.has_credit:
            self.window[kind] += len(body.data) - body.sent
        self._body_left(kind, body)
        self._wake.set()

    def _body_left(self, kind: BodyKind, body: Outgoing) -> None:
        if kind is BodyKind.REPLY:
            self._reply_bytes -= len(body.data)
            self._start_waiting()

    def _give_back(self, kind: BodyKind, size: int) -> None:
        self.held[kind] -= size
        self._owe(kind, size)

    def _owe(self, kind: BodyKind, size: int) -> None:
        if size:
            self._owed[kind] += size
            self._wake.set()

    def _next_frame(self) -> tuple[bytes, float] | None:
        """The next to leave, and by when it must have begun to."""
        for kind in BodyKind:
            if self._owed[kind]:
                credit, self._owed[kind] = Credit(kind, self._owed[kind]), 0
                return encode(credit), math.inf
        while self._small:
            frame, call = self._small.popleft()
            if call is None:
                return frame, math.inf
            if not call.is_over:
                call.is_sent = True
                return frame, call.expires_s
        chunk = self._next_chunk()
        return None if chunk is None else (chunk, math.inf)

    def _next_chunk(self) -> bytes | None:
        for kind in (self._turn, BodyKind(1 - self._turn)):
            lane = self._lanes[kind]
            if not lane or not self._has_credit(kind, lane[0]):
                continue
            body = lane[0]
            part = body.data[body.sent : body.sent + BODY_CHUNK_BYTES]
            body.sent += len(part)
            if body.sent == len(body.data):
                lane.popleft()
                self._body_left(kind, body)
            self._turn = BodyKind(1 - kind)
            return encode(Chunk(body.call_id, kind, part))
        return None

    def _has_credit(self, kind: BodyKind, body: Outgoing) -> bool:
        if not body.has_credit and len(body.data) <= self.window[kind]:
            body.has_credit = True
            self.window[kind] -= len(body.data)
        return body.has_credit
