"""What a peer's Yamux frames mean: the events of `core`."""

from typing import TypeAlias

import msgspec


class StreamOpened(msgspec.Struct, frozen=True):
    """The peer opened a stream."""

    stream_id: int


class Received(msgspec.Struct, frozen=True):
    """Bytes arrived; say `consumed` once they have been read."""

    stream_id: int
    data: bytes | memoryview


class Finished(msgspec.Struct, frozen=True):
    """The peer will send no more on this stream."""

    stream_id: int


class WasReset(msgspec.Struct, frozen=True):
    """The peer gave the stream up, in both directions."""

    stream_id: int


class WindowGrew(msgspec.Struct, frozen=True):
    """The peer takes more bytes of this stream."""

    stream_id: int


class Ponged(msgspec.Struct, frozen=True):
    """The answer to `ping(value)`."""

    value: int


class PeerLeft(msgspec.Struct, frozen=True):
    """The peer said goodbye; `code` is NORMAL, PROTOCOL_ERROR or INTERNAL_ERROR."""

    code: int


class Paused(msgspec.Struct, frozen=True):
    """Many frames were looked at, whatever they meant: others may want a turn."""


FromPeer: TypeAlias = (
    StreamOpened | Received | Finished | WasReset | WindowGrew | Ponged | PeerLeft | Paused
)
"""What comes out of the core; an `Event` goes into one."""
