"""What was given up while we were away: learnt from those who heard, and freed here."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import trio

from p2p.effects import Rng
from p2p.errors import WireError
from p2p.ids import PeerId
from p2p.wire.envelope import Signed
from storage.errors import HolderFailedError, StoreFullError
from storage.holder.leases.book import LeaseBook
from storage.holder.leases.given_up import EVERYBODY
from storage.holder.leases.keys import lease_of
from storage.holder.tombstones import Tombstones
from storage.ids import Address, LeaseId, LeaseKey
from storage.limits import ASKED_AT_ONCE, ASKED_MAX
from storage.placement.pool import Pool
from storage.records.holders import HolderBook
from storage.repair.events import PageKey
from storage.transfer.client import Transfer
from storage.transfer.lookup import ASKED_BY_DICE, LATE_S, Catalog


class DroppedElsewhere(msgspec.Struct):
    """Asks for tombstones of what we keep."""

    pool: Pool
    holders: HolderBook
    leases: LeaseBook
    catalog: Catalog
    transfer: Transfer
    tombstones: Tombstones
    on_stone: Callable[[LeaseId, Signed], Awaitable[None]]
    """Told of each that was taken: of an object of ours, perhaps."""
    dropped: int = 0
    """Objects freed because their owner had given them up, since the start."""

    async def learn_all(self, dice: Rng | None) -> None:
        """Ask about everything kept here: everybody alive, or with `dice` a few."""
        peers = [peer for peer in self.pool.alive() if peer != self.pool.me]
        if dice is not None:
            peers = dice.sample(peers, min(ASKED_BY_DICE, len(peers)))
        kept = dict.fromkeys(lease_of(key) for key, row in self.leases.all() if not row.is_hold)
        await self._learn(list(kept), peers)

    async def was_given_up(self, page: PageKey) -> bool:
        """Whether its owner no longer wants it: what we have is freed, now or by the sweep.

        Raises ManifestError, ObjectUnknownError.
        """
        address, number = page
        lease = (await self.catalog.manifest(address)).lease
        if not self.leases.is_of(lease, address):
            return False
        if self.leases.has_ended(lease, address):
            return True  # we were away for longer than anybody remembers
        return await self._is_dropped(address, number, lease)

    async def _is_dropped(self, address: Address, page: int, lease: LeaseId) -> bool:
        """Ask those who would know of one object; True when it was freed here just now."""
        holding = self.holders.get(address, page)
        named = () if holding is None else holding.peers()
        peers = dict.fromkeys([*named, *self.catalog.homes(address)])
        await self._learn([lease], [peer for peer in peers if peer != self.pool.me])
        return not self.leases.is_of(lease, address)

    async def _learn(self, leases: Sequence[LeaseId], peers: Sequence[PeerId]) -> None:
        asked = [peer for peer in peers if self.pool.is_alive(peer)][:ASKED_MAX]
        if not leases or not asked:
            return
        limiter = trio.CapacityLimiter(ASKED_AT_ONCE)
        dropped: dict[LeaseKey, Signed] = {}

        async def ask(peer: PeerId) -> None:
            async with limiter:
                try:
                    stones = await self.transfer.ask_dropped(peer, leases)
                except HolderFailedError:
                    return  # the others may know
            for sealed in stones:
                self._take(sealed, dropped)

        with trio.move_on_after(self._patience_s(len(leases))):
            async with trio.open_nursery() as nursery:
                for peer in asked:
                    nursery.start_soon(ask, peer)
        for key, sealed in dropped.items():
            await self._free(key, sealed)

    def _patience_s(self, leases: int) -> float:
        """A frozen machine is not waited for; many questions take their time."""
        return LATE_S + leases / 1000

    def _take(self, sealed: Signed, dropped: dict[LeaseKey, Signed]) -> None:
        try:
            lease = self.tombstones.open(sealed).lease
        except WireError:
            return
        for key, row in self.leases.rows(lease):
            if self.tombstones.binds(sealed, lease, row) and self.tombstones.names(sealed, key):
                dropped[key] = sealed

    async def _free(self, key: LeaseKey, sealed: Signed) -> None:
        stone = self.tombstones.open(sealed)
        row = next((row for row_key, row in self.leases.rows(stone.lease) if row_key == key), None)
        try:
            await self.leases.drop_one(key, given=EVERYBODY, tombstone=sealed)
        except StoreFullError:
            return
        self.catalog.forget(stone.address)
        self.dropped += 1
        if row is not None:
            self.tombstones.note(sealed, row, self.pool.me)
        await self.on_stone(stone.lease, sealed)
