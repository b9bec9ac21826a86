"""The composition root: every part of a node is made here, from its edges, and started in order.

What belongs together is made together by `swarmnode.wiring`. Nobody else looks anything up. On a
machine `real_edges.py` hands over real edges, in a simulation `testnet.sim.swarm` hands over
in-memory ones; the Node is the same.
"""

from collections.abc import Mapping, Sequence

import trio

from p2p.ids import PeerId
from storage.facade import Forgotten, NameStore, Objects
from storage.ids import Address
from storage.rights import Right, RightLink, right_for
from storage.service import StorageService
from swarmnode import settings
from swarmnode.api.schema.node import MemberLine, PeerLine, PhraseShown, RemovalDone, Status
from swarmnode.edges import Edges, Identity
from swarmnode.errors import NotAllowedError, TaskUnknownError
from swarmnode.estate.service import EstateService
from swarmnode.home.config import Config
from swarmnode.market.explain import TaskView
from swarmnode.market.seller.premises import Premises
from swarmnode.market.service import MarketService
from swarmnode.memory.service import MemoryService
from swarmnode.overview.roster import Roster
from swarmnode.overview.status import StatusReader
from swarmnode.recovery.lab import phrase_by_lab
from swarmnode.resources.publisher import AdvertPublisher
from swarmnode.tasks.ids import TaskId
from swarmnode.wiring.household import Household
from swarmnode.wiring.peers import Peers
from swarmnode.wiring.recovering import recovering


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
        self.memory = MemoryService(
            edges.executor,
            self.storage.objects,
            self.storage.names,
            workers=edges.workers,
            wall_ms=edges.wall_ms,
        )
        """Checkpoints and state of the jobs that run here."""
        self.market = self._market()
        lent, buyer = self.market.seller.lending, self.market.buyer
        self.adverts = AdvertPublisher(settings.adverts(config), self.peers.gossip, lent.advert)
        objects = self.storage.objects
        self.estate = EstateService(buyer, buyer.logbook, objects, edges.state, edges.wall_ms)
        """What tasks leave in our name."""
        self.recovering = recovering(
            config, edges, identity, self.peers, self.storage, self.market, self.estate
        )
        """What is kept of it in the pool and brought back."""
        self.household = Household(edges, objects.keyring, buyer, self.estate.logs.kept)
        self.stopped = trio.Event()
        """Set by whoever runs it, once `run` has returned."""
        register, view = self.peers.register, self.peers.membership.view
        register.on_out(self._on_out)
        self.roster = Roster(register, edges.papers, view, edges.wall_ms)
        self.reader = StatusReader(self)

    @property
    def lends_compute(self) -> bool:
        """By its owner's configuration and its certificate both."""
        return self.config.compute.enabled and "compute" in self.identity.roles

    @property
    def lends_storage(self) -> bool:
        """The same for storage."""
        return self.config.storage.enabled and "storage" in self.identity.roles

    def _on_out(self, out: Mapping[PeerId, str]) -> None:
        """Some machines were removed: they are no members any more, and nothing runs for them."""
        self.market.end_of(frozenset(out), self.peers.register.people_out())
        self.storage.end_of(frozenset(out))
        self.peers.membership.expel(out)  # after it: what is lost there is lost because of that

    def _storage(self) -> StorageService:
        edges, who = self.edges, self.identity
        return StorageService(
            settings.storage(self.config, lends=self.lends_storage),
            self.peers.mesh,
            edges.store,
            edges.shards,
            who.person,
            who.lab,
            workers=edges.workers,
            waits_for_others=self.peers.waits_for_others,
        )

    def _market(self) -> MarketService:
        edges = self.edges
        premises = Premises(
            executor=edges.executor,
            machine=edges.machine,
            tables=edges.state,
            objects=self.storage.objects,
            memory=self.memory,
        )
        return MarketService(
            settings.market(self.config),
            self.peers.mesh,
            premises,
            boot_s=edges.boot_s,
            lends=self.lends_compute,
            right_of=self._right_of,
            whose=self.storage.rights.giver,
        )

    def _right_of(self, task: TaskId, provider: PeerId, expires_ms: int) -> Right:
        """That machine may put what this task of ours leaves in our name."""
        edges, who = self.edges, self.identity
        link = RightLink(who.person, who.lab, provider, task)
        token = b"" if edges.proofs is None else edges.proofs.token()
        return right_for(edges.signer, edges.network, token, link, expires_ms)

    def person_of(self, task: TaskId) -> str:
        """Whose task that is, of several people of this machine."""
        try:
            return self.market.buyer.task(task).record.person
        except TaskUnknownError:  # forgotten meanwhile
            return ""

    @property
    def objects(self) -> Objects:
        """Whole objects in and out of the pool."""
        return self.storage.objects

    @property
    def names(self) -> NameStore:
        """Small mutable values."""
        return self.storage.names

    @property
    def pause_grace_s(self) -> float:
        """Notice that tasks get when the owner does not say how much."""
        return self.config.timers.pause_grace_s

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start everything in dependency order; serve until cancelled.

        Started means that every part runs; whether others were found is `not_ready`'s to say.
        """
        edges = self.edges
        self.reader.began_s = trio.current_time()
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
                self.market.run,
                self.estate.run,
                self.adverts.run,
                self.peers.discovery.run,
            ):
                await nursery.start(part)
            for service in (self.peers.renewal, self.recovering.own, self.recovering.by_lab):
                if service is not None:
                    await nursery.start(service.run)
            self.reader.runs = True
            task_status.started()

    async def drain(self) -> None:
        """No new work from here on; what runs stays under its shim."""
        self.reader.stops = True
        self.edges.executor.leave()
        await trio.lowlevel.checkpoint()

    def has_started(self) -> bool:
        """Whether every part runs and what was kept is loaded."""
        return self.reader.runs

    def status(self, person: str = "") -> Status:
        """Health first, then everything `swarmnode status` shows one of the machine's people."""
        return self.reader.status(person)

    def not_ready(self) -> tuple[str, ...]:
        """Reasons why /readyz says no; empty when the node is ready."""
        return self.reader.not_ready()

    def people_lines(self) -> tuple[MemberLine, ...]:
        """The people, as their certificates say, and those who were removed."""
        return self.roster.lines()

    async def remove_from_network(self, who: str, *, with_invited: bool) -> RemovalDone:
        """Remove for everybody and for good. Raises SubjectUnknownError, RemovalRefusedError."""
        return await self.roster.remove(who, takes_along=with_invited)

    async def phrase_by_lab(self, who: str) -> PhraseShown:
        """Raises SubjectUnknownError, NotAllowedError, RecoveryRefusedError, StorageError."""
        papers, names = self.edges.papers, self.storage.names
        lab = self.roster.lab_key()
        assert papers is not None, "a key without certificates"
        person, me = self.roster.person(who), papers.me
        name = person.name or person.subject
        phrase = await phrase_by_lab(
            person.subject,
            name,
            f"{me.person_name} ({me.name})",
            lab.seed(),
            names.of(person.subject),
            names.person(lab),
            self.edges.wall_ms(),
        )
        return PhraseShown(person.subject, name, phrase)

    async def remove_as_lab(self, address: Address, reason: str) -> Forgotten:
        """An object of anybody of the lab whose key lies here. Raises NotAllowedError."""
        gone = await self.objects.remove(address, lab_key=self.roster.lab_key(), reason=reason)
        if gone is None:
            raise NotAllowedError("that object is of another lab than the key on this machine")
        return gone

    async def cancel_as_lab(self, task: TaskId, reason: str) -> TaskView:
        """A task of anybody of the lab whose key lies here. Raises NotAllowedError."""
        elsewhere = self.market.own_machines.elsewhere
        return await elsewhere.cancel_as_lab(task, self.roster.lab_key(), reason)

    def peer_lines(self) -> tuple[PeerLine, ...]:
        """Every member we know."""
        return self.reader.peer_lines()

    async def ping(self, peer: PeerId, count: int) -> tuple[float, ...]:
        """Round trips in milliseconds. Raises PeerUnreachableError, CallTimeoutError."""
        return await self.peers.echo.ping(peer, count)

    async def join_through(self, address: str) -> PeerId:
        """Raises DialError naming what failed."""
        return await self.peers.discovery.join_through(address)
