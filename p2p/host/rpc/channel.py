"""The calls of one peer in one traffic class, both ways, as a pure core.

Everything leaves through one outbox, in the order meant here: credit first, then small frames,
then the next chunk of a body. What is to be done at this end leaves through another one. Whoever
carries the channel empties both after each step; nothing here waits, and nothing calls back.

        receive(frame) --> | outgoing, incoming, bodies | --> next_effect()
        ask(), answer() -> |                            | --> next_frame()
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import assert_never

from p2p.errors import WireError
from p2p.host.rpc.bodies import Bodies
from p2p.host.rpc.bounds import CallBounds
from p2p.host.rpc.calls import IncomingCall, OutgoingCall, OutgoingState, ServedKind
from p2p.host.rpc.effects import BeganAnew, RpcEffect
from p2p.host.rpc.frames import ChannelFrame, SmallFrames
from p2p.host.rpc.incoming import IncomingCalls
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
from p2p.host.rpc.outgoing import OutgoingCalls
from p2p.identity.caller import Caller
from p2p.ids import PeerId
from p2p.limits import ANSWERS_WAITING_MAX
from p2p.wire.codec import encode

_QUEUED = OutgoingState.QUEUED  # as in outgoing


class Channel:
    """The calls and bodies between us and one peer in one class."""

    def __init__(
        self, peer: PeerId, epoch: int, kinds: Mapping[int, ServedKind], bounds: CallBounds
    ) -> None:
        """`kinds` by number: those that are answered here."""
        self.peer = peer
        self.remote_epoch: int | None = None
        """Of the peer's end; until it is heard, nothing else is taken from there."""
        self.bodies = Bodies()
        self._is_closed = False
        """The peer is gone: nothing is taken and nothing leaves any more."""
        self._opening: bytes | None = encode(ChannelOpened(epoch))
        """The first frame; None once it has left."""
        self._small = SmallFrames()
        self._effects: deque[RpcEffect] = deque()
        self.outgoing = OutgoingCalls(peer, self.bodies, self._effects)
        self.incoming = IncomingCalls(peer, kinds, bounds, self.bodies, self._effects, self._small)

    @property
    def calls(self) -> int:
        """Of theirs, that have not ended."""
        return len(self.incoming)

    @property
    def body_bytes(self) -> int:
        """Bytes of bodies that the peer may have us hold now: its questions', and our answers'."""
        return self.incoming.body_bytes + self.bodies.reply_bytes

    # -- what this end says

    def ask(self, call: OutgoingCall, payload: bytes, body: bytes, deadline_ms: int) -> None:
        """Ask the peer; CallOver is the event of its end."""
        frame = encode(Call(call.id, deadline_ms, len(body), payload))
        self._small.ask(frame, call)
        self.outgoing.ask(call, body)

    def leave(self, call: OutgoingCall) -> None:
        """The caller has its answer, or no longer waits."""
        is_unsent = call.state is _QUEUED
        if cancel := self.outgoing.leave(call):
            self._small.cancel(cancel)
        elif is_unsent:
            self._small.was_left()
        if self._is_closed:
            self._drop_frames()

    def answer(self, call: IncomingCall, payload: bytes, body: bytes) -> None:
        """What a handler that was started says."""
        if not self._is_closed:
            self.incoming.answer(call, payload, body)

    def refuse(self, call: IncomingCall, code: str, detail: str) -> None:
        """What a handler that was started says, when it says no."""
        if not self._is_closed:
            self.incoming.refuse(call, code, detail)

    def end(self, call: IncomingCall) -> None:
        """A handler that was started has finished, whether it answered or not."""
        self.incoming.end(call)
        if self._is_closed:
            self._drop_frames()

    def close(self, why: str) -> None:
        """The peer is gone: our calls fail, its handlers stop, nothing leaves any more."""
        self._is_closed = True
        self.outgoing.fail_all(why)
        self.incoming.stop_all()
        self._drop_frames()

    def _drop_frames(self) -> None:
        self._opening = None
        self._small.clear()
        self.bodies.clear()

    # -- what the peer says

    def receive(self, frame: ChannelFrame, caller: Caller | None, now_s: float) -> None:
        """Take a frame of this channel; `caller` is the peer, once it is admitted.

        Raises WireError for what no honest peer sends. Before the peer's end has opened, what comes
        is of an older one: the peer has not noticed yet that ours is new.
        """
        is_open = self.remote_epoch is not None and not self._is_closed
        if is_open or isinstance(frame, ChannelOpened):
            self._take(frame, caller, now_s)

    def _take(self, message: ChannelFrame, caller: Caller | None, now_s: float) -> None:
        match message:
            case Call():
                self._on_call(caller, message, now_s)
            case Reply():
                self.outgoing.on_reply(message)
            case Chunk():
                self._on_chunk(message)
            case Credit():
                self.bodies.on_credit(message)
            case Refused():
                self.outgoing.on_refused(message)
            case Cancel():
                self.incoming.on_cancel(message.id)
            case ChannelOpened():
                self._on_opened(message.epoch)
            case _:
                assert_never(message)

    def _on_opened(self, epoch: int) -> None:
        if self.remote_epoch in (None, epoch):
            self.remote_epoch = epoch
        else:
            self._effects.append(BeganAnew(epoch))

    def _on_call(self, caller: Caller | None, message: Call, now_s: float) -> None:
        if caller is None:
            raise WireError("a call of a peer that was not admitted")
        if self._small.answers >= ANSWERS_WAITING_MAX:
            raise WireError("the peer goes on asking and takes no answers")
        self.incoming.on_call(caller, message, now_s)

    def _on_chunk(self, chunk: Chunk) -> None:
        if not len(chunk.data):
            raise WireError("a chunk without bytes")
        if chunk.kind == BodyKind.REQUEST:
            self.incoming.on_chunk(chunk.id, chunk.data)
        elif chunk.kind == BodyKind.REPLY:
            self.outgoing.on_chunk(chunk.id, chunk.data)
        else:
            raise WireError(f"chunk of kind {chunk.kind}")

    # -- what leaves

    @property
    def has_frames(self) -> bool:
        """True when something waits to leave, perhaps for credit."""
        small = self._small
        has_small = bool(small.waiting or small.cancels)
        return has_small or self._opening is not None or self.bodies.has_some

    def next_frame(self) -> tuple[bytes, float] | None:
        """The next to leave, and by when it must have begun to."""
        if self._opening is not None:
            opening, self._opening = self._opening, None
            return opening, math.inf
        if (credit := self.bodies.next_credit()) is not None:
            return credit, math.inf
        if (small := self._small.take()) is not None:
            frame, call = small
            return frame, math.inf if call is None else self._sent(call)
        chunk = self.bodies.next_chunk()
        return None if chunk is None else (chunk, math.inf)

    @property
    def has_effects(self) -> bool:
        """True when there may be something to do, once there is room for it."""
        return bool(self._effects or self.incoming.waiting)

    def next_effect(self, now_s: float) -> RpcEffect | None:
        """The next thing to be done at this end."""
        if not self._effects and self.incoming.waiting:
            self.incoming.start_waiting(now_s)
        return self._effects.popleft() if self._effects else None

    @staticmethod
    def _sent(call: OutgoingCall) -> float:
        if call.state is _QUEUED:
            call.move(OutgoingState.SENT)
        return call.expires_s

    def check_invariants(self) -> None:
        """What must hold after each step. Raises AssertionError."""
        assert not (self._is_closed and self.has_frames), "what is closed has frames"
        self._small.check_invariants()
        self.bodies.check_invariants()
        self.outgoing.check_invariants()
        self.incoming.check_invariants()
