"""May we free what we keep of an object, since its records name others in our place?

Only when those others say, and show by a piece of it, that they have it, and the object can be read
without us and without any two persons of those who say so. In doubt it stays until its lease ends.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from p2p.effects import Rng
from p2p.ids import PeerId
from p2p.membership.port import Members
from storage.coding.erasure import Code
from storage.errors import HolderFailedError
from storage.holder.leases.book import LeaseBook
from storage.ids import Address, ShardRoot
from storage.limits import LEAF_BYTES
from storage.manifests.manifest import Manifest
from storage.placement.pool import Pool
from storage.records.holding import Holding
from storage.records.wider import Placed
from storage.repair.witnesses import is_one_persons_word, stands_without
from storage.transfer.client import Transfer
from storage.transfer.lookup import Catalog

SHOWN: Final = 3
"""Of the shards somebody keeps in our place so many are looked into, one leaf of each."""


class Surplus(msgspec.Struct):
    """Judges what we keep by what others have."""

    pool: Pool
    members: Members
    leases: LeaseBook
    catalog: Catalog
    transfer: Transfer
    rng: Rng

    async def is_all(
        self, address: Address, manifest: Manifest, ours: AbstractSet[ShardRoot]
    ) -> bool:
        """Whether nothing is lost if all these shards that we keep of an object are freed.

        Raises HolderFailedError, ManifestError, ObjectUnknownError when nobody can tell.
        """
        me = self.pool.me
        for page in range(manifest.page_count):
            holding = await self.catalog.agreed(address, manifest, page)
            if holding is None or me in holding.peers():
                return False
            places = await self.catalog.placed(address, manifest, page, holding)
            concerned = [place for place in places if not ours.isdisjoint(place.roots)]
            if not await self._is_kept(manifest, holding, concerned, ours):
                return False
        return True

    async def _is_kept(
        self,
        manifest: Manifest,
        holding: Holding,
        places: Sequence[Placed],
        ours: AbstractSet[ShardRoot],
    ) -> bool:
        trusted = (manifest.owner, self._person_of(self.pool.me))
        taken = [
            (place, root, peer)
            for place in places
            for root, peer in zip(place.roots, place.row, strict=True)
            if root in ours
        ]
        keepers = [peer for _, _, peer in taken if peer is not None]
        if len(keepers) < len(taken):
            return False
        if keepers and is_one_persons_word(holding.signer, keepers, trusted, self._person_of):
            return False
        held = {peer: await self._held(peer, places) for peer in holding.peers()}
        if any(root not in held[peer] for _, root, peer in taken if peer is not None):
            return False
        for place in places:
            pairs = zip(place.roots, place.row, strict=True)
            persons = [self._person_of(p) for root, p in pairs if p and root in held[p]]
            if not stands_without(manifest.k, persons, trusted):
                return False
        shards = [(root, peer, place.ref.length) for place, root, peer in taken if peer is not None]
        return await self._is_shown(manifest, shards)

    async def _held(self, peer: PeerId, places: Sequence[Placed]) -> set[ShardRoot]:
        """What a machine says it has of the shards that are its own."""
        roots = [
            root
            for place in places
            for root, holder in zip(place.roots, place.row, strict=True)
            if holder == peer
        ]
        try:
            said = await self.transfer.have(peer, roots)
        except HolderFailedError:
            return set()
        return {root for root, has_it in zip(roots, said, strict=True) if has_it}

    async def _is_shown(
        self, manifest: Manifest, shards: Sequence[tuple[ShardRoot, PeerId, int]]
    ) -> bool:
        """Whether each of those who keep what is ours has the leaves that we ask for."""
        by_peer: dict[PeerId, list[tuple[ShardRoot, int]]] = {}
        for root, peer, length in shards:
            by_peer.setdefault(peer, []).append((root, length))
        for peer, theirs in by_peer.items():
            for root, length in self.rng.sample(theirs, min(SHOWN, len(theirs))):
                shard_bytes = Code(manifest.k, manifest.n).shard_bytes(length)
                leaf = self.rng.randrange(0, max(1, -(-shard_bytes // LEAF_BYTES)))
                try:
                    await self.transfer.get_leaves(peer, root, shard_bytes, leaf, 1)
                except HolderFailedError:
                    return False
        return True

    def _person_of(self, peer: PeerId) -> str:
        member = self.members.view().find(peer)
        return peer if member is None else member.person or peer
