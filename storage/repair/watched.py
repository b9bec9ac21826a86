"""A page whose record is here: when we shall act on it, and what its segments lack."""

import math

import msgspec

from storage.records.holding import Rows


class WatchedPage(msgspec.Struct):
    """What we know of a page and when we shall act on it."""

    k: int
    sequence: int
    """Of the record."""
    shard_bytes: int
    """Of one shard of its longest segment."""
    rows: Rows
    """By segment: who holds each shard, None where nobody does."""
    is_small: bool
    """Kept as whole copies, wherever it is put."""
    changed_s: float
    """When this record came."""
    jitter_s: float
    """Our own delay, by dice: what is lost at once is not mended all at once."""
    fails: int = 0
    """Jobs that failed, one after another."""
    not_before_s: float = -math.inf
    """No job before that, as the last one failed."""
    due_s: float = math.inf
    """When a job of ours is due; inf while there is nothing to do, or nothing for us."""
    margin: int = 0
    """Living shards beyond k, of the worst segment that can be mended."""
    is_damaged: bool = False
    """A shard that the record should have has no holder, or a silent one."""
    lacks_until_s: float = -math.inf
    """Until then it is degraded, if nothing changes: fewer shards than the pool could hold."""
    low_since_s: float | None = None
    """Since when the pool could keep more shards of it than its record has."""
    is_running: bool = False
    """A job for it is under way."""


class Damage(msgspec.Struct, frozen=True):
    """A segment with shards to rebuild."""

    segment: int
    live: int
    """Shards of the record that living machines hold."""
    lost_s: tuple[tuple[int, float], ...]
    """(shard, when it counts as lost)"""

    @property
    def first_s(self) -> float:
        """When the first of them counts as lost."""
        return min(lost_s for _, lost_s in self.lost_s)
