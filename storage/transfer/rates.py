"""How fast each holder was lately: whom to ask first, and when to stop waiting for one."""

from collections import deque

import msgspec

from p2p.ids import PeerId
from storage.limits import SAMPLES_KEPT

SMOOTHING = 0.3
FAILED_S = 30.0
"""A holder that failed is asked last for this long."""
MIB = 1024 * 1024


class Rates(msgspec.Struct):
    """Seconds per MiB by holder, and the recent durations of all. `now_s` is monotonic."""

    hedge_s_default: float
    """Patience as long as too few answers came to tell."""
    hedge_s_max: float
    """Never longer than that, however late answers are."""
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

    def rank(self, peer: PeerId, now_s: float) -> tuple[bool, float]:
        """Sort key: trustworthy before failed, fast before slow, unknown as the average."""
        failed_s = self._failed_s.get(peer)
        is_bad = failed_s is not None and now_s - failed_s < FAILED_S
        return is_bad, self._s_per_mib.get(peer, self._average())

    def hedge_s(self) -> float:
        """When one more source is asked: later than 95 % of recent answers."""
        if len(self._durations_s) < SAMPLES_KEPT // 8:
            return self.hedge_s_default
        ordered = sorted(self._durations_s)
        late_s = ordered[len(ordered) * 95 // 100]
        return min(max(1.5 * late_s, 0.05), self.hedge_s_max)

    def _average(self) -> float:
        known = self._s_per_mib.values()
        return sum(known) / len(known) if known else 0.0
