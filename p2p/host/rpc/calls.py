"""One call, as each end knows it.

    ours     QUEUED --> SENT --> ANSWERED --> DONE      --> LEFT
             in the     the      its body     whole, or     its caller has taken
             outbox     peer     is coming    failed        it, or waits no more
                        has it

    theirs   ARRIVING --> WAITING --> RUNNING --> ENDED
             its body     for room    its         answered, refused, or
             is coming    to answer   handler     nobody waits for it

A call of ours may be left in any state, and one of theirs may end in any.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum

from p2p.host.rpc.bodies import IncomingBody
from p2p.identity.caller import Caller
from p2p.wire.codec import Message

Answer = Callable[[Caller, Message, bytes], Awaitable[tuple[Message, bytes]]]


@dataclass(frozen=True, slots=True)
class ServedKind:
    """How calls of one kind are answered."""

    kind: type[Message]
    answer: Answer
    reply_bytes: Callable[[Message, int], int]
    """How long the body of a reply may be, by the request and the length of its body."""


class OutgoingState(IntEnum):
    """Of a call of ours; the drawing is above."""

    QUEUED = 0
    SENT = 1
    ANSWERED = 2
    DONE = 3
    LEFT = 4


@dataclass(slots=True, eq=False)
class OutgoingCall:
    """A call of ours."""

    id: int
    """Grows with every call of this node."""
    request: str
    """The kind of question, for errors."""
    reply_kind: type[Message]
    expires_s: float
    """When nobody waits for it any more."""
    state: OutgoingState = OutgoingState.QUEUED
    reply: Message | None = None
    body: IncomingBody | None = None
    """Of the reply, once that has come."""
    failure: Exception | None = None
    """Why there will be no reply."""


class IncomingState(IntEnum):
    """Of a call of theirs; the drawing is above."""

    ARRIVING = 0
    WAITING = 1
    RUNNING = 2
    ENDED = 3


@dataclass(slots=True, eq=False)
class IncomingCall:
    """A call of theirs."""

    id: int
    caller: Caller
    request: Message
    answer: Answer
    body: IncomingBody
    reply_bytes: int
    """How long the body of its reply may be."""
    expires_s: float
    """When nobody waits for its answer any more."""
    state: IncomingState = IncomingState.ARRIVING
    answer_frame: bytes | None = None
    """What it was answered with, unless that had a body."""
