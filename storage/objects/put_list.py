"""Puts that are under way, written down: those that a crash cut off are given up by the next start.

    puts   lease -> PutRow

Without that their holders keep the bytes until the holds end, minutes after the put's last word.
"""

from collections.abc import Callable
from typing import Final

import trio

from p2p.ids import PeerId
from p2p.wire.codec import Record, encode
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from storage.errors import HolderFailedError, StoreFullError
from storage.ids import LeaseId
from storage.limits import CANDIDATES_MAX
from storage.objects.dropping import Dropping
from storage.objects.keyring import PUTS
from storage.objects.writer import ObjectWriter
from storage.placement.rendezvous import rendezvous
from storage.transfer.parts import StorageParts

HOLDS_PER_TERM: Final = 4
"""Holds are renewed this often in the time that they last."""


class PutRow(Record, frozen=True):
    """One put that has begun."""

    began_ms: int
    size: int = 0
    """Plaintext taken in when it was last written."""


class PutList:
    """Keeps the list, and the holds of what is on it."""

    def __init__(self, parts: StorageParts, tables: Tables, dropping: Dropping) -> None:
        self._parts, self._tables, self._dropping = parts, tables, dropping

    async def begin(self, lease: LeaseId) -> None:
        """Write a put down. It goes from the list with the commit that makes its object ours."""
        data = encode(PutRow(self._parts.wall_ms()))
        await self._change(lambda view: view.put(PUTS, lease, data))

    async def note(self, lease: LeaseId, size: int) -> None:
        """How far a put has come, unless it has ended while this was on its way.

        Written then, the row would have the next start give up an object that is ours by now.
        """
        data = encode(PutRow(self._parts.wall_ms(), size))

        def apply(view: WriteView) -> None:
            if view.get(PUTS, lease) is not None:
                view.put(PUTS, lease, data)

        await self._change(apply)

    async def end(self, lease: LeaseId) -> None:
        """It failed, and whoever could be told has been."""
        try:
            await self._tables.free(lambda view: view.delete(PUTS, lease))
        except StoreFullError:
            return  # the next start gives it up once more

    async def hold(self, put: ObjectWriter) -> None:
        """Keep what was put so far from ending, for as long as the put goes on."""
        while True:
            await trio.sleep(self._parts.config.hold_s / HOLDS_PER_TERM)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.note, put.lease, put.size)
                for peer in put.asked:
                    nursery.start_soon(self._hold_at, peer, put.lease)

    def left(self) -> list[tuple[LeaseId, PutRow]]:
        """What an earlier run did not finish; ask before the first put begins."""
        rows = self._tables.scan(PUTS)
        return [(LeaseId(key), stored(PutRow, row, "store.lmdb")) for key, row in rows]

    async def give_up(self, left: list[tuple[LeaseId, PutRow]]) -> None:
        """Drop those puts at their holders, at those that are away when they are back."""
        if not left:
            return
        while not self._parts.arrival.is_settled():  # noqa: ASYNC110 - many things settle it
            await trio.sleep(0.5)
        for lease, row in left:
            usable = rendezvous(lease, self._parts.pool.usable())[:CANDIDATES_MAX]
            there = [self._parts.pool.me, *(candidate.peer for candidate in usable)]
            peers = dict.fromkeys([*there, *self._parts.arrival.remembered[:CANDIDATES_MAX]])
            try:
                await self._dropping.give_up(lease, tuple(peers), row.size)
            except StoreFullError:
                return  # the next start tries again

    async def _change(self, apply: Callable[[WriteView], None]) -> None:
        try:
            await self._tables.transact(apply)
        except StoreFullError:
            return  # the put will say so itself

    async def _hold_at(self, peer: PeerId, lease: LeaseId) -> None:
        try:
            await self._parts.transfer.hold(peer, lease)
        except HolderFailedError:
            return  # there are more chances before it ends
