"""Settings of repair, with the reasons for their values. Times in seconds."""

import math
from typing import Final

import msgspec

from storage.config import DOWN_AFTER_S, REPAIR_BYTES_PER_S

REPAIRS_AT_ONCE: Final = 2
"""Pages mended at a time: with their segments at once, 40 MiB in memory at most."""

SEGMENTS_AT_ONCE: Final = 2
"""Of one page: while one is fetched another is rebuilt and sent."""

SEGMENTS_PER_JOB: Final = 16
"""Segments mended before the new record is published: what a crash loses, at most."""

BRAKE_MEMBERS: Final = 3
"""So many silent members are ordinary whatever the size of the swarm."""

BRAKE_SHARE: Final = 0.1
"""More than this share silent at once is a partition or a power cut, not so many losses."""

DEGRADED_NAMED_MAX: Final = 3
"""Objects that lack shards and are named where somebody asks; the others are counted."""


def repair_at(k: int, n: int) -> int:
    """So few living shards, or fewer, are mended without waiting for machines to come back."""
    return min(n - 1, k + math.ceil((n - k) * 5 / 8))


class RepairConfig(msgspec.Struct, frozen=True):
    """When repair acts, and how much it may move."""

    bytes_per_s: float = REPAIR_BYTES_PER_S
    """Fetched and sent."""
    down_after_s: float = DOWN_AFTER_S
    raise_s: float = 15.0
    """An object the pool could keep on more machines waits so long: who joins brings others."""
    lazy_s: float = 3600.0
    """Segments with shards to spare wait so much longer: most machines come back."""
    takeover_s: float = 60.0
    """The next in rank acts this much later, if the record has not changed meanwhile."""
    jitter_s: float = 5.0
    """Everybody waits up to this: one death touches many objects at once."""
    retry_s: float = 30.0
    """After a repair that failed, doubled each time."""
    retry_max_s: float = 600.0
    brake_s: float = 3600.0
    """How long members that fell silent together hold all but critical repairs back."""
    stranger_s: float = 900.0
    """A holder membership has not told us of is no loss for so long: we may just have started."""
    look_s: float = 1.0
    """How often what is due is looked at."""
    reconcile_s: float = 3600.0
    """How often we ask whether records that name us were replaced while we were away."""

    def __post_init__(self) -> None:
        times = (self.down_after_s, self.takeover_s, self.retry_s, self.look_s, self.reconcile_s)
        if min(times) <= 0 or self.bytes_per_s <= 0:
            raise ValueError("times and bytes_per_s must be above 0")

    def patience_s(self, k: int, n: int, live: int, *, is_away: bool = True) -> float:
        """How long the holder of an absent shard is waited for, where `live` of n can be had.

        `is_away`: it may come back; else it has said goodbye.
        """
        lazy_s = self.lazy_s if live > repair_at(k, n) else 0.0
        return lazy_s + (self.down_after_s if is_away and live > k + 1 else 0.0)

    def counted_s(self, k: int, n: int, live: int, *, is_away: bool = True) -> float:
        """How long such a holder is a machine of the pool, without which an object is not whole.

        Where few shards live nobody waits for it, and yet it may only be starting anew.
        """
        patience_s = self.patience_s(k, n, live, is_away=is_away)
        return max(patience_s, self.down_after_s) if is_away else patience_s

    @classmethod
    def scaled(cls, down_after_s: float, bytes_per_s: float) -> "RepairConfig":
        """All waits in proportion to `down_after_s`, so that demonstrations need not wait."""
        return cls(
            bytes_per_s=bytes_per_s,
            down_after_s=down_after_s,
            raise_s=min(15.0, down_after_s / 8),
            lazy_s=4 * down_after_s,
            takeover_s=max(3.0, down_after_s / 15),
            jitter_s=min(5.0, down_after_s / 10),
            stranger_s=max(15.0, down_after_s),
            retry_s=max(2.0, down_after_s / 30),
            brake_s=4 * down_after_s,
            look_s=min(1.0, down_after_s / 8),
            reconcile_s=max(5.0, 4 * down_after_s),
        )
