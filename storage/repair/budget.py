"""How many bytes repair may move: so that mending much at once leaves the line to others."""

import math

import msgspec


class ByteBudget(msgspec.Struct):
    """Fills with time; a job may overdraw it, the next one then waits."""

    bytes_per_s: float
    left: float = 0.0
    """Bytes that may be moved now, at most one second's worth; below 0 after a large job."""
    _filled_s: float = -math.inf
    """When some were added last."""

    def fill(self, now_s: float) -> None:
        """Add what has come since the last time."""
        earned = min(now_s - self._filled_s, 1e6) * self.bytes_per_s
        self.left = min(self.bytes_per_s, self.left + earned)
        self._filled_s = now_s
