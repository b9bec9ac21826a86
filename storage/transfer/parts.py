"""What objects are put, read and mended with."""

from collections.abc import Callable

import msgspec

from p2p.ids import LabId, PersonId
from p2p.workers import Workers
from storage.arrival import Arrival
from storage.config import StorageConfig
from storage.holder.leases.book import LeaseBook
from storage.holder.tombstones import Tombstones
from storage.placement.pool import Pool
from storage.records.holders import HolderBook
from storage.transfer.client import Transfer
from storage.transfer.fetch import Fetcher
from storage.transfer.lookup import Catalog
from storage.transfer.push import Pusher


class StorageParts(msgspec.Struct, frozen=True):
    """One node's means of storage, joined in storage/service.py."""

    config: StorageConfig
    owner: PersonId
    lab: LabId
    cipher: int
    pool: Pool
    arrival: Arrival
    transfer: Transfer
    catalog: Catalog
    fetcher: Fetcher
    pusher: Pusher
    holders: HolderBook
    leases: LeaseBook
    tombstones: Tombstones
    workers: Workers
    entropy: Callable[[int], bytes]
    wall_ms: Callable[[], int]
