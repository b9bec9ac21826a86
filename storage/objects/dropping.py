"""Objects given up whose holders have not all heard of it yet: kept until they have.

    dropping   lease -> DropRow

A holder that is away, frozen or full keeps its part; it is asked again when it is back. Whoever
gives its part up keeps our tombstone, and so do we: a machine that once had a part, which others
took over while it was away, is on nobody's list, and asks them before it makes more copies.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from p2p.ids import PeerId
from p2p.membership.view import Liveness, MemberChanged
from p2p.wire.codec import Record, encode
from p2p.wire.envelope import Signed
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from storage.errors import HolderFailedError, StoreFullError
from storage.facade import Forgotten, ObjectKind
from storage.holder.tombstones import whose
from storage.ids import Address, LeaseId
from storage.limits import DROPS_AT_ONCE
from storage.objects.keyring import PUTS, Keyring, KeyRow
from storage.transfer.parts import StorageParts

TABLE: Final = "dropping"

NOW_S: Final = 1.5
"""Whoever removes something waits so long for the holders; the others hear of it later."""

ASKED_AGAIN_S: Final = 30.0
"""How often living holders that did not take it are asked again."""

ASKED_AFTER_RETURN_S: Final = 0.5
"""One that comes back is asked so much later: several changes come at once."""

GIVEN_UP_KEPT: Final = 4096
"""Far more than are given up in the minutes in which a put is still told to those who were late."""

NO_ADDRESS: Final = Address(bytes(32))
"""Of a put that was cut off before its object had one."""


class DropRow(Record, frozen=True):
    """One object that was given up."""

    address: Address
    until_ms: int
    """By then its leases have ended everywhere (wall clock)."""
    holders: tuple[PeerId, ...]
    """All that may have had something of it."""
    waiting: tuple[PeerId, ...]
    """Those who have not said that they gave it up."""
    has_stone: tuple[PeerId, ...] = ()
    """Those who keep our tombstone."""
    size: int = 0
    """Plaintext of a put that was cut off, as far as it had come when it was last noted."""
    stone: Signed | None = None
    """The tombstone that all get at once, where another machine put it: that has to learn of it."""
    order: Signed | None = None
    """Of the lab's key, where it is not our owner's."""
    is_replaced: bool = False
    """A newer one has taken its place, as of copies of the keyring, some thousand a day: it leaves
    no tombstone, so that those of what a person removed stay."""


class Dropping:
    """The list of what is to be dropped, and who works it off."""

    def __init__(self, parts: StorageParts, tables: Tables) -> None:
        self._parts, self._tables = parts, tables
        self._wake = trio.Event()
        self._limiter = trio.CapacityLimiter(DROPS_AT_ONCE)
        self._lately: dict[Address, None] = {}
        """Given up since the start, the last GIVEN_UP_KEPT."""

    def rows(self) -> list[tuple[LeaseId, DropRow]]:
        """All that is not done yet."""
        pairs: list[tuple[bytes, bytes]] = []
        while more := self._tables.scan(TABLE, after=pairs[-1][0] if pairs else None):
            pairs += more
        return [(LeaseId(key), stored(DropRow, value, "store.lmdb")) for key, value in pairs]

    async def begin(
        self,
        address: Address,
        row: KeyRow,
        holders: Sequence[PeerId],
        books: Sequence[Keyring],
        note: Callable[[WriteView], None] = lambda _view: None,
    ) -> bool:
        """Out of the keyrings and onto the list, durable on return; False when it is gone already.

        `note` is written along with it.
        Raises StoreFullError when the disk has no room for that, not even the room set aside.
        """
        parts = self._parts
        kept_ms = int((parts.config.lease_s + parts.config.trash_s) * 1000)
        until_ms = max(row.until_ms, parts.wall_ms()) + kept_ms
        peers, is_replaced = tuple(holders), row.kind == ObjectKind.KEYRING
        drop = DropRow(address, until_ms, peers, peers, is_replaced=is_replaced)
        stone, ours = self._stone(row.lease, drop), whose(parts.owner, parts.lab)

        def apply(view: WriteView) -> bool:
            taken = [book.take_out(view, address) for book in books]
            if not any(taken):
                return False
            view.put(TABLE, row.lease, encode(drop))
            if stone is not None:
                parts.tombstones.write(view, row.lease, ours, stone, until_ms)
            note(view)
            return True

        is_begun = await self._tables.free(apply)
        if is_begun:
            self._note_given_up(address)
        return is_begun

    def is_given_up(self, address: Address) -> bool:
        """Whether an object of ours was given up lately: nobody is told of it any more."""
        return address in self._lately

    def _note_given_up(self, address: Address) -> None:
        self._lately[address] = None
        if len(self._lately) > GIVEN_UP_KEPT:
            del self._lately[next(iter(self._lately))]

    async def begin_anothers(
        self,
        address: Address,
        lease: LeaseId,
        holders: Sequence[PeerId],
        stone: Signed,
        order: Signed | None,
    ) -> None:
        """What another machine put goes onto the list, durable on return. Raises StoreFullError."""
        peers = tuple(holders)
        drop = DropRow(address, self.gone_by_ms(), peers, peers, stone=stone, order=order)
        await self._tables.free(lambda view: view.put(TABLE, lease, encode(drop)))

    def gone_by_ms(self) -> int:
        """When every lease that is taken or renewed until now is over everywhere."""
        kept_ms = int((self._parts.config.lease_s + self._parts.config.trash_s) * 1000)
        return self._parts.wall_ms() + kept_ms

    async def give_up(self, lease: LeaseId, peers: tuple[PeerId, ...], size: int) -> None:
        """Take a put that was cut off from its list onto this one. Raises StoreFullError."""
        until_ms = self._parts.wall_ms() + int(self._parts.config.lease_s * 1000)
        drop = DropRow(NO_ADDRESS, until_ms, peers, peers, size=size)

        def apply(view: WriteView) -> None:
            view.delete(PUTS, lease)
            view.put(TABLE, lease, encode(drop))

        await self._tables.free(apply)
        self._wake.set()

    async def try_now(self, lease: LeaseId) -> Forgotten:
        """Ask all living holders; returns when they have answered, or a moment later."""
        drop = self._row(lease)
        if drop is None:
            return Forgotten((), ())
        done = await self._ask(lease, drop, NOW_S)
        if set(done) < set(drop.waiting):
            self._wake.set()  # the others get our tombstone
        waiting = tuple(peer for peer in drop.waiting if peer not in done)
        return Forgotten(drop.holders, waiting)

    async def run(self) -> None:
        """Go on asking until cancelled."""
        while True:
            for lease, drop in self.rows():
                await self._go_on(lease, drop)
            with trio.move_on_after(ASKED_AGAIN_S):
                await self._wake.wait()
                await trio.sleep(ASKED_AFTER_RETURN_S)
            self._wake = trio.Event()

    def on_member(self, changed: MemberChanged) -> None:
        """Somebody may be back."""
        if changed.member.liveness is Liveness.ALIVE:
            self._wake.set()

    # -- inside

    async def _go_on(self, lease: LeaseId, drop: DropRow) -> None:
        if self._parts.wall_ms() >= drop.until_ms:
            await self._free(lambda view: view.delete(TABLE, lease))
            return
        if any(self._parts.pool.is_alive(peer) for peer in drop.waiting):
            await self._ask(lease, drop, self._parts.config.call_timeout_s)
        rest = self._row(lease)
        if rest is not None:
            await self._leave_stones(lease, rest)

    async def _ask(self, lease: LeaseId, drop: DropRow, within_s: float) -> list[PeerId]:
        """Who has given it up now; noted durably."""
        done: list[PeerId] = []
        alive = [peer for peer in drop.waiting if self._parts.pool.is_alive(peer)]
        stone = self._stone(lease, drop)

        async def ask(peer: PeerId) -> None:
            async with self._limiter:
                try:
                    await self._parts.transfer.drop_lease(peer, lease, stone, drop.order)
                except HolderFailedError as error:
                    if error.code != "not-yours":
                        return  # asked again
            done.append(peer)  # of what is not ours there, nothing is ours

        with trio.move_on_after(within_s):
            async with trio.open_nursery() as nursery:
                for peer in alive:
                    nursery.start_soon(ask, peer)
        if done:
            await self.note(lease, done=done, told=() if stone is None else done)
        return done

    def _stone(self, lease: LeaseId, drop: DropRow) -> Signed | None:
        """None of a put that was cut off: it has no address, and nobody else mends it."""
        if drop.stone is not None or drop.address == NO_ADDRESS or drop.is_replaced:
            return drop.stone
        return self._parts.tombstones.seal(lease, drop.address)

    async def _leave_stones(self, lease: LeaseId, drop: DropRow) -> None:
        """Those who have heard, before they were told with a tombstone, keep ours too."""
        stone = self._stone(lease, drop)
        if stone is None:
            return
        told: list[PeerId] = []
        for peer in drop.holders:
            if peer in (*drop.waiting, *drop.has_stone) or not self._parts.pool.is_alive(peer):
                continue
            try:
                await self._parts.transfer.drop_lease(peer, lease, stone)
            except HolderFailedError:
                continue
            told.append(peer)
        if told:
            await self.note(lease, told=told)

    def _row(self, lease: LeaseId) -> DropRow | None:
        data = self._tables.get(TABLE, lease)
        return None if data is None else stored(DropRow, data, "store.lmdb")

    async def note(
        self, lease: LeaseId, *, done: Sequence[PeerId] = (), told: Sequence[PeerId] = ()
    ) -> None:
        """In the row as it is now: who removes and who works the list off may both have asked."""

        def apply(view: WriteView) -> None:
            data = view.get(TABLE, lease)
            if data is None:
                return
            drop = stored(DropRow, data, "store.lmdb")
            left = tuple(peer for peer in drop.waiting if peer not in done)
            has_stone = tuple(dict.fromkeys((*drop.has_stone, *told)))
            if left:
                row = msgspec.structs.replace(drop, waiting=left, has_stone=has_stone)
                view.put(TABLE, lease, encode(row))
            else:
                view.delete(TABLE, lease)

        await self._free(apply)

    async def _free(self, apply: Callable[[WriteView], object]) -> None:
        try:
            await self._tables.free(apply)
        except StoreFullError:
            return  # they are asked once more than needed
