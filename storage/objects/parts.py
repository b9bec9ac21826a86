"""What putting and getting objects is done with."""

from collections.abc import Callable
from dataclasses import dataclass

from p2p.ids import LabId, MemberId
from storage.arrival import Arrival
from storage.config import StorageConfig
from storage.pool import Pool
from storage.ports import Workers
from storage.records.holders import HolderBook
from storage.transfer.client import Transfer
from storage.transfer.fetch import Fetcher
from storage.transfer.leases import LeaseBook
from storage.transfer.lookup import Catalog
from storage.transfer.push import Pusher
from storage.transfer.tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class Parts:
    """One node's means of storage, joined in storage/service.py."""

    config: StorageConfig
    owner: MemberId
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
