"""How many shards of a segment the pool as it is now can hold: as many are enough, more is a hope.

A machine of the pool lives and lends, or holds some of it and is waited for. One that left, was
removed or has been silent beyond all patience is none: a put of today does without it, too.
"""

from collections.abc import Collection, Iterable
from typing import Protocol

from p2p.ids import PeerId


class Patience(Protocol):
    """How long the holder of one of n shards is waited for, where `live` can be had.

    A silent one may come back (`is_away`); else it has said goodbye.
    """

    def patience_s(self, k: int, n: int, live: int, *, is_away: bool = True) -> float:
        """Until its shard is made anew elsewhere."""
        ...

    def counted_s(self, k: int, n: int, live: int, *, is_away: bool = True) -> float:
        """Until it is no machine of the pool any more: never sooner than that."""
        ...


def shards_possible(width: int, homes: Collection[PeerId], holders: Iterable[PeerId]) -> int:
    """Of a segment with so many, each on a machine of its own.

    `homes` live and lend; `holders` have some of it, and live or are waited for.
    """
    return width if len(homes) >= width else min(width, len({*homes, *holders}))
