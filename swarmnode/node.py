"""The composition root: every part of a node is made here, from its edges, and started in order.

What belongs together is made together by `swarmnode.wiring`. Nobody else looks anything up. What
the local API asks of a node is answered by its `swarmnode.overview.face`, which is made last. On a
machine `real_edges.py` hands over real edges, in a simulation `testnet.sim.swarm` hands over
in-memory ones; the Node is the same.
"""

from collections.abc import Mapping, Sequence

import msgspec
import trio

from p2p.ids import PeerId
from storage.rights import Right, RightLink, right_for
from storage.service import StorageService
from swarmnode import settings
from swarmnode.datasets.service import DatasetService
from swarmnode.edges import Edges, Identity
from swarmnode.environments.builds import is_being_built
from swarmnode.environments.service import EnvironmentService
from swarmnode.estate.service import EstateService
from swarmnode.home.config import Config
from swarmnode.market.seller.premises import Premises
from swarmnode.market.service import MarketService
from swarmnode.memory.service import MemoryService
from swarmnode.mirror.service import MirrorService
from swarmnode.overview.face import LocalFace
from swarmnode.overview.roster import Roster
from swarmnode.overview.status import NodeProgress, StatusReader
from swarmnode.resources.publisher import AdvertPublisher
from swarmnode.tasks.ids import TaskId
from swarmnode.wiring.household import Household
from swarmnode.wiring.peers import Peers
from swarmnode.wiring.recovering import recovering


class Supplies(msgspec.Struct, frozen=True):
    """What tasks that run here may have beside their inputs."""

    environments: EnvironmentService
    """Those that were built for the pool, as this machine's people know them."""
    datasets: DatasetService
    mirror: MirrorService | None
    """Answers for PyPI and the hub in the tasks' networks; None where there is none."""


class Node:
    """One machine's part of the swarm."""

    def __init__(
        self, config: Config, edges: Edges, identity: Identity, seeds: Sequence[str] = ()
    ) -> None:
        """`seeds` are full multiaddrs to call first, besides those of the config."""
        self.config, self.edges, self.identity = config, edges, identity
        self.peers = Peers(config, edges, identity, seeds)
        self.storage = self._storage()
        """Keeps bytes alive in the pool, ours and others'."""
        self.supplies = self._supplies()
        self.market = self._market(self._premises())
        lent, buyer = self.market.seller.lending, self.market.buyer
        self.supplies.environments.is_built = lambda key: is_being_built(
            key, buyer.tasks(), edges.wall_ms()
        )
        self.adverts = AdvertPublisher(settings.adverts(config), self.peers.gossip, lent.advert)
        objects = self.storage.objects
        self.estate = EstateService(buyer, buyer.logbook, objects, edges.state, edges.wall_ms)
        """What tasks leave in our name."""
        self.recovering = recovering(
            config, edges, identity, self.peers, self.storage, self.market, self.estate
        )
        """What is kept of it in the pool and brought back."""
        self.household = Household(edges, objects.keyring, buyer, self.estate.logs.kept)
        self.peers.register.on_out(self._on_out)
        self.progress = NodeProgress()
        """How far it has come: `run` and `drain` write it."""
        self.face = self._face()
        """What the local API asks of all these parts."""

    def _on_out(self, out: Mapping[PeerId, str]) -> None:
        """Some machines were removed: they are no members any more, and nothing runs for them."""
        self.market.end_of(frozenset(out), self.peers.register.people_out())
        self.storage.end_of(frozenset(out))
        self.peers.membership.expel(out)  # after it: what is lost there is lost because of that

    def _storage(self) -> StorageService:
        edges, who = self.edges, self.identity
        return StorageService(
            settings.storage(self.config, lends=settings.lends_storage(self.config, who)),
            self.peers.mesh,
            edges.store,
            edges.shards,
            who.person,
            who.lab,
            workers=edges.workers,
            waits_for_others=self.peers.waits_for_others,
        )

    def _supplies(self) -> Supplies:
        edges, storage = self.edges, self.storage
        known = (storage.names, storage.objects, self.peers.mesh)
        return Supplies(
            EnvironmentService(edges, self.identity, *known),
            DatasetService(edges.executor, storage.objects, edges.workers, edges.data),
            self._mirror(),
        )

    def _mirror(self) -> MirrorService | None:
        edges, mesh = self.edges, self.peers.mesh
        if edges.mirror is None:
            return None
        given = (edges.workers, edges.wall_ms, edges.mirror)
        return MirrorService(edges.executor, mesh, self.identity.lab, *given)

    def _premises(self) -> Premises:
        """What the jobs that run here are given; checkpoints and their state among it."""
        edges, storage = self.edges, self.storage
        return Premises(
            executor=edges.executor,
            machine=edges.machine,
            tables=edges.state,
            objects=storage.objects,
            memory=MemoryService(
                edges.executor,
                storage.objects,
                storage.names,
                workers=edges.workers,
                wall_ms=edges.wall_ms,
            ),
            certify=self.supplies.environments.office.certify,
            datasets=self.supplies.datasets,
        )

    def _market(self, premises: Premises) -> MarketService:
        edges = self.edges
        return MarketService(
            settings.market(self.config),
            self.peers.mesh,
            premises,
            boot_s=edges.boot_s,
            lends=settings.lends_compute(self.config, self.identity),
            right_of=self._right_of,
            whose=self.storage.rights.giver,
        )

    def _right_of(self, task: TaskId, provider: PeerId, expires_ms: int) -> Right:
        """That machine may put what this task of ours leaves in our name."""
        edges, who = self.edges, self.identity
        link = RightLink(who.person, who.lab, provider, task)
        token = b"" if edges.proofs is None else edges.proofs.token()
        return right_for(edges.signer, edges.network, token, link, expires_ms)

    def _face(self) -> LocalFace:
        config, edges, who, peers = self.config, self.edges, self.identity, self.peers
        storage, market, saved = self.storage, self.market, self.recovering
        return LocalFace(
            config,
            peers,
            storage,
            market,
            self.estate,
            self.household,
            self.supplies.environments,
            Roster(peers.register, edges.papers, peers.membership.view, edges.wall_ms),
            StatusReader(config, edges, who, peers, storage, market, saved, self.progress),
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start everything in dependency order; serve until cancelled.

        Started means that every part runs; whether others were found is `StatusReader.not_ready`'s
        to say.
        """
        edges, saved = self.edges, self.recovering
        self.progress.began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as trying:
                # It finds out what the kernel enforces, mostly in other processes: beside the rest.
                trying.start_soon(nursery.start, edges.executor.run)
                for part in (
                    edges.state.run,
                    self.peers.register.run,
                    edges.store.run,
                    edges.shards.run,
                    self.peers.rpc.run,
                    edges.host.run,
                    edges.index.run,
                    self.peers.membership.run,
                    self.peers.gossip.run,
                    self.storage.run,
                ):
                    await nursery.start(part)
            for part in (
                self.supplies.datasets.run,
                self.market.run,
                self.estate.run,
                self.adverts.run,
                self.peers.discovery.run,
            ):
                await nursery.start(part)
            for service in (self.supplies.mirror, self.peers.renewal, saved.own, saved.by_lab):
                if service is not None:
                    await nursery.start(service.run)
            self.progress.runs = True
            task_status.started()

    async def drain(self) -> None:
        """No new work from here on; what runs stays under its shim."""
        self.progress.stops = True
        self.edges.executor.leave()
        await trio.lowlevel.checkpoint()
