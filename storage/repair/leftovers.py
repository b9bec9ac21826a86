"""Manifests of which nothing is left anywhere: told to us late, of an object that was given up.

A home has them without a shard: offered again after a put, or by a mending, just as the object's
owner gave it up. A copy of the keyring that the next one replaced leaves no tombstone, so that
nobody could ever tell us. Nothing is guessed: every machine that the record names lives and says
that it has nothing, and so do the others whom a reader would ask, as any holder may write a record
that leaves the rest out. Who is in no record and away has the manifest with its shard, and brings
both back. In doubt it stays until its lease ends.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from p2p.ids import PeerId
from storage.errors import HolderFailedError, ManifestError, ObjectUnknownError, StoreFullError
from storage.holder.leases.book import LeaseBook
from storage.ids import Address
from storage.limits import ASKED_MAX
from storage.manifests.manifest import Manifest
from storage.messages import REMOVED
from storage.placement.pool import Pool
from storage.placement.rendezvous import peers_in_order
from storage.records.holding import Holding
from storage.records.wider import Placed
from storage.repair.events import PageKey
from storage.transfer.client import Transfer
from storage.transfer.lookup import Catalog

_MISSING: Final = ("missing", REMOVED)
"""What those say who answer, and have no such manifest."""


class Leftovers(msgspec.Struct):
    """Frees what we keep of an object of which all its holders say that they have nothing."""

    pool: Pool
    leases: LeaseBook
    catalog: Catalog
    transfer: Transfer
    freed: int = 0
    """Objects of which a manifest was freed here, since the start."""

    async def clear(self, page: PageKey) -> None:
        """Ask of one page of which we hold nothing, and free its object if nobody has any."""
        address, number = page
        try:
            manifest = await self.catalog.manifest(address)
            if not self._is_anothers(address, manifest):
                return
            with self.leases.judging(manifest.lease, address) as judged:
                holding = await self.catalog.agreed(address, manifest, number)
                if holding is None or not await self._is_gone(manifest, holding):
                    return
                await self.leases.drop(manifest.lease, address, judged)
            if self.leases.is_of(manifest.lease, address):
                return  # a shard of it has come meanwhile
        except (HolderFailedError, ManifestError, ObjectUnknownError, StoreFullError):
            return  # nobody can tell us now: asked again later
        self.catalog.forget(address)
        self.freed += 1

    def _is_anothers(self, address: Address, manifest: Manifest) -> bool:
        """Whether we keep a manifest alone, and did not put the object."""
        row = self.leases.row(manifest.lease, address)
        is_of = self.leases.is_of(manifest.lease, address)  # not: of whoever made it up
        if row is None or not is_of or row.putter == self.pool.me:
            return False
        return not self.leases.roots(manifest.lease, address)

    async def _is_gone(self, manifest: Manifest, holding: Holding) -> bool:
        """Whether all holders live and have neither shards nor manifest, nor has anybody else any
        shard. Raises as `clear`."""
        named = [peer for peer in self.catalog.homes(holding.address) if peer != self.pool.me]
        peers = holding.peers() or named
        if self.pool.me in peers or not all(self.pool.is_alive(peer) for peer in peers):
            return False
        address = holding.address
        places = await self.catalog.placed(address, manifest, holding.page, holding)
        for peer in peers:
            roots = [
                root
                for place in places
                for root, holder in zip(place.roots, place.row, strict=True)
                if holder == peer
            ]
            if await self._has_manifest(peer, address) or any(
                await self.transfer.have(peer, roots)
            ):
                return False
        return not await self._has_anybody(address, places, peers)

    async def _has_anybody(
        self, address: Address, places: Sequence[Placed], asked: Sequence[PeerId]
    ) -> bool:
        """Whether one whom a reader would ask, and who is not asked yet, has a shard of these.

        Raises HolderFailedError: one does not say.
        """
        known = (*asked, self.pool.me)
        others = [peer for peer in peers_in_order(address, self.pool.alive()) if peer not in known]
        roots = list(dict.fromkeys(root for place in places for root in place.roots))
        for peer in others[:ASKED_MAX]:
            if any(await self.transfer.have(peer, roots)):
                return True
        return False

    async def _has_manifest(self, peer: PeerId, address: Address) -> bool:
        try:
            await self.transfer.get_manifest(peer, address)
        except HolderFailedError as error:
            if error.code in _MISSING:
                return False
            raise  # it did not say
        return True
