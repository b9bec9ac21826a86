"""The composition root: every part of a node is made here, from its edges, and started in order.

Nobody else looks anything up. On a machine `real_edges.py` hands over real edges, in a simulation
`testnet.sim.swarm` hands over in-memory ones; the Node is the same.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import trio

from p2p.discovery.service import DiscoveryService
from p2p.gossip.service import GossipService
from p2p.host.rpc.echo import Echo
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId
from p2p.membership.ourselves import Ourselves, Profile
from p2p.membership.service import MembershipService
from p2p.mesh import Mesh
from p2p.register.service import RegisterService
from p2p.renewal.service import RenewalService
from storage.facade import Forgotten, NameStore, Objects
from storage.ids import Address
from storage.rights import Right, RightLink, right_for
from storage.service import StorageService
from swarmnode import settings
from swarmnode.api.schema.node import MemberLine, PeerLine, PhraseShown, RemovalDone, Status
from swarmnode.edges import Edges, Identity
from swarmnode.errors import NotAllowedError, RecoveryRefusedError, TaskUnknownError
from swarmnode.estate.service import EstateService
from swarmnode.home.config import Config
from swarmnode.home.peer_cache import TablePeerCache
from swarmnode.home.register_store import TableEntryStore
from swarmnode.market.explain import TaskView
from swarmnode.market.seller.service import Premises
from swarmnode.market.service import MarketService
from swarmnode.memory.service import MemoryService
from swarmnode.overview.roster import Roster
from swarmnode.overview.status import StatusReader
from swarmnode.people.book import People
from swarmnode.people.sealed_tasks import at_rest
from swarmnode.people.seals import Seals
from swarmnode.people.unlocking import Unlocking
from swarmnode.recovery.copies.place import LineOfList, NameOfItsOwn
from swarmnode.recovery.copies.shelf import CopyShelf
from swarmnode.recovery.finding import Finder
from swarmnode.recovery.lab import LabRecovery, phrase_by_lab
from swarmnode.recovery.others import Others
from swarmnode.recovery.retrieval import Retrieval
from swarmnode.recovery.service import RecoveryService
from swarmnode.recovery.siblings import Siblings
from swarmnode.recovery.things import Things
from swarmnode.resources.publisher import AdvertPublisher
from swarmnode.tasks.ids import TaskId


class Node:
    """One machine's part of the swarm."""

    def __init__(
        self, config: Config, edges: Edges, identity: Identity, seeds: Sequence[str] = ()
    ) -> None:
        """`seeds` are full multiaddrs to call first, besides those of the config."""
        self.config, self.edges, self.identity = config, edges, identity
        self.lends_compute = config.compute.enabled and "compute" in identity.roles
        """By its owner's configuration and its certificate both."""
        self.lends_storage = config.storage.enabled and "storage" in identity.roles
        self.rpc = Rpc(edges.host)
        self.echo = Echo(self.rpc)
        self.membership = self._membership()
        self.gossip = self._gossip()
        self.mesh = self._mesh()
        self.register = self._register()
        self.renewal = self._renewal()
        self.discovery = self._discovery(seeds)
        self.people = People(edges.state, edges.wall_ms)
        self.storage = self._storage()
        self.seals = Seals(self.people, edges.entropy)
        self.memory = MemoryService(
            edges.executor,
            self.storage.objects,
            self.storage.names,
            workers=edges.workers,
            wall_ms=edges.wall_ms,
        )
        self.market = self._market()
        adverts = settings.adverts(config)
        self.adverts = AdvertPublisher(adverts, self.gossip, self.market.advert)
        left = (self.market, self.market.logbook, self.storage.objects)
        self.estate = EstateService(*left, edges.state, edges.wall_ms)
        self.recovery = self._recovery()
        self.lab = self._lab_recovery()
        self.unlocking = self._unlocking()
        self.stopped = trio.Event()
        """Set by whoever runs it, once `run` has returned."""
        self.register.on_out(self._on_out)
        self.roster = Roster(self.register, edges.papers, self.membership.view, edges.wall_ms)
        self.reader = StatusReader(self)

    def _membership(self) -> MembershipService:
        edges, who = self.edges, self.identity
        profile = Profile(who.name, who.lab, who.site)
        return MembershipService(
            settings.membership(self.config),
            self.rpc,
            Ourselves(edges.signer, edges.network, profile, edges.proofs),
            addresses=edges.host.addresses,
            rng=edges.rng,
            incarnation=edges.wall_ms(),
        )

    def _gossip(self) -> GossipService:
        edges = self.edges
        return GossipService(
            settings.gossip(self.config),
            self.rpc,
            self.membership,
            edges.signer,
            edges.network,
            rng=edges.rng,
            wall_ms=edges.wall_ms,
        )

    def _mesh(self) -> Mesh:
        edges, services = self.edges, (self.rpc, self.membership, self.gossip)
        dice = (edges.rng, edges.entropy)
        return Mesh(*services, edges.signer, edges.network, *dice, edges.wall_ms, edges.proofs)

    def _register(self) -> RegisterService:
        edges = self.edges
        return RegisterService(
            edges.book,
            self.rpc,
            edges.host,
            TableEntryStore(edges.state),
            rng=edges.rng,
            wall_ms=edges.wall_ms,
        )

    def _renewal(self) -> RenewalService | None:
        edges = self.edges
        if edges.papers is None:
            return None
        return RenewalService(
            edges.papers,
            edges.book,
            self.rpc,
            edges.host,
            edges.signer,
            wall_ms=edges.wall_ms,
            entropy=edges.entropy,
        )

    def _on_out(self, out: Mapping[PeerId, str]) -> None:
        """Some machines were removed: they are no members any more, and nothing runs for them."""
        self.market.end_of(frozenset(out), self.register.people_out())
        self.membership.expel(out)  # after it: what is lost there is lost because of that

    def _discovery(self, seeds: Sequence[str]) -> DiscoveryService:
        edges = self.edges
        return DiscoveryService(
            edges.host,
            edges.index,
            self.membership,
            TablePeerCache(edges.state),
            edges.network,
            (*seeds, *self.config.network.bootstrap),
        )

    def _storage(self) -> StorageService:
        edges, who = self.edges, self.identity
        return StorageService(
            settings.storage(self.config, lends=self.lends_storage),
            self.mesh,
            edges.store,
            edges.shards,
            who.member,
            who.lab,
            workers=edges.workers,
            waits_for_others=self.waits_for_others,
        )

    def _market(self) -> MarketService:
        edges = self.edges
        things = (edges.executor, edges.machine, edges.state, self.storage.objects, self.memory)
        return MarketService(
            settings.market(self.config),
            self.mesh,
            Premises(*things),
            boot_s=edges.boot_s,
            lends=self.lends_compute,
            right_of=self._right_of,
            whose=self.storage.rights.giver,
        )

    def waits_for_others(self) -> bool:
        """Whether there should be others, and none has answered yet."""
        if self.config.network.alone or not self.discovery.expects_others:
            return False
        view = self.membership.view()
        return not any(member.peer != view.me for member in view.alive())

    def _unlocking(self) -> Unlocking:
        """From here on what is of other people of this machine rests sealed."""
        keyring, seals = self.storage.objects.keyring, self.seals
        keyring.seal = seals.seal_key
        self.market.rest_as(partial(at_rest, seals))
        self.estate.logs.open_cap = seals.open_cap
        return Unlocking(self.people, seals, keyring, self.edges.state)

    def _recovery(self) -> RecoveryService | None:
        """What a machine of a person keeps of itself in the pool, and brings back from there."""
        edges, vault = self.edges, self.edges.vault
        if vault is None:
            return None
        names, me, objects = self.storage.names, edges.host.peer_id, self.storage.objects
        things = Things(
            vault, objects, objects.keyring, self.market, edges.state, me, edges.wall_ms
        )
        rest = (self.waits_for_others, self.estate.logs.settled, self.estate.leave)
        who = (me, self.identity.member, self.membership, self.register)
        siblings = Siblings(*who, edges.proofs)
        if not vault.seed:
            owned = (names.machine(), names.of(vault.person))
            apart = NameOfItsOwn(*owned, me, vault.seal, siblings.token)
            return RecoveryService(things, apart, *rest)
        persons = names.person(edges.signer.from_seed(vault.seed))
        shelf = CopyShelf(persons, vault.seed, edges.entropy)
        others = Others(self.membership, self.echo.ping, self.storage.arrival.is_settled)
        finder = Finder(shelf, names.of, vault.unseal, siblings, others.life, me)
        adopt = None if self.renewal is None else self.renewal.adopt
        retrieval = Retrieval(things, shelf, finder, persons, siblings.known_as, adopt)
        line = LineOfList(shelf, me, siblings.seen)
        return RecoveryService(things, line, *rest, finder=finder, retrieval=retrieval)

    def _lab_recovery(self) -> LabRecovery | None:
        """Whether the lab's key brings this person back, and whom it brought back."""
        edges, vault, names = self.edges, self.edges.vault, self.storage.names
        if vault is None:
            return None
        has_key = bool(vault.seed)
        return LabRecovery(
            self.identity.lab,
            names.of(self.identity.lab),
            self.config.node.lab_recovery,
            self.waits_for_others,
            edges.entropy,
            edges.wall_ms,
            persons=names.person(edges.signer.from_seed(vault.seed)) if has_key else None,
            seed=vault.seed,
        )

    def _right_of(self, task: TaskId, provider: PeerId, expires_ms: int) -> Right:
        """That machine may put what this task of ours leaves in our name."""
        edges, who = self.edges, self.identity
        link = RightLink(who.member, who.lab, provider, task)
        token = b"" if edges.proofs is None else edges.proofs.token()
        return right_for(edges.signer, edges.network, token, link, expires_ms)

    def person_of(self, task: TaskId) -> str:
        """Whose task that is, of several people of this machine."""
        try:
            return self.market.task(task).record.person
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
                    self.register.run,
                    edges.store.run,
                    edges.shards.run,
                    self.rpc.run,
                    edges.host.run,
                    edges.index.run,
                    self.membership.run,
                    self.gossip.run,
                    self.storage.run,
                ):
                    await nursery.start(part)
            for part in (self.market.run, self.estate.run, self.adverts.run, self.discovery.run):
                await nursery.start(part)
            if self.renewal is not None:
                await nursery.start(self.renewal.run)
            if self.recovery is not None:
                await nursery.start(self.recovery.run)
            if self.lab is not None:
                await nursery.start(self.lab.run)
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

    def member_lines(self) -> tuple[MemberLine, ...]:
        """The people, as their certificates say, and those who were removed."""
        return self.roster.lines()

    async def remove_member(self, who: str, *, with_invited: bool) -> RemovalDone:
        """Remove for everybody and for good. Raises MemberUnknownError, RemovalRefusedError."""
        return await self.roster.remove(who, takes_along=with_invited)

    async def phrase_by_lab(self, who: str) -> PhraseShown:
        """Raises MemberUnknownError, RecoveryRefusedError, StorageError."""
        papers, names = self.edges.papers, self.storage.names
        lab = papers.keys().lab if papers is not None else None
        if papers is None or lab is None:
            raise RecoveryRefusedError("this needs the lab's key, which is not on this machine")
        person, me = self.roster.person(who), papers.me
        name = person.name or person.subject
        phrase = await phrase_by_lab(
            person.subject,
            name,
            f"{me.member_name} ({me.name})",
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
        return await self.market.cancel_as_lab(task, self.roster.lab_key(), reason)

    def peer_lines(self) -> tuple[PeerLine, ...]:
        """Every member we know."""
        return self.reader.peer_lines()

    async def ping(self, peer: PeerId, count: int) -> tuple[float, ...]:
        """Round trips in milliseconds. Raises PeerUnreachableError, CallTimeoutError."""
        return await self.echo.ping(peer, count)

    async def join_through(self, address: str) -> PeerId:
        """Raises DialError naming what failed."""
        return await self.discovery.join_through(address)
