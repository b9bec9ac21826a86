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
    """Asks whether the records kept here still count, and acts upon those that do not."""

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
            if agreed is None or not _differs(agreed, holding):
                return
            ours = self.leases.roots(manifest.lease, address)
            if not await self._are_all_replaced(agreed, manifest):
                await self.holders.adopt(agreed)
                return
        except (HolderFailedError, ManifestError, ObjectUnknownError, StoreFullError):
            return  # nobody can tell us now: asked again later
        await self._free(address, manifest, ours)

    async def _are_all_replaced(self, agreed: Holding, manifest: Manifest) -> bool:
        """Whether others have all that we keep of an object. Raises as `Surplus.is_all`."""
        is_named = self.pool.me in agreed.peers()
        return not is_named and await self.surplus.is_all(agreed.address, manifest)

    async def _free(
        self, address: Address, manifest: Manifest, judged: Sequence[ShardRoot]
    ) -> None:
        if not self.leases.is_of(manifest.lease, address):
            return  # a manifest that names a lease of somebody else
        try:
            await self.leases.drop(manifest.lease, address, judged)
        except StoreFullError:
            return
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
