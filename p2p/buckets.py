"""A token bucket for each peer: how much work anybody may cause."""

import msgspec

from p2p.ids import PeerId
from p2p.limits import PEERS_MAX


class Buckets(msgspec.Struct):
    """Full at first, refilled steadily; the longest unused is forgotten, and so full again."""

    burst: float
    per_s: float
    peers_max: int = PEERS_MAX
    _left: dict[PeerId, tuple[float, float]] = msgspec.field(default_factory=dict)
    """Tokens (below 0: a debt) and when that was so; the longest unused first."""

    def take(self, peer: PeerId, wanted: int, now_s: float) -> int:
        """Take up to so many tokens; returns how many there were."""
        tokens, since_s = self._left.pop(peer, (self.burst, now_s))
        tokens = min(self.burst, tokens + (now_s - since_s) * self.per_s)
        taken = max(0, min(wanted, int(tokens)))
        self._left[peer] = (tokens - taken, now_s)
        if len(self._left) > self.peers_max:
            del self._left[next(iter(self._left))]
        return taken

    def charge(self, peer: PeerId, cost: int, now_s: float) -> None:
        """Take so many tokens whether or not there are any; a debt is never above one burst."""
        taken = self.take(peer, cost, now_s)
        tokens, since_s = self._left[peer]
        self._left[peer] = (max(-self.burst, tokens - (cost - taken)), since_s)
