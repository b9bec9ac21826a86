"""Tells the holders of names what was decided when others held them.

One look at all names that are kept here. Who does not answer once is told nothing more in it, so
that it holds up nobody; and it ends when the members have changed again.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from p2p.ids import PeerId
from p2p.wire.codec import Message
from storage.records.names.core import NamePool
from storage.records.names.messages import NameAccept, NameHeld, NameState

AT_ONCE: Final = 16
"""Names: each is a round trip to all its holders."""


class Asker(Protocol):
    """The part of NameClient that is needed here."""

    def pool(self) -> NamePool: ...

    async def ask_one(self, peer: PeerId, key: bytes, request: Message) -> NameHeld | None: ...


class NameHandOver:
    """From the pools of before to the present one, by this machine."""

    def __init__(
        self,
        me: PeerId,
        asker: Asker,
        page: Callable[[bytes | None], list[tuple[bytes, NameState]]],
        olds: Sequence[NamePool],
        new: NamePool,
        whom: frozenset[PeerId] | None,
    ) -> None:
        """`page` gives the next few names after a key; `whom`: nobody else need be told."""
        self._me, self._asker, self._page = me, asker, page
        self._olds, self._new, self._whom = olds, new, whom
        self.told = 0
        """Records that others have taken."""
        self._untold: set[PeerId] = set()
        """Holders that are dead or did not answer once: they hear nothing more in this look."""

    async def run(self) -> frozenset[PeerId]:
        """Who could not be told everything."""
        after: bytes | None = None
        limiter = trio.CapacityLimiter(AT_ONCE)

        async def one(key: bytes, state: NameState) -> None:
            async with limiter:
                await self._tell_all(key, state)

        while page := self._page(after):
            if self._asker.pool().decides != self._new.decides:
                return frozenset(self._new.members) - {self._me}
            async with trio.open_nursery() as nursery:
                for key, state in page:
                    nursery.start_soon(one, key, state)
            after = page[-1][0]
        return frozenset(self._untold)

    async def _tell_all(self, key: bytes, state: NameState) -> None:
        await trio.lowlevel.checkpoint()
        if state.accepted is None or state.sealed is None:
            return
        after = self._new.holders(key).asked
        if not any(self._is_ours(old, key, after) for old in self._olds):
            return
        whom = [peer for peer in after if peer != self._me]
        request = NameAccept(state.accepted, state.sealed, state.accept_claim)
        async with trio.open_nursery() as nursery:
            for peer in whom if self._whom is None else self._whom.intersection(whom):
                if peer in self._new.dead:
                    self._untold.add(peer)
                elif peer not in self._untold:
                    nursery.start_soon(self._tell, peer, key, request)

    def _is_ours(self, old: NamePool, key: bytes, after: Sequence[PeerId]) -> bool:
        """So many of the old holders tell that one of them knows what was decided."""
        before, new = old.holders(key), self._new
        if before.asked == after:
            return False
        here = [peer for peer in before.asked if peer in new.members and peer not in new.dead]
        return self._me in here[: max(2, before.majority)]

    async def _tell(self, peer: PeerId, key: bytes, request: NameAccept) -> None:
        if await self._asker.ask_one(peer, key, request) is None:
            self._untold.add(peer)
        else:
            self.told += 1
