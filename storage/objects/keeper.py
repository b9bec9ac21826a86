"""Keeps our objects alive: renews their leases at every holder, long before they end."""

from contextlib import suppress

import trio

from p2p.ids import PeerId
from storage.config import StorageClass
from storage.errors import HolderFailedError, ManifestError, ObjectUnknownError, StoreFullError
from storage.ids import Address, LeaseId
from storage.objects.keyring import Keyring, KeyRow
from storage.transfer.parts import StorageParts

RENEWALS_AT_ONCE = 4

NAMED_S = 1.0
"""Who gives an object up does not wait longer to learn who has it: most of it is known here."""


class LeaseRenewer:
    """Renews what stands in the keyring; scratch objects are left to end."""

    def __init__(self, parts: StorageParts, keyring: Keyring) -> None:
        self._parts = parts
        self._keyring = keyring

    async def run(self) -> None:
        """Renew now and then until cancelled."""
        while True:
            await trio.sleep(self._parts.config.renew_s)
            await self.renew()

    async def renew(self) -> int:
        """Renew all leases at all living holders, one question each; objects that were renewed."""
        wanted: dict[PeerId, list[tuple[Address, LeaseId]]] = {}
        for address, row in await self._keyring.rows_in_steps():
            if row.storage_class != StorageClass.SCRATCH and not row.removed_ms:
                for peer in await self.holders(address, row):
                    wanted.setdefault(peer, []).append((address, row.lease))
        until_ms = self._parts.config.lease_ms(StorageClass.NORMAL, self._parts.wall_ms())
        renewed: dict[Address, None] = {}
        limiter = trio.CapacityLimiter(RENEWALS_AT_ONCE)

        async def ask(peer: PeerId, pairs: list[tuple[Address, LeaseId]]) -> None:
            async with limiter:
                try:
                    known = await self._parts.transfer.renew(peer, [p[1] for p in pairs], until_ms)
                except HolderFailedError:
                    return  # there are many more chances before the lease ends
            renewed.update(
                (p[0], None) for p, is_known in zip(pairs, known, strict=True) if is_known
            )

        async with trio.open_nursery() as nursery:
            for peer, pairs in wanted.items():
                nursery.start_soon(ask, peer, pairs)
        if renewed:
            with suppress(StoreFullError):  # the holders know; we note it when we renew again
                await self._keyring.renewed(list(renewed), until_ms)
        return len(renewed)

    async def renew_one(self, address: Address, row: KeyRow) -> None:
        """Renew the leases of one object at all living holders; who fails gets the next chance."""
        until_ms = self._parts.config.lease_ms(row.storage_class, self._parts.wall_ms())

        async def ask(peer: PeerId) -> None:
            with suppress(HolderFailedError):
                await self._parts.transfer.renew(peer, [row.lease], until_ms)

        async with trio.open_nursery() as nursery:
            for peer in await self.holders(address, row):
                nursery.start_soon(ask, peer)

    async def holders(self, address: Address, row: KeyRow) -> list[PeerId]:
        """Living machines that keep something of an object: shards, manifest or records.

        Those that took it when it was put are among them, whatever records say by now.
        """
        pool = self._parts.pool
        peers = dict.fromkeys([*await self._named(address), *row.holders])
        return [peer for peer in peers if pool.is_alive(peer)]

    async def everybody(self, address: Address, row: KeyRow) -> list[PeerId]:
        """All that may keep something of an object, living or not, as far as is known soon."""
        return list(dict.fromkeys([*row.holders, *await self.named(address)]))

    async def named(self, address: Address) -> list[PeerId]:
        """The same of an object that was put elsewhere."""
        named: list[PeerId] = []
        with trio.move_on_after(NAMED_S):
            named = await self._named(address)
        return list(dict.fromkeys([*named, *self._parts.catalog.homes(address)]))

    async def _named(self, address: Address) -> list[PeerId]:
        catalog = self._parts.catalog
        peers = dict.fromkeys(catalog.homes(address))
        with suppress(ManifestError, ObjectUnknownError):
            manifest = await catalog.manifest(address)
            for page in range(manifest.page_count):
                holding = await catalog.holding(address, manifest, page)
                if holding is not None:
                    peers.update(dict.fromkeys(holding.peers()))
        return list(peers)

    async def drop(self, lease: LeaseId, peers: list[PeerId]) -> None:
        """Drop a lease at these machines; whom we cannot reach lets it end by itself."""

        async def ask(peer: PeerId) -> None:
            try:
                await self._parts.transfer.drop_lease(peer, lease)
            except HolderFailedError:
                return

        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(ask, peer)
