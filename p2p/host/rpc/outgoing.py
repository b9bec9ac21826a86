"""Our calls of one channel: from the question to the moment their callers leave."""

from collections import deque

from p2p.errors import PeerUnreachableError, RemoteRefusalError, WireError
from p2p.host.rpc.bodies import Bodies, IncomingBody
from p2p.host.rpc.calls import OutgoingCall, OutgoingState
from p2p.host.rpc.effects import CallOver, RpcEffect
from p2p.host.rpc.messages import BodyKind, Cancel, Refused, Reply
from p2p.ids import PeerId
from p2p.limits import BODY_BYTES_MAX, REFUSAL_CHARS_MAX
from p2p.wire.codec import decode_as, encode

# Members of an enum are slow to look up, and each call does so ten times.
_QUEUED, _SENT, _ANSWERED, _DONE, _LEFT = OutgoingState


class OutgoingCalls:
    """Brings each question together with its answer."""

    def __init__(self, peer: PeerId, bodies: Bodies, effects: deque[RpcEffect]) -> None:
        """`effects` is the channel's outbox of them."""
        self._peer = peer
        self._bodies = bodies
        self._effects = effects
        self._open: dict[int, OutgoingCall] = {}
        """By id, until their callers leave."""
        self.came_bytes = 0
        """Of the bodies of replies, since the channel began."""

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, call: OutgoingCall, body: bytes) -> None:
        """A question is in the outbox; its body waits for credit."""
        self._open[call.id] = call
        self._bodies.queue(BodyKind.REQUEST, call.id, body)

    def leave(self, call: OutgoingCall) -> bytes | None:
        """The caller has what it waited for, or waits no more: free what the call held.

        Returns the frame that tells the peer, where it may still be at work.
        """
        was = call.state
        call.move(_LEFT)
        del self._open[call.id]
        if call.body is not None:
            self._bodies.give_back(BodyKind.REPLY, call.body)
        self._bodies.abandon(BodyKind.REQUEST, call.id)
        is_with_peer = was in (_SENT, _ANSWERED)
        return encode(Cancel(call.id)) if is_with_peer else None

    def on_reply(self, message: Reply) -> None:
        """The answer to a call; its body may still follow. Raises WireError."""
        call = self._open.get(message.id)
        if call is None or call.state is _DONE:
            return  # it came before, by another path, or nobody waits
        if call.state is _QUEUED:
            raise WireError(f"an answer to call {message.id}, which was not sent")
        if call.reply is not None or not 0 <= message.body_len <= BODY_BYTES_MAX:
            raise WireError(f"reply to call {message.id} is sent twice or too large")
        call.reply = decode_as(call.reply_kind, message.payload)
        call.body = IncomingBody(message.body_len)
        call.move(_ANSWERED)
        if call.body.is_whole:
            self._done(call)

    def on_refused(self, message: Refused) -> None:
        """The peer says no to a call. Raises WireError."""
        if (call := self._open.get(message.id)) is not None:
            if call.state is _QUEUED:
                raise WireError(f"an answer to call {message.id}, which was not sent")
            short = (message.code[:REFUSAL_CHARS_MAX], message.detail[:REFUSAL_CHARS_MAX])
            self._fail(call, RemoteRefusalError(self._peer, *short))

    def on_chunk(self, call_id: int, data: memoryview) -> None:
        """The next bytes of a reply's body. Raises WireError."""
        call = self._open.get(call_id)
        body = None if call is None else call.body
        self.came_bytes += len(data)
        self._bodies.take(BodyKind.REPLY, body, data)
        if call is not None and body is not None and body.is_whole:
            self._done(call)

    def fail_all(self, why: str) -> None:
        """The peer is gone."""
        for call in self._open.values():
            self._fail(call, PeerUnreachableError(self._peer, why))

    def _fail(self, call: OutgoingCall, failure: Exception) -> None:
        if call.state is not _DONE:
            call.failure = failure
            self._done(call)

    def _done(self, call: OutgoingCall) -> None:
        if call.state is not _DONE:
            call.move(_DONE)
            self._effects.append(CallOver(call))

    def check_invariants(self) -> None:
        """What must hold after each step. Raises AssertionError."""
        for call_id, call in self._open.items():
            assert call.id == call_id
            assert call.state is not _LEFT
            is_whole = call.body is not None and call.body.is_whole
            assert (call.state is _DONE) == (is_whole or call.failure is not None)
        assert self._bodies.held[BodyKind.REPLY] == sum(
            call.body.received for call in self._open.values() if call.body is not None
        )
