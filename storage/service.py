"""Storage as one service: everything of this package joined, and its periodic work.

objects -> transfer -> Rpc        leases, holders, keyring -> Tables
names   -> Rpc                    shards -> ShardStore
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from p2p.effects import Rng
from p2p.gossip.items import STORAGE
from p2p.ids import LabId, MemberId
from p2p.membership.port import Members
from p2p.mesh import Mesh
from p2p.wire.codec import encode
from p2p.workers import Workers
from storage.arrival import Arrival
from storage.cache.cache import CacheStats, SegmentCache
from storage.clocks.service import ClockWatch
from storage.coding.cipher import preferred_cipher
from storage.config import StorageClass, StorageConfig
from storage.engine.port import Tables
from storage.errors import StoreFullError
from storage.facade import ObjectEntry, ObjectHealth
from storage.holder.leases.book import LeaseBook
from storage.holder.leases.keys import lease_of
from storage.holder.leases.row import LeaseRow
from storage.holder.server import ShardServer
from storage.holder.tombstones import Tombstones
from storage.ids import LeaseKey
from storage.objects.parts import ObjectParts
from storage.objects.service import ObjectService
from storage.objects.standing import ObjectTrouble
from storage.placement.advert import StorageAdvert, is_news
from storage.placement.pool import Pool
from storage.records.holders import HolderBook
from storage.records.names.service import NameService, NamesStats
from storage.repair.audit import Auditor
from storage.repair.dropped import DroppedElsewhere
from storage.repair.mender import Mender
from storage.repair.service import RepairService, RepairStats
from storage.rights import Rights
from storage.transfer.client import Transfer
from storage.transfer.fetch import Fetcher
from storage.transfer.lookup import Catalog
from storage.transfer.push import Pusher
from storage.transfer.rates import Rates
from storage.volumes.port import ShardStore


@dataclass(frozen=True, slots=True)
class StorageStats:
    """How storage stands on this machine."""

    used_bytes: int
    free_bytes: int
    objects: int
    """Put from this machine."""
    lies: int
    """Answers of holders that failed their hash or signature, since the start."""
    own_degraded: int
    """Of these: so many lack copies, but can be read."""
    own_unreadable: int
    swept_bytes: int
    """Freed because a lease ended, since the start."""
    cache: CacheStats
    repair: RepairStats
    names: NamesStats


@dataclass(frozen=True, slots=True)
class ObjectTroubles:
    """Of objects of one person here, and of those kept here; cheap to know, however many."""

    own: Sequence[ObjectTrouble]
    """One person's that are not whole."""
    own_removed: ObjectEntry | None
    """The newest of theirs that the lab's key removed, while it is on the list still."""
    repair: RepairStats


class StorageService:
    """One node's storage: `objects` and `names` are what the rest of the node uses."""

    def __init__(
        self,
        config: StorageConfig,
        mesh: Mesh,
        tables: Tables,
        shards: ShardStore,
        owner: MemberId,
        lab: LabId,
        *,
        workers: Workers,
        waits_for_others: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run `tables` and `shards` before a peer connects; without proofs no right counts."""
        self._config, self._gossip, self._shards = config, mesh.gossip, shards
        self._lies = self._swept_bytes = 0
        rpc, members, wall_ms = mesh.rpc, mesh.members, mesh.wall_ms
        signer, network = mesh.signer, mesh.network
        self.pool = Pool(members, mesh.gossip, mesh.me, self._advert)
        self.arrival = Arrival(tables, members, mesh.gossip, self.pool, waits_for_others)
        self.clock = ClockWatch(rpc, members, wall_ms, mesh.rng)
        self.holders = HolderBook(tables, signer, network)
        self.tombstones = Tombstones(tables, signer, network, rpc, mesh.proofs)
        self.leases = LeaseBook(config, tables, shards, self.holders, self.tombstones, wall_ms)
        self.rights = Rights(signer, network, mesh.proofs, wall_ms)
        server = self._server(mesh)
        transfer = Transfer(config, rpc, server, self.holders, signer, network, workers)
        self.parts = self._parts(mesh, transfer, owner, lab, workers)
        self._cache = SegmentCache(config.cache_bytes)
        self.objects = ObjectService(self.parts, tables, self._cache)
        self.names = NameService(
            rpc, members, tables, signer, network, wall_ms=wall_ms, rng=mesh.rng
        )
        server.on_stone = self.objects.heard
        self.repair = _repair_of(self.parts, members, mesh.rng, self.objects)
        self.objects.own.patience_s = self.repair.patience_s
        members.on_change(self.objects.dropping.on_member)

    def _server(self, mesh: Mesh) -> ShardServer:
        books = (self.leases, self.holders, self.tombstones)
        server = ShardServer(self._config, self._shards, *books, mesh, self.rights)
        server.is_clock_wrong = self.clock.is_wrong
        server.serve_on(mesh.rpc)
        return server

    def _parts(
        self, mesh: Mesh, transfer: Transfer, owner: MemberId, lab: LabId, workers: Workers
    ) -> ObjectParts:
        config, transfer.on_lie = self._config, self._on_lie
        mesh.members.on_change(transfer.on_member)
        rates = Rates(config.hedge_s, config.hedge_max_s)
        catalog = Catalog(transfer, self.leases, self.holders, self.pool)
        fetcher, pusher = Fetcher(transfer, self.pool, rates), Pusher(config, transfer, rates)
        return ObjectParts(
            config, owner, lab, preferred_cipher(), self.pool, self.arrival, transfer, catalog,
            fetcher, pusher, self.holders, self.leases, self.tombstones, workers, mesh.entropy,
            mesh.wall_ms,
        )  # fmt: skip

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve, advertise and sweep until cancelled; started once objects can be put."""
        self.leases.count()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.clock.run)
            await nursery.start(self.arrival.run)
            await nursery.start(self.objects.run)
            await nursery.start(self.names.run, self.clock.may_free_ours)
            await nursery.start(self.repair.run)
            nursery.start_soon(self._advertise)
            nursery.start_soon(self._sweep)
            task_status.started()

    def troubles(self, person: str = "") -> ObjectTroubles:
        """What is wrong now with objects of one of several people; of the machine's owner."""
        troubles = self.objects.own.troubles.values()
        return ObjectTroubles(
            own=[one for one in troubles if one.person == person],
            own_removed=self.objects.keyring.newest_removed(person),
            repair=self.repair.stats(),
        )

    def stats(self) -> StorageStats:
        """A snapshot for status and metrics."""
        entries = self.objects.entries()
        return StorageStats(
            used_bytes=self._shards.used_bytes(),
            free_bytes=self._shards.free_bytes(),
            objects=sum(not entry.removed_ms for entry in entries),
            lies=self._lies,
            own_degraded=self.objects.own.count(ObjectHealth.DEGRADED),
            own_unreadable=self.objects.own.count(ObjectHealth.UNREADABLE),
            swept_bytes=self._swept_bytes,
            cache=self._cache.stats(),
            repair=self.repair.stats(),
            names=self.names.stats(),
        )

    def _advert(self) -> StorageAdvert:
        config = self._config
        lends = config.lends and not self.clock.is_wrong()
        free_bytes = self._shards.free_bytes() if lends else 0
        return StorageAdvert(lends, free_bytes, config.quota_bytes if lends else 0)

    async def _advertise(self) -> None:
        """Tell our free space when it changed much, and before the last word ends."""
        told, told_s = None, 0.0
        while True:
            advert, now_s = self._advert(), trio.current_time()
            is_old = now_s - told_s > self._config.advert_ttl_s / 3
            if told is None or is_old or is_news(told, advert):
                self._gossip.publish(STORAGE, encode(advert), ttl_s=self._config.advert_ttl_s)
                told, told_s = advert, now_s
            await trio.sleep(self._config.advert_s)

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(self._config.sweep_s)
            await self.clock.check()
            with suppress(StoreFullError):  # a full disk frees nothing: next time
                if self.clock.may_free():
                    self._swept_bytes += await self.leases.sweep(self._is_wanted)
                elif self.clock.may_free_ours():
                    self._swept_bytes += await self.leases.sweep(self._is_anothers)

    def _is_wanted(self, lease: LeaseKey, row: LeaseRow) -> bool:
        """What stands in our keyring is renewed by us: it never ends before we give it up."""
        return row.storage_class != StorageClass.SCRATCH and self.objects.wants(lease_of(lease))

    def _is_anothers(self, lease: LeaseKey, row: LeaseRow) -> bool:
        return row.putter != self.pool.me or self._is_wanted(lease, row)

    def _on_lie(self, peer: object) -> None:
        self._lies += 1


def _repair_of(p: ObjectParts, members: Members, rng: Rng, objects: ObjectService) -> RepairService:
    mender = Mender(
        p.config, p.pool, p.holders, p.leases, p.catalog, p.transfer, p.fetcher, p.pusher,
        p.workers, p.wall_ms,
    )  # fmt: skip
    auditor = Auditor(p.pool, p.holders, p.catalog, p.transfer)
    dropped = DroppedElsewhere(
        p.pool, p.holders, p.leases, p.catalog, p.transfer, p.tombstones, objects.heard
    )
    return RepairService(
        p.config,
        members,
        mender,
        auditor,
        dropped,
        rng=rng,
        remembered=lambda: p.arrival.remembered,
    )
