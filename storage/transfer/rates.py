"""How fast each holder was lately: whom to ask first, and when to stop waiting for one."""

import math
from collections import deque

import msgspec

from p2p.ids import PeerId
from storage.limits import SAMPLES_KEPT

SMOOTHING = 0.3
FAILED_S = 30.0
"""A holder that failed is asked last for this long."""
SLOW_FROM = -5
"""A rank, the logarithm of seconds per MiB: of 32 MiB/s, below which to put shards together from
parity costs less than to wait for whom everybody asks."""
_LEAST_S = 1e-6
LATE_S = 30.0
"""Before anything was measured: a shard of 2 MiB at half a megabit a second."""
MIB = 1024 * 1024


class Rates(msgspec.Struct):
    """Seconds per MiB by holder, and the recent durations of all. `now_s` is monotonic."""

    hedge_s_default: float
    """Patience as long as too few answers came to tell."""
    hedge_s_max: float
    """Never longer than that for one that is silent, however late answers are."""
    _s_per_mib: dict[PeerId, float] = msgspec.field(default_factory=dict)
    """Smoothed."""
    _failed_s: dict[PeerId, float] = msgspec.field(default_factory=dict)
    """When it failed last; gone when it has worked again."""
    _durations_s: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))
    """Of the last answers, whosever they were."""

    def worked(self, peer: PeerId, length: int, seconds: float) -> None:
        """A shard of that length took so long."""
        self._durations_s.append(seconds)
        rate = seconds / max(length / MIB, 1 / 16)
        before = self._s_per_mib.get(peer, rate)
        self._s_per_mib[peer] = before + SMOOTHING * (rate - before)
        self._failed_s.pop(peer, None)

    def failed(self, peer: PeerId, now_s: float) -> None:
        """It refused, broke off or lied."""
        self._failed_s[peer] = now_s

    def rank(self, peer: PeerId, now_s: float, under_way: int = 0) -> tuple[bool, int]:
        """Sort key: trustworthy before failed, fast before slow, unknown as the average; with so
        many answers of it under way it is that many times slower.

        Those of whom none is twice as fast as another may be alike: what was measured is as much
        the doing of whoever asks besides us.
        """
        failed_s = self._failed_s.get(peer)
        is_bad = failed_s is not None and now_s - failed_s < FAILED_S
        s_per_mib = self._s_per_mib.get(peer, self._average())
        return is_bad, math.floor(math.log2(max(s_per_mib * (1 + under_way), _LEAST_S)))

    def hedge_s(self) -> float:
        """When one more source is asked, if one is silent: later than 95 % of recent answers."""
        late_s = self._later_than_most_s()
        if late_s is None:
            return self.hedge_s_default
        return min(max(late_s, 0.05), self.hedge_s_max)

    def late_s(self) -> float:
        """When one more is asked though all send: the same, however late answers are lately."""
        late_s = self._later_than_most_s()
        return max(LATE_S if late_s is None else late_s, self.hedge_s_max)

    def _later_than_most_s(self) -> float | None:
        """None as long as too few answers came to tell."""
        if len(self._durations_s) < SAMPLES_KEPT // 8:
            return None
        ordered = sorted(self._durations_s)
        return 1.5 * ordered[len(ordered) * 95 // 100]

    def _average(self) -> float:
        known = self._s_per_mib.values()
        return sum(known) / len(known) if known else 0.0
