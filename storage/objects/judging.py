"""How a segment stands in the pool as it is now: whatever is said of an object goes by this."""

from collections.abc import Collection, Sequence

import msgspec
import trio

from p2p.ids import PeerId
from storage.arrival import Arrival
from storage.facade import ObjectHealth
from storage.placement.pool import Pool
from storage.placement.possible import Patience, shards_possible


class NoPatience:
    """Of who repairs nothing: silent is lost."""

    def patience_s(self, k: int, n: int, live: int, *, is_away: bool = True) -> float:
        """See Patience."""
        return 0.0

    def counted_s(self, k: int, n: int, live: int, *, is_away: bool = True) -> float:
        """See Patience."""
        return 0.0


class SegmentJudge(msgspec.Struct):
    """Knows who lives, and how long the others are waited for."""

    pool: Pool
    arrival: Arrival
    patience: Patience
    """That of repair, once there is one."""

    def health_of(
        self, k: int, row: Sequence[PeerId | None], held: Collection[PeerId]
    ) -> ObjectHealth:
        """Of a segment with that row in its record, of which `held` have their shards."""
        live = len(set(held))
        if live < k:
            return ObjectHealth.UNREADABLE
        if live >= len(row):
            return ObjectHealth.WHOLE
        usable = self.pool.usable()
        if len(usable) >= len(row):
            return ObjectHealth.DEGRADED  # whoever they are: a large pool is not gone through
        homes = [candidate.peer for candidate in usable]
        holders = (p for p in row if p is not None and self._is_counted(p, k, len(row), live))
        is_enough = live >= shards_possible(len(row), homes, holders)
        return ObjectHealth.WHOLE if is_enough else ObjectHealth.DEGRADED

    def lost_s(self, peer: PeerId, k: int, n: int, live: int) -> float:
        """When the shard of a silent holder is made anew elsewhere, on our clock."""
        is_away = not self.pool.has_left(peer)
        return self._silent_s(peer) + self.patience.patience_s(k, n, live, is_away=is_away)

    def _is_counted(self, peer: PeerId, k: int, n: int, live: int) -> bool:
        """Whether a holder is a machine of the pool still."""
        if peer in self.pool.removed or self.pool.is_alive(peer):
            return peer not in self.pool.removed
        is_away = not self.pool.has_left(peer)
        counted_s = self.patience.counted_s(k, n, live, is_away=is_away)
        return trio.current_time() < self._silent_s(peer) + counted_s

    def _silent_s(self, peer: PeerId) -> float:
        """Since when; of whom we have not heard since our start since it was to be known."""
        since_s = self.pool.silent_since_s(peer)
        return self.arrival.until_s if since_s is None else since_s
