"""What is kept under a lease: shards and manifests, which several leases may keep together.

lease_shards     key + root   -> ""
shard_leases     root + key   -> ""
lease_manifests  key + part   -> address of the object
manifests        part         -> bytes of a manifest or page
part_leases      part + key   -> "": who keeps a part, or `BEFORE`: one that was not counted yet
orphans          root         -> "": lost its last lease; its bytes may not be freed yet
"""

from collections.abc import Sequence
from typing import Final

from storage.engine.port import ReadView, WriteView
from storage.holder.leases.keys import LEASE_MANIFESTS, exactly
from storage.holder.leases.row import LEASES
from storage.ids import Address, LeaseKey, ShardRoot
from storage.records.holders import HolderBook

LEASE_SHARDS: Final = "lease_shards"
SHARD_LEASES: Final = "shard_leases"
MANIFESTS: Final = "manifests"
PART_LEASES: Final = "part_leases"
ORPHANS: Final = "orphans"

BEFORE: Final = b"\0"


def link_shard(view: WriteView, key: LeaseKey, root: ShardRoot) -> None:
    """Keep a shard under a lease."""
    view.put(LEASE_SHARDS, key + root, b"")
    view.put(SHARD_LEASES, root + key, b"")


def link_part(view: WriteView, key: LeaseKey, part: Address, address: Address, data: bytes) -> None:
    """Keep a manifest or page under a lease."""
    is_here = view.get(MANIFESTS, part) is not None
    is_ours = view.get(LEASE_MANIFESTS, key + part) is not None
    if is_here and not is_ours and not view.scan(PART_LEASES, part, limit=1):
        view.put(PART_LEASES, part + BEFORE, b"")
    view.put(MANIFESTS, part, data)
    view.put(LEASE_MANIFESTS, key + part, address)
    view.put(PART_LEASES, part + key, b"")


def shards_of(view: ReadView, key: LeaseKey) -> list[ShardRoot]:
    """The shards kept under a lease."""
    return [ShardRoot(joined[len(key) :]) for joined, _ in exactly(view, LEASE_SHARDS, key)]


def unlink_shards(view: WriteView, roots: Sequence[ShardRoot], key: LeaseKey) -> set[ShardRoot]:
    """Keep some shards of a lease under it no more; those that nothing keeps now."""
    orphans = set()
    for root in roots:
        view.delete(LEASE_SHARDS, key + root)
        view.delete(SHARD_LEASES, root + key)
        if not view.scan(SHARD_LEASES, root, limit=1):
            orphans.add(root)
            view.put(ORPHANS, root, b"")
    return orphans


def unlink(view: WriteView, key: LeaseKey, holders: HolderBook) -> set[ShardRoot]:
    """Remove all of a lease; the shards that nothing keeps any more."""
    orphans = unlink_shards(view, shards_of(view, key), key)
    addresses: dict[Address, None] = {}
    for joined, address in exactly(view, LEASE_MANIFESTS, key):
        part = joined[len(key) :]
        addresses[Address(address)] = None
        view.delete(LEASE_MANIFESTS, joined)
        if not view.delete(PART_LEASES, part + key):
            view.delete(PART_LEASES, part + BEFORE)
        if not view.scan(PART_LEASES, part, limit=1):
            view.delete(MANIFESTS, part)
    for address in addresses:
        if view.get(MANIFESTS, address) is None:
            holders.remove(view, address)
    view.delete(LEASES, key)
    return orphans


def forget_orphans(view: WriteView, roots: list[ShardRoot]) -> None:
    """Their bytes have been freed, or are kept again."""
    for root in roots:
        view.delete(ORPHANS, root)
