"""Calls and bodies under way: what a channel knows of each."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from p2p.errors import WireError
from p2p.identity.caller import Caller
from p2p.limits import CHUNK_BYTES_MIN
from p2p.wire.codec import Message

Answer = Callable[[Caller, Message, bytes], Awaitable[tuple[Message, bytes]]]


@dataclass(slots=True, eq=False)
class Incoming:
    """A body on its way to us."""

    length: int
    """As announced."""
    received: int = 0
    """Bytes so far; more than `length` is an error of the peer."""
    _parts: list[memoryview] = field(default_factory=list)
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


@dataclass(slots=True, eq=False)
class Outgoing:
    """A body on its way out."""

    call_id: int
    data: memoryview
    sent: int = 0
    """Bytes of it that have left."""
    has_credit: bool = False
    """Credit for its whole length has been taken."""


@dataclass(slots=True, eq=False)
class Asking:
    """A call of ours that waits for its answer."""

    id: int
    """Grows with every call of this node."""
    request: str
    """The kind of question, for errors."""
    reply_kind: type[Message]
    expires_s: float
    """When nobody waits for it any more."""
    done: trio.Event = field(default_factory=trio.Event)
    """Set when the reply is whole, or `failure` is there."""
    is_sent: bool = False
    """The question has left: only then need the peer hear that nobody waits."""
    is_over: bool = False
    """Nobody waits: if it has not left yet, it never will."""
    reply: Message | None = None
    body: Incoming | None = None
    """Of the reply, once that has come."""
    failure: Exception | None = None
    """Why there will be no reply."""

    def fail(self, failure: Exception) -> None:
        """End the wait with an error, unless it has ended already."""
        if not self.done.is_set():
            self.failure = failure
            self.done.set()


@dataclass(slots=True, eq=False)
class Serving:
    """A call of theirs: its body is arriving or its handler is running."""

    id: int
    caller: Caller
    request: Message
    answer: Answer
    body: Incoming
    reply_bytes: int
    """How long the body of its reply may be."""
    scope: trio.CancelScope
    has_begun: bool = False
    """Its handler runs, and room for the reply is taken."""
    answer_frame: bytes | None = None
    """What it was answered with, unless that had a body."""
