"""The bodies of one channel, both ways, and their credit.

A body takes credit for its whole length before its first chunk, and the receiver returns what it
received once it is done with it; so memory is bounded by BODY_WINDOW_BYTES per direction and kind,
and as requests and replies have separate credit, a reply can always leave while requests wait.
"""

from collections import deque

import msgspec

from p2p.errors import WireError
from p2p.host.rpc.messages import BodyKind, Chunk, Credit
from p2p.limits import BODY_BYTES_MAX, BODY_CHUNK_BYTES, BODY_WINDOW_BYTES, CHUNK_BYTES_MIN
from p2p.wire.codec import encode


class IncomingBody(msgspec.Struct, eq=False):
    """A body on its way to us."""

    length: int
    """As announced."""
    received: int = 0
    """Bytes so far; more than `length` is an error of the peer."""
    _parts: list[memoryview] = msgspec.field(default_factory=list)
    """Chunks in order; let go when they are taken."""

    @property
    def is_whole(self) -> bool:
        return self.received == self.length

    def add(self, data: memoryview) -> None:
        """Take the next chunk. Raises WireError when it does not fit."""
        self.received += len(data)
        if self.received > self.length:
            raise WireError(f"body is longer than the {self.length} bytes announced")
        if len(data) < CHUNK_BYTES_MIN and not self.is_whole:
            raise WireError(f"chunk of {len(data)} bytes in the middle of a body")
        self._parts.append(data)

    def take(self) -> bytes:
        """The whole body; the chunks are let go."""
        body = b"".join(self._parts)
        self._parts = []
        return body


class OutgoingBody(msgspec.Struct, eq=False):
    """A body on its way out."""

    call_id: int
    data: memoryview
    sent: int = 0
    """Bytes of it that have left."""
    has_credit: bool = False
    """Credit for its whole length has been taken."""


class Bodies:
    """What is on its way, by BodyKind: each kind has its own lane and credit."""

    def __init__(self) -> None:
        self.window = [BODY_WINDOW_BYTES, BODY_WINDOW_BYTES]
        """Body bytes we may still send; at most BODY_WINDOW_BYTES."""
        self.held = [0, 0]
        """Body bytes that came and are not given back yet; at most the same."""
        self.reply_bytes = 0
        """Lengths of the replies' bodies that have not left whole."""
        self._owed = [0, 0]
        """Body bytes to give back with the next credit."""
        self._lanes: tuple[deque[OutgoingBody], deque[OutgoingBody]] = (deque(), deque())
        """Bodies on their way out; only the first of each may have begun."""
        self._turn = BodyKind.REQUEST
        """The kind that may send the next chunk, if it can."""

    @property
    def has_some(self) -> bool:
        """True when a credit is owed, or a body waits, perhaps for credit."""
        return bool(self._owed[0] or self._owed[1] or self._lanes[0] or self._lanes[1])

    def queue(self, kind: BodyKind, call_id: int, body: bytes) -> None:
        """Send a body as soon as there is credit. Raises ValueError for one that is too long."""
        if len(body) > BODY_BYTES_MAX:
            raise ValueError(f"body of {len(body)} bytes, limit {BODY_BYTES_MAX}")
        if body:
            self._lanes[kind].append(OutgoingBody(call_id, memoryview(body)))
            if kind is BodyKind.REPLY:
                self.reply_bytes += len(body)

    def abandon(self, kind: BodyKind, call_id: int) -> None:
        """Take a body out of its lane; the credit of what was not sent is ours again."""
        if not (lane := self._lanes[kind]):
            return
        body = next((b for b in lane if b.call_id == call_id), None)
        if body is None:
            return
        lane.remove(body)
        if body.has_credit:
            self.window[kind] += len(body.data) - body.sent
        self._left(kind, body)

    def clear(self) -> None:
        """Nothing of this leaves any more."""
        for lane in self._lanes:
            lane.clear()
        self.reply_bytes, self._owed = 0, [0, 0]

    # -- what comes

    def take(self, kind: BodyKind, body: IncomingBody | None, data: memoryview) -> None:
        """The next bytes of a body; None: its call is over. Raises WireError."""
        size = len(data)
        if body is None or body.is_whole:
            self._owed[kind] += size
            return
        self.held[kind] += size
        if self.held[kind] > BODY_WINDOW_BYTES:
            raise WireError(f"{self.held[kind]} body bytes without credit")
        body.add(data)

    def give_back(self, kind: BodyKind, body: IncomingBody) -> None:
        """What came of a body is done with: the peer may send as much again."""
        if not body.received:
            return
        self.held[kind] -= body.received
        self._owed[kind] += body.received

    def on_credit(self, credit: Credit) -> None:
        """The peer has taken bytes we sent. Raises WireError when it never got that many."""
        if credit.kind not in (BodyKind.REQUEST, BodyKind.REPLY) or credit.length <= 0:
            raise WireError(f"credit of kind {credit.kind} for {credit.length} bytes")
        self.window[credit.kind] += credit.length
        if self.window[credit.kind] > BODY_WINDOW_BYTES:
            raise WireError("credit for bytes that were never sent")

    # -- what leaves

    def next_credit(self) -> bytes | None:
        """The frame that gives back what is owed."""
        kind = 0 if self._owed[0] else 1
        if not self._owed[kind]:
            return None
        credit, self._owed[kind] = Credit(kind, self._owed[kind]), 0
        return encode(credit)

    def next_chunk(self) -> bytes | None:
        """The next frame of a body that has credit; the kinds take turns."""
        if not (self._lanes[0] or self._lanes[1]):
            return None
        for kind in (self._turn, BodyKind(1 - self._turn)):
            lane = self._lanes[kind]
            if lane and self._has_credit(kind, lane[0]):
                self._turn = BodyKind(1 - kind)
                return self._chunk_of(kind, lane)
        return None

    def _chunk_of(self, kind: BodyKind, lane: deque[OutgoingBody]) -> bytes:
        body = lane[0]
        part = body.data[body.sent : body.sent + BODY_CHUNK_BYTES]
        body.sent += len(part)
        if body.sent == len(body.data):
            lane.popleft()
            self._left(kind, body)
        return encode(Chunk(body.call_id, kind, part))

    def _has_credit(self, kind: BodyKind, body: OutgoingBody) -> bool:
        if not body.has_credit and len(body.data) <= self.window[kind]:
            body.has_credit = True
            self.window[kind] -= len(body.data)
        return body.has_credit

    def _left(self, kind: BodyKind, body: OutgoingBody) -> None:
        if kind is BodyKind.REPLY:
            self.reply_bytes -= len(body.data)

    def check_invariants(self) -> None:
        """What must hold after each step. Raises AssertionError."""
        for kind in BodyKind:
            assert 0 <= self.window[kind] <= BODY_WINDOW_BYTES
            assert 0 <= self.held[kind] <= BODY_WINDOW_BYTES
            assert self._owed[kind] >= 0
            assert not any(body.sent or body.has_credit for body in list(self._lanes[kind])[1:])
        assert self.reply_bytes == sum(len(body.data) for body in self._lanes[BodyKind.REPLY])
