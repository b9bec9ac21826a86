"""What happens to a buyer: the events of `swarmnode.market.buyer.core` and what it tells."""

from collections.abc import Sequence
from dataclasses import dataclass

from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from p2p.wire.codec import Message
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import RoundRecord, TaskRecord
from swarmnode.tasks.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class TasksLoaded:
    """The node started; these tasks were written down by an earlier life."""

    records: Sequence[TaskRecord]
    guarded: Sequence[GuardRecord] = ()
    taken_ms: int = 0
    """The newest takeover of this machine that it knew of."""


@dataclass(frozen=True, slots=True)
class TakenUp:
    """Tasks of another machine of this person, which is gone; those that are new here were written
    down before."""

    records: Sequence[TaskRecord]
    sure_ms: int
    """What had ended before this is known as it is; of the rest the log may be missing."""
    is_told: bool = False
    """By guardians, who wait for us; else a copy knew of them."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A new task, as the caller has written it down."""

    record: TaskRecord
    is_detached: bool = False
    """Its submitter may go away right now: its keepers are found at once."""


@dataclass(frozen=True, slots=True)
class WasTaken:
    """Another machine of this person took this one over, by its clock."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class GoesOnElsewhere:
    """A machine of this person that took this one over has that task of ours for its own."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class ForgetAsked:
    """The submitter wants a task that has ended to be no more."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Its owner does not want a task any more. Nothing happens to one that has ended."""

    task: TaskId
    why: str = "cancelled"


@dataclass(frozen=True, slots=True)
class DryRunAsked:
    """Hold an auction for nothing; told by DryRunEnded with the same number."""

    number: int
    spec: TaskSpec


@dataclass(frozen=True, slots=True)
class Advertised:
    """What a machine lends now; None when its word has expired or makes no sense."""

    peer: PeerId
    advert: ResourceAdvert | None


@dataclass(frozen=True, slots=True)
class MemberStands:
    """What membership thinks of a machine; None when it has forgotten it."""

    peer: PeerId
    liveness: Liveness | None
    lab: LabId | None = None


@dataclass(frozen=True, slots=True)
class MessageHeard:
    """A message came."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class DryRunEnded:
    """Notification: the auction a dry run would have won or lost."""

    number: int
    record: RoundRecord


@dataclass(frozen=True, slots=True)
class Woke:
    """This machine slept, and no clock of ours shows it: others may have given us up meanwhile."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Timer: comes late when this machine was stopped."""


@dataclass(frozen=True, slots=True)
class RetryDue:
    """Timer: put a waiting task to auction."""

    task: TaskId
    due_s: float


@dataclass(frozen=True, slots=True)
class WindowOver:
    """Timer: whoever wanted to bid has."""

    auction: int


@dataclass(frozen=True, slots=True)
class AwardDue:
    """Timer: say an award again, or give it up."""

    task: TaskId
    fence: int


@dataclass(frozen=True, slots=True)
class RenewalDue:
    """Timer: renew a lease, or notice that its provider is gone."""

    task: TaskId
    fence: int
    due_s: float


@dataclass(frozen=True, slots=True)
class EndsCopied:
    """The keyring is copied into the pool; the copy has the ends of these tasks, and their logs.

    Said first of none: from then on it is waited for.
    """

    tasks: frozenset[TaskId]


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """Timer: a task had this long."""

    task: TaskId
