"""Records that took the place of ours while we were away: adopted, or what we keep is freed."""

from collections.abc import Sequence
from dataclasses import dataclass

from p2p.effects import Rng
from storage.errors import HolderFailedError, ManifestError, ObjectUnknownError, StoreFullError
from storage.holder.leases.book import LeaseBook
from storage.ids import Address, ShardRoot
from storage.limits import RECORDS_PER_STEP
from storage.manifests.manifest import Manifest
from storage.placement.pool import Pool
from storage.records.holders import HolderBook
from storage.records.holding import Holding
from storage.repair.surplus import Surplus
from storage.transfer.lookup import Catalog


@dataclass(slots=True)
class ReplacedRecords:
    """Asks whether the records kept here still count, and acts upon those that do not.

    A home keeps manifest and record of what it holds nothing of: only its shards are freed.
    """

    pool: Pool
    holders: HolderBook
    leases: LeaseBook
    catalog: Catalog
    surplus: Surplus
    freed: int = 0
    """Objects freed here, as others had replaced their shards, since the start."""

    async def learn_all(self, dice: Rng | None) -> None:
        """Every record once; with `dice` only some are asked about each."""
        after: bytes | None = None
        while records := self.holders.scan(after, RECORDS_PER_STEP):
            after = records[-1][0]
            for _, holding in records:
                await self._learn(holding, dice)

    async def _learn(self, holding: Holding, dice: Rng | None) -> None:
        address = holding.address
        try:
            if self.leases.manifest(address) is None:
                # It came while the object was being given up here; nobody would replace it.
                await self.holders.forget(address)
                return
            manifest = await self.catalog.manifest(address)
            agreed = await self.catalog.agreed(address, manifest, holding.page, dice)
            if agreed is not None:
                await self._follow(agreed, holding, manifest)
        except (HolderFailedError, ManifestError, ObjectUnknownError, StoreFullError):
            return  # nobody can tell us now: asked again later

    async def _follow(self, agreed: Holding, ours: Holding, manifest: Manifest) -> None:
        """Adopt what the others know, or free what they keep in our place. Raises what `_learn`
        catches."""
        address, is_newer = agreed.address, _differs(agreed, ours)
        is_home, is_surplus = self.pool.me in self.catalog.homes(address), False
        kept = self.leases.roots(manifest.lease, address)
        if self.pool.me not in agreed.peers() and (kept or (is_newer and not is_home)):
            is_surplus = await self.surplus.is_all(address, manifest, kept)
        if is_newer and (is_home or not is_surplus):
            agreed = await self.holders.adopt(agreed)
        if is_surplus and self.pool.me not in agreed.peers():
            await self._free(manifest, address, kept, is_home=is_home)

    async def _free(
        self, manifest: Manifest, address: Address, kept: Sequence[ShardRoot], *, is_home: bool
    ) -> None:
        """All of it, or of what we are a home of those shards. Raises StoreFullError."""
        if not self.leases.is_of(manifest.lease, address):
            return  # a manifest that names a lease of somebody else
        if is_home:
            await self.leases.drop_shards(manifest.lease, address, kept)
        else:
            await self.leases.drop(manifest.lease, address, kept)
            if self.leases.is_of(manifest.lease, address):
                return  # a mending has brought more of it meanwhile
            self.catalog.forget(address)
        self.freed += 1


def _differs(agreed: Holding, ours: Holding) -> bool:
    """Whether the others have a record that should take the place of ours."""
    return agreed.sequence >= ours.sequence and (agreed.sequence, agreed.signer) != (
        ours.sequence,
        ours.signer,
    )
