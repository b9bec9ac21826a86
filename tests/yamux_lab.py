"""What tests of Yamux share."""

import math

from p2p.link.yamux.core import YamuxCore


def consume(core: YamuxCore, stream: int, size: int, now_s: float = math.inf) -> None:
    """Read so much of a stream, as `LinkStream` does."""
    if core.consumed(stream, size):
        core.grant(stream, now_s)
