"""Tells the holders of names what was decided when others held them.

One look at all names that are kept here. Who does not answer once is told nothing more in it, so
that it holds up nobody; who refuses one record is told of the others. A look ends when the members
have changed again, and the next one begins where it ended: so none is left out for ever.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RemoteRefusalError, WireError
from p2p.ids import PeerId
from p2p.wire.codec import Message
from storage.records.names.core import NamePool
from storage.records.names.messages import NameAccept, NameHeld, NameState

FINAL: Final = frozenset({"corrupt", "expired", "not-yours", "too-long"})
"""What is refused so will never be taken."""
AT_ONCE: Final = 16
"""Names: each is a round trip to all its holders."""


class Asker(Protocol):
    """The part of NameAsker that is needed here."""

    def look(self) -> NamePool: ...

    async def tell_one(self, peer: PeerId, key: bytes, request: Message) -> NameHeld: ...


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
        start: bytes | None = None,
    ) -> None:
        """`page` gives the next few names after a key; `whom`: nobody else need be told.

        `start`: all names after this key come first.
        """
        self._me, self._asker, self._page = me, asker, page
        self._olds, self._new, self._whom = olds, new, whom
        self._start = self.reached = start
        """The last name that was looked at."""
        self.told = 0
        """Records that others have taken."""
        self._silent: set[PeerId] = set()
        """Who is dead or did not answer once: they hear nothing more in this look."""
        self._later: set[PeerId] = set()
        """Who had no room, or no time, for something."""

    async def run(self) -> frozenset[PeerId]:
        """Who could not be told everything."""
        limiter = trio.CapacityLimiter(AT_ONCE)

        async def hand_over(key: bytes, state: NameState) -> None:
            async with limiter:
                await self._tell_all(key, state)

        for page in self._pages():
            if self._asker.look().decides != self._new.decides:
                return frozenset(self._new.members) - {self._me}
            async with trio.open_nursery() as nursery:
                for key, state in page:
                    nursery.start_soon(hand_over, key, state)
            self.reached = page[-1][0]
        self.reached = None
        return frozenset(self._silent | self._later)

    def _pages(self) -> Iterator[list[tuple[bytes, NameState]]]:
        """Everything once: from `start` to the end, then what lies before it."""
        after = self._start
        while page := self._page(after):
            yield page
            after = page[-1][0]
        after = None
        while self._start and (page := self._page(after)):
            before = [row for row in page if row[0] <= self._start]
            if before:
                yield before
            if len(before) < len(page):
                return
            after = page[-1][0]

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
            for peer in whom:
                if self._whom is not None and peer not in self._whom:
                    continue
                if peer in self._new.dead:
                    self._silent.add(peer)
                elif peer not in self._silent:
                    nursery.start_soon(self._tell, peer, key, request)

    def _is_ours(self, old: NamePool, key: bytes, after: Sequence[PeerId]) -> bool:
        """So many of the old holders tell that one of them knows what was decided."""
        before, new = old.holders(key), self._new
        if before.asked == after:
            return False
        here = [peer for peer in before.asked if peer in new.members and peer not in new.dead]
        return self._me in here[: max(2, before.majority)]

    async def _tell(self, peer: PeerId, key: bytes, request: NameAccept) -> None:
        try:
            held = await self._asker.tell_one(peer, key, request)
        except (PeerUnreachableError, CallTimeoutError):
            self._silent.add(peer)
        except RemoteRefusalError as refusal:
            if refusal.code not in FINAL:
                self._later.add(peer)
        except WireError:
            return  # it lies: others know better
        else:
            self.told += held.done  # else it has promised a newer one
