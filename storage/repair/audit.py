"""Do holders still have what their record says? A machine may come back with an empty disk.

They are asked by hash only; an answer is a holder's word. Proof by random leaves is not asked for.
"""

import msgspec

from p2p.ids import PeerId
from storage.errors import (
    HolderFailedError,
    ManifestError,
    ObjectUnknownError,
    StoreFullError,
)
from storage.placement.pool import Pool
from storage.records.holders import HolderBook
from storage.records.holding import Holding
from storage.repair.events import PageKey
from storage.transfer.client import Transfer
from storage.transfer.lookup import Catalog


class Auditor(msgspec.Struct):
    """Asks holders, and takes out of the record what they have lost."""

    pool: Pool
    holders: HolderBook
    catalog: Catalog
    transfer: Transfer
    shards_missed: int = 0
    """Shards that living holders turned out not to have, since the start."""

    async def audit(self, page: PageKey, only: PeerId | None = None) -> Holding | None:
        """Ask all living holders of a page, or one; a new record where shards are missing.

        When most are missing the object was given up while somebody was away, and is left alone.
        """
        address, number = page
        try:
            manifest = await self.catalog.manifest(address)
            holding = await self.catalog.holding(address, manifest, number)
            segments = await self.catalog.placed(address, manifest, number, holding)
        except (ManifestError, ObjectUnknownError):
            return None
        if holding is None:
            return None
        missing: list[tuple[int, int]] = []
        for peer in holding.peers() if only is None else (only,):
            places = [
                (at, shard)
                for at, segment in enumerate(segments)
                for shard, holder in enumerate(segment.row)
                if holder == peer
            ]
            if not places or not self.pool.is_alive(peer):
                continue
            roots = [segments[at].roots[shard] for at, shard in places]
            try:
                held = await self.transfer.have(peer, roots)
            except HolderFailedError:
                continue  # membership tells whether it is gone
            missing += [place for place, has in zip(places, held, strict=True) if not has]
        return await self._without(holding, missing)

    async def _without(self, holding: Holding, missing: list[tuple[int, int]]) -> Holding | None:
        if not missing or 2 * len(missing) > sum(len(row) for row in holding.rows):
            return None
        gone = set(missing)
        rows = tuple(
            tuple(None if (at, shard) in gone else peer for shard, peer in enumerate(row))
            for at, row in enumerate(holding.rows)
        )
        newest = self.holders.seal(
            holding.address, holding.page, rows, holding.sequence + 1, holding.more
        )
        try:
            await self.catalog.publish_holding(newest)
        except StoreFullError:
            return None
        self.shards_missed += len(missing)
        return newest
