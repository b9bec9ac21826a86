"""How long one connection may act on what came before others get their turn.

Looking at frames costs time whatever they mean: a peer that sends mostly headers would have all
of it. So a turn ends after a while, and where most of it was good for nothing others get more.
"""

import math
from typing import Final

from p2p.limits import TURN_S_MAX
from p2p.link.yamux.core import YamuxCore

FRAMES_AT_ONCE: Final = 16
"""After so many we look whether the turn is over: a stream opened and reset costs 50 us."""

_RESTS_PER_TURN: Final = 4
"""A peer that opens, resets and pings without end gets a fifth of the time."""

_TURN_S_WORST: Final = 0.01
"""A turn that took longer was the machine's fault."""


class ReadTurn:
    """The turns of one connection, by the frames that its core has looked at."""

    def __init__(self, core: YamuxCore) -> None:
        self._core = core
        self.began_s = -math.inf
        """When bytes came, or others had had their turn."""
        self._frames_seen, self._idle_seen = 0, 0
        """`frames_in` and `frames_idle` of the core when the last full turn ended."""

    def rest_s(self, now_s: float) -> float | None:
        """How long others should have their turn now; None while ours lasts."""
        took_s = now_s - self.began_s
        if took_s < TURN_S_MAX:
            return None
        frames = self._core.frames_in - self._frames_seen
        idle = self._core.frames_idle - self._idle_seen
        self._frames_seen, self._idle_seen = self._core.frames_in, self._core.frames_idle
        if 2 * idle > frames > FRAMES_AT_ONCE:
            return _RESTS_PER_TURN * min(took_s, _TURN_S_WORST)
        return 0.0
