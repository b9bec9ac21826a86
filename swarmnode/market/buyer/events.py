"""What happens to a buyer: the events of `swarmnode.market.buyer.core` and what it tells."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from p2p import effects
from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.messages import KeeperMessage
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.messages import Accept, Bid, Decline
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged, TaskForgotten
from swarmnode.tasks.messages import Checkpointed, PreemptNotice, Result, State
from swarmnode.tasks.records import MovedRecord, RoundRecord, TaskRecord
from swarmnode.tasks.spec import TaskSpec

ProviderMessage: TypeAlias = Bid | Accept | Decline | Result | State | PreemptNotice | Checkpointed
"""What machines that bid, and providers, cast to a buyer."""
BuyerMessage: TypeAlias = ProviderMessage | KeeperMessage


class TasksLoaded(msgspec.Struct, frozen=True):
    """The node started; these tasks were written down by an earlier life."""

    records: Sequence[TaskRecord]
    guarded: Sequence[GuardRecord] = ()
    taken_over_ms: int = 0
    """The newest takeover of this machine that it knew of."""
    forgotten: Mapping[TaskId, bytes] = msgspec.field(default_factory=dict)
    """Tasks that are no more, with their keys."""
    moved: Mapping[TaskId, MovedRecord] = msgspec.field(default_factory=dict)
    """Tasks of ours that go on elsewhere."""


class TakenUp(msgspec.Struct, frozen=True):
    """Tasks of another machine of this person, which is gone; those that are new here were written
    down before."""

    records: Sequence[TaskRecord]
    sure_ms: int
    """What had ended before this is known as it is; of the rest the log may be missing."""
    is_told: bool = False
    """By guardians, who wait for us; else a copy knew of them."""
    forgotten: Mapping[TaskId, bytes] = msgspec.field(default_factory=dict)
    """Tasks that are no more there or here, with their keys."""


class Submitted(msgspec.Struct, frozen=True):
    """A new task, as the caller has written it down."""

    record: TaskRecord
    is_detached: bool = False
    """Its submitter may go away right now: its keepers are found at once."""


class WasTaken(msgspec.Struct, frozen=True):
    """Another machine of this person took this one over, by its clock."""

    at_ms: int


class GoesOnElsewhere(msgspec.Struct, frozen=True):
    """A machine of this person that took this one over has that task of ours for its own."""

    task: TaskId
    by: PeerId = PeerId("")
    """That machine."""


class ForgetAsked(msgspec.Struct, frozen=True):
    """The submitter wants a task that has ended to be no more."""

    task: TaskId


class CancelAsked(msgspec.Struct, frozen=True):
    """Its owner does not want a task any more. Nothing happens to one that has ended."""

    task: TaskId
    why: str = "cancelled"


class SecretRemoved(msgspec.Struct, frozen=True):
    """A person of this machine has removed a secret that open tasks of theirs may want."""

    person: str
    name: str


class DryRunAsked(msgspec.Struct, frozen=True):
    """Hold an auction for nothing; told by DryRunEnded with the same number."""

    number: int
    spec: TaskSpec


class Advertised(msgspec.Struct, frozen=True):
    """What a machine lends now; None when its word has expired or makes no sense."""

    peer: PeerId
    advert: ResourceAdvert | None


class MemberStands(msgspec.Struct, frozen=True):
    """What membership thinks of a machine; None when it has forgotten it."""

    peer: PeerId
    liveness: Liveness | None
    lab: LabId | None = None


class MessageHeard(msgspec.Struct, frozen=True):
    """A message came."""

    peer: PeerId
    message: BuyerMessage


class DryRunEnded(msgspec.Struct, frozen=True):
    """Notification: the auction a dry run would have won or lost."""

    number: int
    record: RoundRecord


class LogSettled(msgspec.Struct, frozen=True):
    """Notification: the log of a task that has ended is whole, or is waited for no more."""

    task: TaskId


class Tick(msgspec.Struct, frozen=True):
    """Timer: comes late when this machine was stopped."""


class RetryDue(msgspec.Struct, frozen=True):
    """Timer: put a waiting task to auction."""

    task: TaskId
    due_s: float


class WindowOver(msgspec.Struct, frozen=True):
    """Timer: whoever wanted to bid has."""

    auction: int


class AwardDue(msgspec.Struct, frozen=True):
    """Timer: say an award again, or give it up."""

    task: TaskId
    fence: int


class RenewalDue(msgspec.Struct, frozen=True):
    """Timer: renew a lease, or notice that its provider is gone."""

    task: TaskId
    fence: int
    due_s: float


class DeadlinePassed(msgspec.Struct, frozen=True):
    """Timer: a task had this long."""

    task: TaskId


OwnersWord: TypeAlias = (
    TasksLoaded
    | TakenUp
    | Submitted
    | WasTaken
    | GoesOnElsewhere
    | ForgetAsked
    | CancelAsked
    | SecretRemoved
    | DryRunAsked
)
Told: TypeAlias = OwnersWord | Advertised | MemberStands
Timer: TypeAlias = Tick | RetryDue | WindowOver | AwardDue | RenewalDue | DeadlinePassed
Event: TypeAlias = Told | Timer | MessageHeard | g.Event | g.LogsTold
Notice: TypeAlias = TaskChanged | TaskForgotten | DryRunEnded | LogSettled | g.Notice
Effect: TypeAlias = effects.Effect[Event, Notice]
