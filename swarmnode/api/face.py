"""What the local API needs of the node; `swarmnode.overview.face.LocalFace` satisfies it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from p2p.ids import PeerId
from storage.facade import Forgotten, NameStore, Objects
from storage.ids import Address
from swarmnode.api.schema.node import MemberLine, PeerLine, PhraseShown, RemovalDone, Status
from swarmnode.environments.records import EnvironmentRow
from swarmnode.home.config import Config
from swarmnode.market.buyer.own_machines.hand_over import RemovedElsewhere
from swarmnode.market.explain import Explanation, TaskEvent, TaskView
from swarmnode.market.guardians.kept import Guarded
from swarmnode.people.book import People
from swarmnode.people.seals import Seals
from swarmnode.people.secrets import SecretStore
from swarmnode.people.unlocking import Unlocking
from swarmnode.tasks.checkpoint import StoredFile
from swarmnode.tasks.choices import JobSignal
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import FilesTold
from swarmnode.tasks.spec import TaskSpec


class GuardiansFace(Protocol):
    """Those who keep tasks for their submitters."""

    async def guarded(self, task: TaskId) -> Guarded:
        """Return once others hold a task that was submitted as detached, or soon."""
        ...


class ElsewhereFace(Protocol):
    """Tasks of our owner's submitted on another machine of theirs."""

    async def find(self, task: TaskId, *, cancel: bool = False) -> TaskView:
        """Raises TaskUnknownError, TaskUnreachableError."""
        ...

    def log(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]: ...


class HandOverFace(Protocol):
    """Tasks that went from here to another machine of our owner, or are on both."""

    def moved(self, text: str) -> Mapping[TaskId, PeerId]:
        """Tasks that were submitted here and went on elsewhere, by id, its beginning or name."""
        ...

    async def remove(self, task: TaskId) -> RemovedElsewhere:
        """Have those machines forget a task that has ended, too."""
        ...


class OwnMachinesFace(Protocol):
    """The other machines of our owner."""

    @property
    def elsewhere(self) -> ElsewhereFace: ...

    @property
    def hand_over(self) -> HandOverFace: ...


class BuyerFace(Protocol):
    """What the API needs of `swarmnode.market.buyer.service.BuyerService`: tasks of this node."""

    async def submit(
        self,
        spec: TaskSpec,
        person: str = "",
        *,
        detached: bool = False,
        secrets: Mapping[str, bytes] = ...,
    ) -> TaskId:
        """For a person of this machine. Durable when it returns."""
        ...

    def tasks(self) -> Sequence[TaskView]: ...

    def task(self, task: TaskId) -> TaskView:
        """Raises TaskUnknownError."""
        ...

    async def wait(self, task: TaskId) -> TaskView:
        """Return once the task has ended. Raises TaskUnknownError."""
        ...

    async def cancel(self, task: TaskId) -> TaskView:
        """Idempotent. Raises TaskUnknownError."""
        ...

    async def signal(self, task: TaskId, signal: JobSignal) -> None:
        """Raises TaskUnknownError, TaskNotRunningError, and those of a call to its provider."""
        ...

    async def secret_removed(self, person: str, name: str) -> None:
        """No open task of that person that wants it starts any more. Raises StoreFullError."""
        ...

    async def files_now(self, task: TaskId) -> FilesTold:
        """What there is of a task's outputs, also while it runs."""
        ...

    async def forget(self, task: TaskId) -> None:
        """Forget a task that has ended, with its logs; harmless for any other. StoreFullError."""

    def explain(self, task: TaskId) -> Explanation:
        """Raises TaskUnknownError."""
        ...

    async def dry_run(self, spec: TaskSpec, person: str = "") -> Explanation: ...

    def logs(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]: ...

    def events(self) -> AsyncGenerator[TaskEvent, None]: ...


class SellerFace(Protocol):
    """What the API needs of `swarmnode.market.seller.service.SellerService`: this machine."""

    async def pause(self, grace_s: float) -> None: ...

    async def resume(self) -> None: ...


class MarketFace(Protocol):
    """What the API needs of `swarmnode.market.service.MarketService`: the parts of a market."""

    @property
    def buyer(self) -> BuyerFace: ...

    @property
    def seller(self) -> SellerFace: ...

    @property
    def guardians(self) -> GuardiansFace: ...

    @property
    def own_machines(self) -> OwnMachinesFace: ...


class EstateFace(Protocol):
    """What the API needs of `swarmnode.estate.service.EstateService`."""

    async def settled(self) -> None:
        """Return once what tasks have left is on the keyring, or soon."""
        ...

    def claim(self, address: Address) -> None:
        """A task about to be submitted will read it."""
        ...

    async def bring_log(self, task: TaskId) -> None:
        """Have its log here where another machine of its person had it. StorageError."""
        ...

    async def forget_log(self, task: TaskId) -> int:
        """Free what the pool has of a forgotten task's log; how many objects that were."""
        ...


class HouseholdFace(Protocol):
    """The people of this machine."""

    @property
    def people(self) -> People: ...

    @property
    def seals(self) -> Seals: ...

    @property
    def unlocking(self) -> Unlocking: ...

    @property
    def secrets(self) -> SecretStore: ...


class EnvironmentsFace(Protocol):
    """What the API needs of `swarmnode.environments.service.EnvironmentService`."""

    def all(self, person: str = "") -> Sequence[EnvironmentRow]: ...

    def warm(self, name: str) -> tuple[PeerId, ...]:
        """Machines that say that they have it laid out."""
        ...

    def addresses(self) -> frozenset[Address]:
        """Objects of those that somebody here has on their list."""
        ...

    async def find(self, key: bytes, source: str, person: str = "") -> EnvironmentRow | PeerId:
        """It, or who of our lab has it built now; nobody."""
        ...

    async def take_in(
        self,
        key: bytes,
        source: str,
        left: Sequence[StoredFile],
        *,
        is_private: bool,
        person: str = "",
    ) -> EnvironmentRow:
        """Raises EnvironmentDamagedError."""
        ...

    async def forget(self, key: bytes, person: str = "") -> EnvironmentRow | None: ...


class NodeFace(Protocol):
    """The node, as far as its owner may steer it through the API."""

    @property
    def config(self) -> Config: ...

    @property
    def objects(self) -> Objects: ...

    @property
    def names(self) -> NameStore: ...

    @property
    def household(self) -> HouseholdFace: ...

    @property
    def environments(self) -> EnvironmentsFace: ...

    @property
    def estate(self) -> EstateFace: ...

    @property
    def market(self) -> MarketFace: ...

    @property
    def taken_over_ms(self) -> int:
        """What was put before may be another machine's, which took this one over; 0: nobody did."""
        ...

    @property
    def pause_grace_s(self) -> float:
        """Notice that tasks get when the owner does not say how much."""
        ...

    def status(self, person: str = "") -> Status:
        """As one of several people of this machine is to see it; empty: its owner."""
        ...

    def not_ready(self) -> tuple[str, ...]:
        """Reasons why /readyz says no; empty when the node is ready."""
        ...

    def people_lines(self) -> tuple[MemberLine, ...]:
        """The people, as their certificates say, and those who were removed."""
        ...

    async def remove_from_network(self, who: str, *, with_invited: bool) -> RemovalDone:
        """Raises SubjectUnknownError, RemovalRefusedError."""
        ...

    async def phrase_by_lab(self, who: str) -> PhraseShown:
        """Raises SubjectUnknownError, NotAllowedError, RecoveryRefusedError, StorageError."""
        ...

    async def remove_as_lab(self, address: Address, reason: str) -> Forgotten:
        """Raises NotAllowedError, ObjectUnknownError, ManifestError, StoreFullError."""
        ...

    async def cancel_as_lab(self, task: TaskId, reason: str) -> TaskView:
        """Raises NotAllowedError, TaskUnknownError, TaskUnreachableError."""
        ...

    def peer_lines(self) -> tuple[PeerLine, ...]: ...

    async def ping(self, peer: PeerId, count: int) -> tuple[float, ...]:
        """Round trips in milliseconds. Raises PeerUnreachableError, CallTimeoutError."""
        ...

    async def join_through(self, address: str) -> PeerId:
        """Raises DialError naming what failed."""
        ...
