"""Storage as one service: everything of this package joined, and its periodic work.

objects -> transfer -> Rpc        leases, holders, keyring -> Tables
names   -> Rpc                    shards -> ShardStore
"""

from collections.abc import Callable, Sequence

import msgspec
import trio

from p2p.ids import LabId, PeerId, PersonId
from p2p.mesh import Mesh
from p2p.workers import Workers
from storage.arrival import Arrival
from storage.cache.cache import CacheStats, SegmentCache
from storage.clocks.service import ClockWatch
from storage.coding.cipher import preferred_cipher
from storage.config import StorageConfig
from storage.engine.port import Tables
from storage.facade import ObjectEntry, ObjectHealth
from storage.holder.leases.book import LeaseBook
from storage.holder.server import ShardServer
from storage.holder.tombstones import Tombstones
from storage.lending import Lender
from storage.objects.service import ObjectService
from storage.objects.standing import ObjectTrouble
from storage.placement.pool import Pool
from storage.records.holders import HolderBook
from storage.records.names.service import NameService, NamesStats
from storage.repair.service import RepairService, RepairStats
from storage.rights import Rights
from storage.sweeping import Sweeper
from storage.transfer.client import Transfer
from storage.transfer.fetch import Fetcher
from storage.transfer.lookup import Catalog
from storage.transfer.parts import StorageParts
from storage.transfer.push import Pusher
from storage.transfer.rates import Rates
from storage.volumes.port import ShardStore


class StorageStats(msgspec.Struct, frozen=True):
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


class ObjectTroubles(msgspec.Struct, frozen=True):
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
        owner: PersonId,
        lab: LabId,
        *,
        workers: Workers,
        waits_for_others: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run `tables` and `shards` before a peer connects; without proofs no right counts."""
        rpc, members, wall_ms = mesh.rpc, mesh.members, mesh.wall_ms
        signer, network = mesh.signer, mesh.network
        self._shards, self._cache = shards, SegmentCache(config.cache_bytes)
        self.clock = ClockWatch(rpc, members, wall_ms, mesh.rng)
        self._lender = Lender(config, shards, mesh.gossip, self.clock.is_wrong)
        pool = Pool(members, mesh.gossip, mesh.me, self._lender.advert)
        self.arrival = Arrival(tables, members, mesh.gossip, pool, waits_for_others)
        self.holders = HolderBook(tables, signer, network)
        self.tombstones = Tombstones(tables, signer, network, rpc, mesh.proofs)
        self.leases = LeaseBook(config, tables, shards, self.holders, self.tombstones, wall_ms)
        self.rights = Rights(signer, network, mesh.proofs, wall_ms)
        server = self._server(config, mesh)
        transfer = Transfer(config, rpc, server, self.holders, signer, network, workers)
        members.on_change(transfer.on_member)
        self.parts = self._parts(config, mesh, pool, transfer, owner, lab, workers)
        self.objects = ObjectService(self.parts, tables, self._cache)
        server.serve_on(rpc, self.objects.heard)
        self.names = NameService(
            rpc, members, tables, signer, network, wall_ms=wall_ms, rng=mesh.rng
        )
        self.repair = RepairService(self.parts, members, self.objects.heard, mesh.rng)
        self.objects.judge.patience = self.repair.patience
        members.on_change(self.objects.dropping.on_member)
        self._sweeper = Sweeper(
            mesh.me, self.clock, self.leases, self.objects.wants, config.sweep_s
        )

    def _server(self, config: StorageConfig, mesh: Mesh) -> ShardServer:
        return ShardServer(
            config,
            self._shards,
            self.leases,
            self.holders,
            self.tombstones,
            mesh,
            self.rights,
            self.clock.is_wrong,
        )

    def _parts(
        self,
        config: StorageConfig,
        mesh: Mesh,
        pool: Pool,
        transfer: Transfer,
        owner: PersonId,
        lab: LabId,
        workers: Workers,
    ) -> StorageParts:
        rates = Rates(config.hedge_s, config.hedge_max_s)
        catalog = Catalog(transfer, self.leases, self.holders, pool)
        fetcher, pusher = Fetcher(transfer, pool, rates), Pusher(config, transfer, rates)
        return StorageParts(
            config=config,
            owner=owner,
            lab=lab,
            cipher=preferred_cipher(),
            pool=pool,
            arrival=self.arrival,
            transfer=transfer,
            catalog=catalog,
            fetcher=fetcher,
            pusher=pusher,
            holders=self.holders,
            leases=self.leases,
            tombstones=self.tombstones,
            workers=workers,
            entropy=mesh.entropy,
            wall_ms=mesh.wall_ms,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve, advertise and sweep until cancelled; started once objects can be put."""
        self.leases.count()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.clock.run)
            await nursery.start(self.arrival.run)
            await nursery.start(self.objects.run)
            await nursery.start(self.names.run, self.clock.may_free_ours)
            await nursery.start(self.repair.run)
            nursery.start_soon(self._lender.run)
            nursery.start_soon(self._sweeper.run)
            task_status.started()

    def end_of(self, machines: frozenset[PeerId]) -> None:
        """These machines, and no others, were removed from the network: nobody waits for them."""
        self.parts.pool.removed = machines
        self.repair.end_of(machines)

    def troubles(self, person: str = "") -> ObjectTroubles:
        """What is wrong now with objects of one of several people; of the machine's owner."""
        troubles = self.objects.own.troubles.values()
        return ObjectTroubles(
            own=[trouble for trouble in troubles if trouble.person == person],
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
            lies=self.parts.transfer.lies,
            own_degraded=self.objects.own.count(ObjectHealth.DEGRADED),
            own_unreadable=self.objects.own.count(ObjectHealth.UNREADABLE),
            swept_bytes=self._sweeper.swept_bytes,
            cache=self._cache.stats(),
            repair=self.repair.stats(),
            names=self.names.stats(),
        )
