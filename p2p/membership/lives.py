"""Two machines with one key: noticed when a run of a process speaks again after another one did.

Every presence says in which run it was made (the incarnation that the run began with). A restart
begins a new run and never returns to an old one; a copied home that runs twice makes the two
answer each other's presences in turn, so their runs return and return. A few returns may come
from presences overtaking each other on their way, or from an earlier run with a faster clock:
hence RETURNS_MIN.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from p2p.ids import PeerId

RETURNS_MIN: Final = 4
"""Returns that make two machines: three answers of the other one, each to one of ours."""

LIVES_KEPT_MAX: Final = 4
"""Runs remembered of one key: two that answer each other, and what a restart of each adds."""

TWINS_KEPT_S: Final = 60.0
"""How long two machines are named after the last return: they answer six times as often."""

ANSWER_AGAIN_S: Final = 10.0
"""Once noticed, how often one of the two answers the other: else they would never rest."""


class _Runs(msgspec.Struct):
    lives: dict[int, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Run -> where it could be reached; the newest last."""
    returns: int = 0
    """How often a run spoke after another had; counted anew once TWINS_KEPT_S passed without."""
    returned_s: float = 0.0
    """When one did so last, on our clock."""


class Lives:
    """The runs of every key that were heard of."""

    def __init__(self) -> None:
        self._seen: dict[PeerId, _Runs] = {}
        """By key; a row that is dropped from the table takes its runs along."""

    def heard(self, peer: PeerId, life: int, addresses: tuple[str, ...], now_s: float) -> None:
        """A presence newer than all before it. Older versions name no run (0)."""
        if not life:
            return
        seen = self._seen.setdefault(peer, _Runs())
        is_return = life in seen.lives and next(reversed(seen.lives)) != life
        seen.lives.pop(life, None)
        seen.lives[life] = addresses
        if len(seen.lives) > LIVES_KEPT_MAX:
            del seen.lives[next(iter(seen.lives))]
        if is_return:
            is_old = now_s - seen.returned_s > TWINS_KEPT_S
            seen.returns = 1 if is_old else seen.returns + 1
            seen.returned_s = now_s

    def forget(self, peer: PeerId) -> None:
        """It is not a member any more."""
        self._seen.pop(peer, None)

    def is_double(self, peer: PeerId, now_s: float) -> bool:
        """Whether two machines speak with this key."""
        seen = self._seen.get(peer)
        if seen is None or seen.returns < RETURNS_MIN:
            return False
        return now_s - seen.returned_s <= TWINS_KEPT_S

    def twins(self, now_s: float) -> Mapping[PeerId, tuple[str, ...]]:
        """Keys that two machines have, and the addresses of the two."""
        doubles = sorted(peer for peer in self._seen if self.is_double(peer, now_s))
        return {peer: self._addresses(peer) for peer in doubles}

    def _addresses(self, peer: PeerId) -> tuple[str, ...]:
        last_two = list(self._seen[peer].lives.values())[-2:]
        return tuple(sorted({address for addresses in last_two for address in addresses}))
