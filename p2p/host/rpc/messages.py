"""Frames of the RPC layer: numbers 1-8. Payloads are packed messages of the services above.

A channel (one peer, one traffic class) begins with ChannelOpened on each side; every other frame
but Cast belongs to the channel that the last of them began.
"""

from enum import IntEnum

from p2p.wire.codec import Message


class BodyKind(IntEnum):
    """Which way a body goes: each has its own credit, so that neither can block the other."""

    REQUEST = 0
    REPLY = 1


class ChannelOpened(Message, frozen=True, tag=1):
    """First frame of a channel's sender. A new epoch means: forget the calls of the old one."""

    epoch: int


class Call(Message, frozen=True, tag=2):
    """A question; `body_len` bytes of Chunk frames follow when there is credit."""

    id: int
    deadline_ms: int
    """Time left to answer, from arrival."""
    body_len: int
    payload: bytes


class Reply(Message, frozen=True, tag=3):
    """The answer; `body_len` bytes of Chunk frames follow when there is credit."""

    id: int
    body_len: int
    payload: bytes


class Refused(Message, frozen=True, tag=4):
    """No: `code` is stable, `detail` is for people."""

    id: int
    code: str
    detail: str


class Cancel(Message, frozen=True, tag=5):
    """The caller no longer waits: stop the handler, send no more of the reply."""

    id: int


class Chunk(Message, frozen=True, tag=6):
    """The next bytes of a body; `data` is a view into the frame, not a copy."""

    id: int
    kind: int
    data: memoryview


class Credit(Message, frozen=True, tag=7):
    """So many body bytes of this kind have been taken: as many more may be sent."""

    kind: int
    length: int


class Cast(Message, frozen=True, tag=8):
    """A message that expects no answer."""

    payload: bytes
