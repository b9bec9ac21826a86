"""After a start: who lent storage when we last ran, and has each of them been heard of again?

A node that has just started sees itself alone for a moment. Whatever was put then would have one
copy only and be called safe, so a put waits until the pool is known again, or says that it is not.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from p2p.gossip.items import STORAGE
from p2p.gossip.port import ItemBoard
from p2p.ids import PeerId
from p2p.membership.port import Members
from p2p.membership.view import Liveness
from storage.engine.port import Tables
from storage.errors import PoolUnknownError, StoreFullError
from storage.limits import LENDERS_REMEMBERED_MAX, POOL_SETTLES_S
from storage.placement.pool import Pool

TABLE: Final = "pool"
KEY: Final = b"lenders"
"""Ids of the machines that lent storage when this was last written, separated by blanks."""

SETTLING_LOOK_S: Final = 0.05
"""How often a put that waits looks again: nothing beside what joining takes."""

REMEMBER_S: Final = 1.0
"""A changed pool is written down this often: a joining swarm changes many times at once."""


class Arrival:
    """Tells when the pool can be judged after a start."""

    def __init__(
        self,
        tables: Tables,
        members: Members,
        gossip: ItemBoard,
        pool: Pool,
        waits_for_others: Callable[[], bool],
    ) -> None:
        """`waits_for_others`: whether a first other member is still being looked for."""
        self._tables, self._members, self._gossip = tables, members, gossip
        self._pool, self._waits_for_others = pool, waits_for_others
        self._remembered: tuple[PeerId, ...] = ()
        """Who lent storage when that was last written down by an earlier run."""
        self._until_s = 0.0
        """Beyond this time whoever was not heard of counts as silent."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep in mind who lends, for the next start, until cancelled."""
        packed = self._tables.get(TABLE, KEY)
        self._remembered = tuple(map(PeerId, packed.decode().split())) if packed else ()
        self._until_s = trio.current_time() + POOL_SETTLES_S
        task_status.started()
        written = self._remembered
        while True:
            await trio.sleep(REMEMBER_S)
            if trio.current_time() < self._until_s and self.unheard():
                continue  # what we know by now is less than what we remember
            lenders = self._lenders()
            if lenders != written:
                with suppress(StoreFullError):  # a convenience: written once there is room
                    await self._remember(lenders)
                    written = lenders

    @property
    def remembered(self) -> tuple[PeerId, ...]:
        """Who lent storage when the last run ended."""
        return self._remembered

    @property
    def until_s(self) -> float:
        """Whoever was not heard of counts as silent from then on, on our clock."""
        return self._until_s

    def is_settled(self) -> bool:
        """Whether the pool is known by now."""
        is_over = trio.current_time() >= self._until_s
        return is_over or not (self.unheard() or self._is_looking())

    async def settled(self) -> None:
        """Return once the pool is known. Raises PoolUnknownError when it still is not in the end.

        Later, whoever has not been heard of counts as silent.
        """
        while trio.current_time() < self._until_s:
            unheard = self.unheard()
            if not unheard and not self._is_looking():
                return
            await trio.sleep(SETTLING_LOOK_S)
            if trio.current_time() >= self._until_s:
                raise PoolUnknownError(len(unheard))

    def unheard(self) -> tuple[PeerId, ...]:
        """Of whom we do not know yet whether they live, or what they lend."""
        view, adverts = self._members.view(), self._gossip.items(STORAGE)
        missing: dict[PeerId, None] = {}
        for peer in self._remembered:
            member = view.find(peer)
            if member is None or member.liveness is Liveness.SUSPECT:
                missing[peer] = None
        silent = (m.peer for m in view.alive() if m.peer not in adverts)
        missing.update(dict.fromkeys(silent))
        missing.pop(view.me, None)
        return tuple(missing)

    def _is_looking(self) -> bool:
        is_alone = all(peer == self._pool.me for peer in self._pool.alive())
        return is_alone and self._waits_for_others()

    def _lenders(self) -> tuple[PeerId, ...]:
        others = [c.peer for c in self._pool.usable() if c.peer != self._pool.me]
        return tuple(others[:LENDERS_REMEMBERED_MAX])

    async def _remember(self, lenders: tuple[PeerId, ...]) -> None:
        packed = " ".join(lenders).encode()
        await self._tables.transact(lambda view: view.put(TABLE, KEY, packed))
