"""Timing and bounds of a connection and of its streams."""

from typing import Final

import msgspec

from p2p.limits import (
    LINK_BACKLOG_BYTES,
    LINK_OUTPUT_BYTES_MAX,
    LINK_UNREAD_BYTES_MAX,
    STREAM_WINDOW_BYTES,
    STREAM_WINDOW_BYTES_MAX,
    STREAMS_INBOUND_MAX,
)

WINDOW_START_BYTES: Final = 256 * 1024
"""What each side may send on a new stream before it is granted more; fixed by the specification."""


class YamuxConfig(msgspec.Struct, frozen=True):
    """Bounds of one connection's streams."""

    # 100 Mbit/s at 80 ms round trip; granted only to streams whose reader keeps up.
    window_bytes: int = STREAM_WINDOW_BYTES
    # The same at 320 ms, or 400 Mbit/s at 80: reached by doubling where a window is what holds up.
    window_bytes_max: int = STREAM_WINDOW_BYTES_MAX
    streams_inbound_max: int = STREAMS_INBOUND_MAX
    # Ours need few; this only stops a bug of ours from running away.
    streams_outbound_max: int = 1024
    # Sixteen full windows: more unread than that, and the stream that overflows is reset.
    unread_bytes_max: int = LINK_UNREAD_BYTES_MAX

    def __post_init__(self) -> None:
        if self.window_bytes < WINDOW_START_BYTES:
            raise ValueError(f"window_bytes must be at least {WINDOW_START_BYTES}")
        if self.window_bytes_max < self.window_bytes:
            raise ValueError("window_bytes_max must be at least window_bytes")


class LinkConfig(msgspec.Struct, frozen=True):
    """Timing and buffer bounds of one connection."""

    ping_every_s: float = 5.0
    # Three pings: one lost to a path change must not end a connection.
    dead_after_s: float = 15.0
    # What a goodbye and the frames before it may take to leave.
    close_within_s: float = 0.5
    # Frames wait above this, in the scheduler, where a more urgent one can still overtake.
    backlog_bytes: int = LINK_BACKLOG_BYTES
    # Beyond this we stop reading: a peer that makes us answer must also listen.
    output_bytes_max: int = LINK_OUTPUT_BYTES_MAX
    yamux: YamuxConfig = msgspec.field(default_factory=YamuxConfig)

    def __post_init__(self) -> None:
        if not 0 < self.ping_every_s < self.dead_after_s:
            raise ValueError("ping_every_s must be positive and below dead_after_s")
        if not 0 < self.backlog_bytes <= self.output_bytes_max:
            raise ValueError("backlog_bytes must be positive and at most output_bytes_max")
