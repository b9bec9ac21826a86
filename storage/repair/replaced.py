"""Records that took the place of ours while we were away: adopted, or what we keep is freed."""

import msgspec
import trio

from p2p.effects import Rng
from storage.errors import HolderFailedError, ManifestError, ObjectUnknownError, StoreFullError
from storage.holder.leases.book import LeaseBook
from storage.holder.leases.underway import Judgement
from storage.ids import Address
from storage.limits import RECORDS_PER_STEP
from storage.manifests.manifest import Manifest
from storage.placement.pool import Pool
from storage.records.holders import HolderBook
from storage.records.holding import Holding
from storage.repair.surplus import Surplus
from storage.transfer.lookup import Catalog


class ReplacedRecords(msgspec.Struct):
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
    _judged: Address | None = None
    """Of this pass the last object that was judged, all its pages at once: they are next to each
    other in the book, and none of them has it judged again."""

    async def learn_all(self, dice: Rng | None) -> None:
        """Every record once; with `dice` only some are asked about each."""
        after: bytes | None = None
        self._judged = None
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
        if self.pool.me in agreed.peers() or self._judged == address:
            if is_newer:
                await self.holders.adopt(agreed)
            return
        is_home = self.pool.me in self.catalog.homes(address)
        await trio.lowlevel.checkpoint()  # of a large object much is kept, and read at once
        with self.leases.judging(manifest.lease, address) as judged:
            is_empty = not judged.roots and (is_home or not is_newer)
            is_surplus = not is_empty and await self._is_surplus(manifest, address, judged)
            if is_newer and (is_home or not is_surplus):
                agreed = await self.holders.adopt(agreed)
            if is_surplus and self.pool.me not in agreed.peers():
                await self._free(manifest, address, judged, is_home=is_home)

    async def _is_surplus(self, manifest: Manifest, address: Address, judged: Judgement) -> bool:
        """Whether others keep all that we keep of an object. Raises as `Surplus.is_all`."""
        self._judged = address
        return await self.surplus.is_all(address, manifest, judged.roots)

    async def _free(
        self, manifest: Manifest, address: Address, judged: Judgement, *, is_home: bool
    ) -> None:
        """All of it, or of what we are a home of its shards. Raises StoreFullError."""
        if not self.leases.is_of(manifest.lease, address):
            return  # a manifest that names a lease of somebody else
        if is_home:
            self.freed += await self.leases.drop_shards(manifest.lease, address, judged) > 0
            return
        await self.leases.drop(manifest.lease, address, judged)
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
