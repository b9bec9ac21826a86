"""When the members have changed, the new holders of names are told what the old ones decided.

A change is a hand-over to everybody; who could not be told everything is told again, ever more
rarely. Among whom names are spread is written down, for the next start.
"""

from contextlib import suppress
from typing import Final

import trio

from p2p.ids import PeerId
from storage.errors import StoreFullError
from storage.records.names.asker import NameAsker
from storage.records.names.config import NamesConfig
from storage.records.names.core import NamePool
from storage.records.names.handing_over import NameHandOver
from storage.records.names.holder import NameHolder

POOLS_OWED_MAX: Final = 8
"""Pools one after another, none of which was handed over whole: as many machines came and went."""
HANDED_AGAIN_S: Final = 10.0
"""Until the same is handed over again to who could not be told; twice as long each time ..."""
HANDED_AGAIN_MAX_S: Final = 300.0


class NameSuccession:
    """By this machine, of the names that it keeps."""

    def __init__(
        self, me: PeerId, asker: NameAsker, holder: NameHolder, config: NamesConfig
    ) -> None:
        self._me, self._asker, self._holder, self._config = me, asker, holder, config
        self.handed_over = 0
        """Records that others took from us, as they hold the name now, since the start."""
        self._owed: list[NamePool] = []
        """Pools of before, what was decided in which some holders have not been told, and last the
        present one; never empty while `run` runs."""
        self._written: tuple[PeerId, ...] | None = None
        """Members as they were written down last."""
        self._untold: frozenset[PeerId] = frozenset()
        """Who could not be told everything by the last hand-over."""
        self._reached: bytes | None = None
        """Where that one ended; None: it looked at every name."""
        self._pause_s, self._again_s = HANDED_AGAIN_S, 0.0
        """How long they wait the next time, and when they are told again."""

    async def run(self) -> None:
        """Look at the pool until cancelled, and hand over what is owed."""
        self._owed = [self._asker.look()]
        while True:
            await self._look(self._asker.look())
            await trio.sleep(self._config.watch_s)

    async def _look(self, present: NamePool) -> None:
        if present.members != self._written:
            with suppress(StoreFullError):  # written down once there is room
                await self._holder.remember(present.members)
                self._written = present.members
        is_new = present.decides != self._owed[-1].decides
        if is_new:
            self._owed, self._pause_s = [*self._owed[-POOLS_OWED_MAX:], present], HANDED_AGAIN_S
        if is_new or (len(self._owed) > 1 and self._can_be_told(present)):
            await self._hand_over(present, None if is_new else self._untold)

    def _can_be_told(self, present: NamePool) -> bool:
        """Whether it is time to try again with those who were left out, and one of them lives."""
        return bool(self._untold - present.dead) and trio.current_time() >= self._again_s

    async def _hand_over(self, present: NamePool, whom: frozenset[PeerId] | None) -> None:
        work = NameHandOver(
            self._me,
            self._asker,
            self._holder.page,
            olds=self._owed[:-1],
            new=present,
            whom=whom,
            start=self._reached,
        )
        self._untold, self._reached = await work.run(), work.reached
        self.handed_over += work.told
        self._again_s = trio.current_time() + self._pause_s
        self._pause_s = min(2 * self._pause_s, HANDED_AGAIN_MAX_S)
        if not self._untold:
            self._owed = [present]
