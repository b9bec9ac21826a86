"""Tells packets lost for no reason from those a full queue dropped: pure.

Cubic takes every loss for congestion, and at one lost packet in two hundred keeps a quarter of a
20 Mbit/s line; BBR does not care. But BBR empties the line every ten seconds to look at it, which
costs two to five per cent. So cubic carries bulk until packets are lost that no queue explains.
"""

from collections import deque

import msgspec


class LossConfig(msgspec.Struct, frozen=True):
    """When losses are nobody's fault."""

    # A queue of this length may have overflowed; on a shorter one only the smallest buffers do.
    queue_s: float = 0.015
    # So many looks that saw such a loss ...
    looks: int = 5
    # ... within this time.
    within_s: float = 30.0


class LossWatch:
    """Watches the retransmissions of one connection."""

    def __init__(self, config: LossConfig | None = None) -> None:
        self._config = config or LossConfig()
        self._retransmits = 0
        """Packets sent again so far, as of the last look."""
        self._queues: deque[float] = deque(maxlen=16)
        """How long the queue was in the last looks (s)."""
        self._seen_s: deque[float] = deque(maxlen=self._config.looks)
        """When the last such losses were seen, the oldest first."""
        self.is_lossy = False
        """True once losses were seen that no queue explains; it stays so."""

    def look(self, retransmits: int, queue_s: float, now_s: float) -> bool:
        """Take a look; True when the path has just turned out to be lossy."""
        new = retransmits > self._retransmits
        self._retransmits = retransmits
        self._queues.append(queue_s)
        if not new or self.is_lossy or max(self._queues) > self._config.queue_s:
            return False
        self._seen_s.append(now_s)
        self.is_lossy = (
            len(self._seen_s) == self._config.looks
            and now_s - self._seen_s[0] <= self._config.within_s
        )
        return self.is_lossy
