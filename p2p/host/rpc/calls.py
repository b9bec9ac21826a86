"""One call, as each end knows it.

    ours     QUEUED --> SENT --> ANSWERED --> DONE      --> LEFT
             in the     the      its body     whole, or     its caller has taken
             outbox     peer     is coming    failed        it, or waits no more
                        has it

    theirs   ARRIVING --> WAITING --> RUNNING --> ENDED
             its body     for room    its         answered, refused, or
             is coming    to answer   handler     nobody waits for it

A call of ours may be left in any state, and one of theirs may end in any. The steps that there are
stand in two tables; a missing one is an error of ours.
"""

from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Final

import msgspec

from p2p.host.rpc.bodies import IncomingBody
from p2p.identity.caller import Caller
from p2p.wire.codec import Message

Answer = Callable[[Caller, Message, bytes], Awaitable[tuple[Message, bytes]]]


class ServedKind(msgspec.Struct, frozen=True):
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


OUTGOING_STEPS: Final[tuple[tuple[OutgoingState, ...], ...]] = (
    (OutgoingState.SENT, OutgoingState.DONE, OutgoingState.LEFT),  # DONE: the peer is gone
    (OutgoingState.ANSWERED, OutgoingState.DONE, OutgoingState.LEFT),  # DONE: refused
    (OutgoingState.DONE, OutgoingState.LEFT),
    (OutgoingState.LEFT,),
    (),
)
"""By state: those that may follow."""


class OutgoingCall(msgspec.Struct, eq=False):
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

    def move(self, to: OutgoingState) -> None:
        """Take a step. Raises RuntimeError for one that there is not: a bug."""
        if to not in OUTGOING_STEPS[self.state]:
            raise RuntimeError(f"call {self.id} cannot go from {self.state!r} to {to!r}")
        self.state = to


class IncomingState(IntEnum):
    """Of a call of theirs; the drawing is above."""

    ARRIVING = 0
    WAITING = 1
    RUNNING = 2
    ENDED = 3


INCOMING_STEPS: Final[tuple[tuple[IncomingState, ...], ...]] = (
    (IncomingState.WAITING, IncomingState.RUNNING, IncomingState.ENDED),
    (IncomingState.RUNNING, IncomingState.ENDED),
    (IncomingState.ENDED,),
    (),
)
"""By state: those that may follow. Who is answered without a body waits for no room."""


class IncomingCall(msgspec.Struct, eq=False):
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

    def move(self, to: IncomingState) -> None:
        """Take a step. Raises RuntimeError for one that there is not: a bug."""
        if to not in INCOMING_STEPS[self.state]:
            raise RuntimeError(f"call {self.id} cannot go from {self.state!r} to {to!r}")
        self.state = to
