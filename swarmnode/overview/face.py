"""A node's face: what the local API asks of it, answered by the parts that know.

It satisfies `swarmnode.api.face.NodeFace`. It knows the parts of a node; no part knows of it. What
only whoever has the lab's key may do looks for that key first, and so needs no right besides.
"""

import msgspec

from p2p.ids import PeerId
from storage.facade import Forgotten, NameStore, Objects
from storage.ids import Address
from storage.service import StorageService
from swarmnode.api.schema.node import MemberLine, PeerLine, PhraseShown, RemovalDone, Status
from swarmnode.environments.service import EnvironmentService
from swarmnode.errors import NotAllowedError, TaskUnknownError
from swarmnode.estate.service import EstateService
from swarmnode.home.config import Config
from swarmnode.market.explain import TaskView
from swarmnode.market.service import MarketService
from swarmnode.overview.roster import Roster
from swarmnode.overview.status import StatusReader
from swarmnode.recovery.lab import phrase_by_lab
from swarmnode.tasks.ids import TaskId
from swarmnode.wiring.household import Household
from swarmnode.wiring.peers import Peers


class LocalFace(msgspec.Struct, frozen=True):
    """One node, to those who speak to it through its local API."""

    config: Config
    peers: Peers
    storage: StorageService
    market: MarketService
    estate: EstateService
    household: Household
    environments: EnvironmentService
    roster: Roster
    reader: StatusReader

    @property
    def objects(self) -> Objects:
        """Whole objects in and out of the pool."""
        return self.storage.objects

    @property
    def names(self) -> NameStore:
        """Small mutable values."""
        return self.storage.names

    @property
    def taken_over_ms(self) -> int:
        """What was put before may be another machine's; 0: all that is here is ours."""
        own = self.reader.recovering.own
        return 0 if own is None else own.taken_ms

    @property
    def pause_grace_s(self) -> float:
        """Notice that tasks get when the owner does not say how much."""
        return self.config.timers.pause_grace_s

    # -- what the node says of itself

    def has_started(self) -> bool:
        """Whether every part runs and what was kept is loaded."""
        return self.reader.progress.runs

    def not_ready(self) -> tuple[str, ...]:
        """Reasons why /readyz says no; empty when the node is ready."""
        return self.reader.not_ready()

    def status(self, person: str = "") -> Status:
        """Health first, then everything `swarmnode status` shows one of the machine's people."""
        return self.reader.status(person)

    def person_of(self, task: TaskId) -> str:
        """Whose task that is, of several people of this machine."""
        try:
            return self.market.buyer.task(task).record.person
        except TaskUnknownError:  # forgotten meanwhile
            return ""

    # -- the other machines

    def peer_lines(self) -> tuple[PeerLine, ...]:
        """Every member we know."""
        return self.reader.peer_lines()

    async def ping(self, peer: PeerId, count: int) -> tuple[float, ...]:
        """Round trips in milliseconds. Raises PeerUnreachableError, CallTimeoutError."""
        return await self.peers.echo.ping(peer, count)

    async def join_through(self, address: str) -> PeerId:
        """Raises DialError naming what failed."""
        return await self.peers.discovery.join_through(address)

    # -- the people of the network

    def people_lines(self) -> tuple[MemberLine, ...]:
        """The people, as their certificates say, and those who were removed."""
        return self.roster.lines()

    async def remove_from_network(self, who: str, *, with_invited: bool) -> RemovalDone:
        """Remove for everybody and for good. Raises SubjectUnknownError, RemovalRefusedError."""
        return await self.roster.remove(who, takes_along=with_invited)

    # -- with the lab's key, where it lies here

    async def phrase_by_lab(self, who: str) -> PhraseShown:
        """Raises SubjectUnknownError, NotAllowedError, RecoveryRefusedError, StorageError."""
        roster, names = self.roster, self.storage.names
        lab = roster.lab_key()
        assert roster.papers is not None, "a key without certificates"
        person, me = roster.person(who), roster.papers.me
        name = person.name or person.subject
        phrase = await phrase_by_lab(
            person.subject,
            name,
            f"{me.person_name} ({me.name})",
            lab.seed(),
            names.of(person.subject),
            names.person(lab),
            roster.wall_ms(),
        )
        return PhraseShown(person.subject, name, phrase)

    async def remove_as_lab(self, address: Address, reason: str) -> Forgotten:
        """An object of anybody of the lab whose key lies here. Raises NotAllowedError."""
        lab_key = self.roster.lab_key()
        gone = await self.storage.objects.remove(address, lab_key=lab_key, reason=reason)
        if gone is None:
            raise NotAllowedError("that object is of another lab than the key on this machine")
        return gone

    async def cancel_as_lab(self, task: TaskId, reason: str) -> TaskView:
        """A task of anybody of the lab whose key lies here. Raises NotAllowedError."""
        elsewhere = self.market.own_machines.elsewhere
        return await elsewhere.cancel_as_lab(task, self.roster.lab_key(), reason)
