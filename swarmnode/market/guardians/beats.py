"""Beats to the other keepers, numbered: an answer proves what was so when its beat was said."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from p2p.effects import Send
from p2p.ids import PeerId
from swarmnode.limits import GUARD_LINES_MAX
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.messages import GuardBeat, GuardHeard, GuardLine

_KEPT: Final = 16
"""Rounds of beats whose answers count: with 5 s between two, far longer than any lease."""


class Beats:
    """What we said last, and when."""

    def __init__(self) -> None:
        self._number = 0
        """Of the newest round; the first is 1, and 0 stands for none."""
        self._said_s: dict[int, float] = {}
        """When each of the newest rounds was said; _KEPT of them."""

    def beat(self, lines: Mapping[PeerId, Sequence[GuardLine]], now_s: float) -> list[g.Effect]:
        """One round: to each keeper what we do for the tasks it keeps."""
        self._number += 1
        self._said_s[self._number] = now_s
        if len(self._said_s) > _KEPT:
            del self._said_s[next(iter(self._said_s))]
        return [
            Send(peer, GuardBeat(self._number, tuple(mine[at : at + GUARD_LINES_MAX])))
            for peer, mine in lines.items()
            for at in range(0, len(mine), GUARD_LINES_MAX)
        ]

    def answers(self, lines: Mapping[PeerId, Sequence[GuardLine]]) -> list[g.Effect]:
        """What we hold, to who has not asked."""
        return [
            Send(peer, GuardHeard(0, tuple(mine[at : at + GUARD_LINES_MAX])))
            for peer, mine in lines.items()
            for at in range(0, len(mine), GUARD_LINES_MAX)
        ]

    def said_s(self, number: int) -> float:
        """When a round was said; long ago for one that is not known."""
        return self._said_s.get(number, -inf)
