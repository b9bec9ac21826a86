"""Asking the holders of a name: all of them at once, until enough have answered."""

from collections.abc import Callable
from typing import Final

import trio

from p2p.errors import (
    CallTimeoutError,
    PeerUnreachableError,
    RemoteRefusalError,
    WireError,
)
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass
from p2p.membership.port import Views
from p2p.membership.view import Liveness, View
from p2p.wire.codec import Message
from storage.records.names.config import NamesConfig
from storage.records.names.core import (
    Holders,
    NamePool,
    Poll,
    counted_members,
    pool_of,
    with_remembered,
)
from storage.records.names.messages import NameHeld
from storage.records.names.rights import NameRights

RETURNED_S: Final = 10.0
"""Names are handed over within this to holders that have come back: a look every 2 s finds them."""


class NameAsker:
    """Knows who holds what, and asks them; what they answer is checked before it counts."""

    def __init__(self, rpc: Rpc, members: Views, rights: NameRights, config: NamesConfig) -> None:
        self._rpc, self._members, self._rights, self._config = rpc, members, rights, config
        self._nursery: trio.Nursery | None = None
        """Of NameService.run: questions go on when enough have answered. None before."""
        self._remembered: tuple[PeerId, ...] = ()
        """Among whom names were spread when the last run wrote it down."""
        self._started_s = 0.0
        """When `begin` was called: the remembered count for a while after that."""
        self._given_up: frozenset[PeerId] = frozenset()
        """Dead for so long that somebody may have decided without them."""
        self._returned_s: dict[PeerId, float] = {}
        """Those of them that came back, and when."""

    def begin(self, nursery: trio.Nursery, remembered: tuple[PeerId, ...]) -> None:
        """Ask within that nursery from now on; names were spread among the remembered before."""
        self._nursery, self._remembered = nursery, remembered
        self._started_s = trio.current_time()

    def holders(self, key: bytes) -> Holders:
        """Who holds a name now, by our view."""
        return self._pool(self._members.view(), trio.current_time()).holders(key)

    def look(self) -> NamePool:
        """Note who has come back, and say among whom names are spread, by our view."""
        view, now_s = self._members.view(), trio.current_time()
        self._note_returned(view, now_s)
        return self._pool(view, now_s)

    def _pool(self, view: View, now_s: float) -> NamePool:
        config = self._config
        counted = counted_members(view, now_s, config.down_after_s)
        running_s = now_s - self._started_s
        members = with_remembered(counted, view, self._remembered, running_s, config.down_after_s)
        return pool_of(members, view, now_s, config.given_up_after_s, self._started_s)

    def _note_returned(self, view: View, now_s: float) -> None:
        dead_s = {m.peer: now_s - m.since_s for m in view.members if m.liveness is Liveness.DEAD}
        for peer in self._given_up - dead_s.keys():
            self._returned_s[peer] = now_s
        patience_s = self._config.given_up_after_s
        self._given_up = frozenset(peer for peer, one_s in dead_s.items() if one_s >= patience_s)
        for peer in [p for p, at_s in self._returned_s.items() if at_s + RETURNED_S <= now_s]:
            del self._returned_s[peer]

    async def _let_them_hear(self, key: bytes) -> NamePool:
        """Many holders have come back: what was decided without them they are told now."""
        while (pool := self.look()).may_miss(key, self._returned_s):
            asked = pool.holders(key).asked
            back_s = [at_s for peer, at_s in self._returned_s.items() if peer in asked]
            await trio.sleep_until(max(back_s) + RETURNED_S)
        return pool

    async def ask(self, key: bytes, request: Message, enough: Callable[[Poll], bool]) -> Poll:
        """Ask everybody; returns when it is enough, or all have answered or failed.

        The remaining questions go on: so that those who are late learn of the record too.
        """
        if self._nursery is None:
            raise RuntimeError("NameService.run must be started before names are used")
        pool = await self._let_them_hear(key)
        poll = Poll(key, pool.holders(key))
        view, done = self._members.view(), trio.Event()
        dead = [m.peer for m in view.members if m.liveness is Liveness.DEAD and m.peer != view.me]
        asked = [peer for peer in poll.holders.asked if peer not in dead]
        poll.waiting = len(asked)
        if not asked:
            return poll

        async def ask(peer: PeerId) -> None:
            held = await self.ask_one(peer, key, request)
            poll.waiting -= 1
            if held is not None and not done.is_set():
                poll.answers[peer] = held
            if enough(poll) or poll.waiting == 0:
                done.set()

        for peer in asked:
            self._nursery.start_soon(ask, peer)
        await done.wait()
        return poll

    async def ask_one(self, peer: PeerId, key: bytes, request: Message) -> NameHeld | None:
        """What one of them answers, or None when that is nothing that can be trusted."""
        try:
            return await self.tell_one(peer, key, request)
        except (PeerUnreachableError, CallTimeoutError, RemoteRefusalError, WireError):
            return None  # the others decide

    async def tell_one(self, peer: PeerId, key: bytes, request: Message) -> NameHeld:
        """What one of them answers.

        Raises PeerUnreachableError, CallTimeoutError, RemoteRefusalError, WireError for a lie.
        """
        held, _ = await self._rpc.call(
            peer, request, NameHeld,
            traffic_class=TrafficClass.INTERACTIVE, timeout_s=self._config.call_timeout_s,
        )  # fmt: skip
        self._rights.check_state(key, held.state)
        return held
