"""Calls of theirs in one channel: bounds first, then room for the answer, then the handler."""

from collections import deque
from collections.abc import Mapping

from p2p.errors import WireError
from p2p.host.rpc.answered import Answered
from p2p.host.rpc.bodies import Bodies, IncomingBody
from p2p.host.rpc.bounds import CallBounds
from p2p.host.rpc.calls import IncomingCall, IncomingState, ServedKind
from p2p.host.rpc.effects import CutOff, RpcEffect, StartHandler, StopHandler
from p2p.host.rpc.frames import SmallFrames
from p2p.host.rpc.messages import BodyKind, Call, Refused, Reply
from p2p.identity.caller import Caller
from p2p.ids import PeerId
from p2p.limits import (
    BODY_BYTES_MAX,
    BODY_WINDOW_BYTES,
    CALL_TIMEOUT_S_MAX,
    REFUSAL_CHARS_MAX,
)
from p2p.wire.codec import decode_as, encode, number_in

# As in outgoing.
_ARRIVING, _WAITING, _RUNNING, _ENDED = IncomingState


class IncomingCalls:
    """Lets calls in within bounds and answers them once."""

    def __init__(
        self,
        peer: PeerId,
        kinds: Mapping[int, ServedKind],
        bounds: CallBounds,
        bodies: Bodies,
        effects: deque[RpcEffect],
        frames: SmallFrames,
    ) -> None:
        """`kinds` by number; `effects` and `frames` are the channel's outboxes."""
        self._peer = peer
        self._kinds = kinds
        self._bounds = bounds
        self._bodies = bodies
        self._effects = effects
        self._frames = frames
        self._open: dict[int, IncomingCall] = {}
        """By id, until they have ended."""
        self._answered = Answered()
        self.waiting: deque[IncomingCall] = deque()
        """Those whose replies there is no room for yet, in order."""
        self._promised_bytes = 0
        """Lengths of the bodies of all that are open."""
        self._reserved_bytes = 0
        """Room kept for the replies of handlers that run."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def body_bytes(self) -> int:
        """Bytes of their questions' bodies, and of the answers that handlers may give."""
        return self._promised_bytes + self._reserved_bytes

    # -- what the peer says

    def on_call(self, caller: Caller, message: Call, now_s: float) -> None:
        """A question came; its body follows. Raises WireError for what no honest peer sends."""
        if not 0 <= message.body_len <= BODY_BYTES_MAX:
            raise WireError(f"call {message.id} with a body of {message.body_len} bytes")
        if message.id in self._open or message.id in self._answered:
            self._answer_again(message)
            return
        kind = self._kinds.get(number_in(message.payload))
        if kind is None:
            self._refuse(message.id, "unknown", "this peer does not serve such calls")
        elif not self._bounds.has_place_for(self._peer):
            self._refuse(message.id, "busy", "too many calls are open: wait for some to end")
        else:
            self._let_in(_read(caller, message, kind, now_s))

    def on_chunk(self, call_id: int, data: memoryview) -> None:
        """The next bytes of a question's body. Raises WireError."""
        call = self._open.get(call_id)
        body = None if call is None or call.body.is_whole else call.body
        self._bodies.take(BodyKind.REQUEST, body, data)
        if call is not None and body is not None and body.is_whole:
            self._wait_for_room(call)

    def on_cancel(self, call_id: int) -> None:
        """The caller has gone: stop its handler or its reply. Unknown ids have just finished."""
        call = self._open.get(call_id)
        if call is None:
            self._bodies.abandon(BodyKind.REPLY, call_id)
        elif call.state is _RUNNING:
            self._effects.append(StopHandler(call))
        else:
            if call.state is _WAITING:
                self.waiting.remove(call)
            self.end(call)

    # -- what the handlers say

    def answer(self, call: IncomingCall, payload: bytes, body: bytes) -> None:
        """Queue an answer and its body."""
        frame = encode(Reply(call.id, len(body), payload))
        self._frames.put(frame)
        if body:
            self._bodies.queue(BodyKind.REPLY, call.id, body)
        else:
            call.answer_frame = frame

    def refuse(self, call: IncomingCall, code: str, detail: str) -> None:
        """The same, with a no."""
        call.answer_frame = self._refuse(call.id, code, detail)

    def end(self, call: IncomingCall) -> None:
        """Its handler has finished, or never will begin: what it held is free again."""
        del self._open[call.id]
        self._promised_bytes -= call.body.length
        if call.state is _RUNNING:
            self._reserved_bytes -= call.reply_bytes
        call.move(_ENDED)
        self._answered.add(call.id, call.answer_frame)
        self._bodies.give_back(BodyKind.REQUEST, call.body)

    def stop_all(self) -> None:
        """The peer is gone."""
        self.waiting.clear()
        for call in list(self._open.values()):
            if call.state is _RUNNING:
                self._effects.append(StopHandler(call))
            else:
                self.end(call)

    # -- how they become handlers

    def start_waiting(self, now_s: float) -> None:
        """Have handlers started for which there is room now; who waited in vain is told so."""
        while self.waiting and self._has_room():
            call = self.waiting.popleft()
            if now_s >= call.expires_s:
                self.end(call)  # nobody waits for it any more
            elif self._has_memory_for(call.reply_bytes):
                self._start(call)
            else:
                self.refuse(call, "busy", "take the answers you asked for first")
                self.end(call)

    def _let_in(self, call: IncomingCall) -> None:
        if not self._has_memory_for(call.body.length):
            self._refuse(call.id, "busy", "too many bodies are on their way: wait for some")
            return
        self._open[call.id] = call
        self._promised_bytes += call.body.length
        if call.body.is_whole:
            self._wait_for_room(call)

    def _wait_for_room(self, call: IncomingCall) -> None:
        if call.reply_bytes:
            call.move(_WAITING)
            self.waiting.append(call)
        else:
            self._start(call)  # however many wait for room

    def _start(self, call: IncomingCall) -> None:
        call.move(_RUNNING)
        self._reserved_bytes += call.reply_bytes
        self._effects.append(StartHandler(call))

    def _has_room(self) -> bool:
        return self._bodies.reply_bytes + self._reserved_bytes < BODY_WINDOW_BYTES

    def _has_memory_for(self, size: int) -> bool:
        if self._bounds.has_memory_for(self._peer, size):
            return True
        greedier = self._bounds.greedier_than(self._peer, size)
        if greedier is None:
            return False
        self._effects.append(CutOff(greedier, "it had this node hold more than any other peer"))
        return True

    # -- answers that need no handler

    def _answer_again(self, message: Call) -> None:
        """A call came again, by another path. Raises WireError for one with a body."""
        if message.body_len:
            raise WireError(f"call {message.id} came twice, with a body")
        if message.id in self._open:
            return  # the answer to the first copy is the answer to both
        if frame := self._answered.answer_to(message.id):
            self._frames.put(frame)
        else:
            self._refuse(message.id, "repeated", "the answer to this call is no longer kept")

    def _refuse(self, call_id: int, code: str, detail: str) -> bytes:
        refused = Refused(call_id, code[:REFUSAL_CHARS_MAX], detail[:REFUSAL_CHARS_MAX])
        frame = encode(refused)
        self._frames.put(frame)
        return frame

    def check_invariants(self) -> None:
        """What must hold after each step. Raises AssertionError."""
        calls = self._open.values()
        assert self._promised_bytes == sum(call.body.length for call in calls)
        running = [call for call in calls if call.state is _RUNNING]
        assert self._reserved_bytes == sum(call.reply_bytes for call in running)
        waiting = {call.id for call in calls if call.state is _WAITING}
        assert {call.id for call in self.waiting} == waiting
        for call_id, call in self._open.items():
            assert call.id == call_id
            assert (call.state is _ARRIVING) != call.body.is_whole
        assert self._bodies.held[BodyKind.REQUEST] == sum(call.body.received for call in calls)


def _read(caller: Caller, message: Call, kind: ServedKind, now_s: float) -> IncomingCall:
    """What is asked, before anybody gives way for it. Raises WireError."""
    request = decode_as(kind.kind, message.payload)
    timeout_s = min(max(message.deadline_ms, 0) / 1000, CALL_TIMEOUT_S_MAX)
    reply_bytes = kind.reply_bytes(request, message.body_len)
    return IncomingCall(
        message.id,
        caller,
        request,
        kind.answer,
        IncomingBody(message.body_len),
        min(max(reply_bytes, 0), BODY_BYTES_MAX),
        now_s + timeout_s,
    )
