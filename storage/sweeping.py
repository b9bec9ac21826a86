"""Frees what is kept here under leases that have ended, where our time may end them."""

from collections.abc import Callable
from contextlib import suppress

import msgspec
import trio

from p2p.ids import PeerId
from storage.clocks.service import ClockWatch
from storage.config import StorageClass
from storage.errors import StoreFullError
from storage.holder.leases.book import LeaseBook
from storage.holder.leases.keys import lease_of
from storage.holder.leases.row import LeaseRow
from storage.ids import LeaseId, LeaseKey


class Sweeper(msgspec.Struct):
    """Of this machine."""

    me: PeerId
    clock: ClockWatch
    leases: LeaseBook
    wants: Callable[[LeaseId], bool]
    """Whether an object of ours is kept under that lease."""
    every_s: float
    swept_bytes: int = 0
    """Freed because a lease ended, since the start."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await trio.sleep(self.every_s)
            await self.clock.check()
            with suppress(StoreFullError):  # a full disk frees nothing: next time
                if self.clock.may_free():
                    self.swept_bytes += await self.leases.sweep(self._is_wanted)
                elif self.clock.may_free_ours():
                    self.swept_bytes += await self.leases.sweep(self._is_anothers)

    def _is_wanted(self, lease: LeaseKey, row: LeaseRow) -> bool:
        """What stands in our keyring is renewed by us: it never ends before we give it up."""
        return row.storage_class != StorageClass.SCRATCH and self.wants(lease_of(lease))

    def _is_anothers(self, lease: LeaseKey, row: LeaseRow) -> bool:
        return row.putter != self.me or self._is_wanted(lease, row)
