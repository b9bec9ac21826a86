"""What the seller is told, what it asks to be reminded of, and what it asks its service to do.

Messages come with the peer that sent them; sealed ones have been opened and verified before.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from p2p import effects
from p2p.ids import LabId, PeerId, PersonId
from swarmnode.market.guardians.messages import ClaimTerms
from swarmnode.market.messages import AwardTerms, CallForBids
from swarmnode.market.run.events import RunEvent
from swarmnode.market.seller.room import Capacity, Fitness
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import CancelJob, Query, ReceiptTerms, Renew
from swarmnode.tasks.records import FenceRecord, JobRecord
from swarmnode.tasks.spec import PriorityClass

# -- heard from buyers


class CallHeard(msgspec.Struct, frozen=True):
    """Somebody asks who can run a task."""

    peer: PeerId
    lab: LabId
    """Empty for a peer whose lab we do not know."""
    is_ours: bool
    """Whether it is of our own lab."""
    call: CallForBids
    is_owner: bool = False
    """Whether it is a machine of the person whose machine this is, by its certificate."""

    @property
    def is_owners(self) -> bool:
        """The owner of this machine wants it for a task of their own."""
        return self.is_owner and self.call.priority_class is PriorityClass.OWNER


class ReleaseHeard(msgspec.Struct, frozen=True):
    """The buyer no longer needs what it asked for in an auction."""

    peer: PeerId
    auction: int


class AwardHeard(msgspec.Struct, frozen=True):
    """A verified award, signed by the peer that sent it."""

    peer: PeerId
    terms: AwardTerms


class JobHeard(msgspec.Struct, frozen=True):
    """The buyer speaks about an attempt."""

    peer: PeerId
    message: Renew | Query | CancelJob


class ReceiptHeard(msgspec.Struct, frozen=True):
    """A verified receipt, signed by the peer that sent it."""

    peer: PeerId
    terms: ReceiptTerms


class ClaimHeard(msgspec.Struct, frozen=True):
    """Who acts for a task has changed; the task's key has signed it."""

    peer: PeerId
    terms: ClaimTerms


# -- this machine


class JobsLoaded(msgspec.Struct, frozen=True):
    """What an earlier life of this node wrote down; the first event of all."""

    jobs: tuple[JobRecord, ...]
    fences: tuple[tuple[TaskId, FenceRecord], ...]
    """Oldest note first."""
    is_paused: bool
    node_died_ms: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Jobs soon after whose start the node's process died, and how soon."""


class Surveyed(msgspec.Struct, frozen=True):
    """What the machine can do now."""

    capacity: Capacity
    fitness: Fitness


class PauseAsked(msgspec.Struct, frozen=True):
    """The owner wants the machine back."""

    grace_s: float


class ResumeAsked(msgspec.Struct, frozen=True):
    """The owner lends the machine again."""


class BuyersRemoved(msgspec.Struct, frozen=True):
    """These machines were removed from the network, with their people."""

    buyers: frozenset[PeerId]
    people: frozenset[PersonId] = frozenset()
    """Those none of whose machines is a member any more; others may act for their tasks."""


# -- timers


class HoldOver(msgspec.Struct, frozen=True):
    """Room held for a bid that nobody took up."""

    bid: int


class WaitingOver(msgspec.Struct, frozen=True):
    """A place in the queue that was kept long enough."""

    peer: PeerId
    auction: int


class LeaseDue(msgspec.Struct, frozen=True):
    """Look whether the buyer still renews."""

    task: TaskId
    fence: int


class BeatDue(msgspec.Struct, frozen=True):
    """Tell the buyer how the job stands."""

    task: TaskId
    fence: int


class ResultDue(msgspec.Struct, frozen=True):
    """Tell the buyer the result once more."""

    task: TaskId
    fence: int


class PatienceOver(msgspec.Struct, frozen=True):
    """Nobody has asked for the result in all that time."""

    task: TaskId
    fence: int


# -- for the service


class StartJob(msgspec.Struct, frozen=True):
    """Run the job, or go on with it after a restart; nothing is started before it is Leased."""

    record: JobRecord


class BuyerChanged(msgspec.Struct, frozen=True):
    """Another machine acts for the job's task: it gets the log and the result."""

    record: JobRecord


class Leased(msgspec.Struct, frozen=True):
    """The job may go on until then, whatever becomes of this node; it is told a while before."""

    job: str
    until_s: float
    notice_s: float


class Stop(msgspec.Struct, frozen=True):
    """End the job's processes: SIGTERM, then kill after the grace."""

    job: str
    grace_s: float
    reason: str


class SendResult(msgspec.Struct, frozen=True):
    """Seal the job's outcome and send it to the buyer."""

    record: JobRecord


class Settle(msgspec.Struct, frozen=True):
    """The job is over for good: forget its folder; its checkpoints too when it is done."""

    record: JobRecord
    is_done: bool
    is_wanted: bool = True
    """False when the buyer said so: what the job left is nobody's."""


class CheckpointHad(msgspec.Struct, frozen=True):
    """The buyer has written down the checkpoint made then: what it replaced may go."""

    job: str
    made_ms: int


class RoomChanged(msgspec.Struct, frozen=True):
    """What is free, or whether the machine lends at all, is no longer what it was."""


Heard: TypeAlias = CallHeard | ReleaseHeard | AwardHeard | JobHeard | ClaimHeard | ReceiptHeard
Told: TypeAlias = JobsLoaded | Surveyed | PauseAsked | ResumeAsked | BuyersRemoved
Timer: TypeAlias = HoldOver | WaitingOver | LeaseDue | BeatDue | ResultDue | PatienceOver
Event: TypeAlias = Heard | Told | Timer | RunEvent
Notice: TypeAlias = (
    StartJob | BuyerChanged | Leased | Stop | SendResult | Settle | CheckpointHad | RoomChanged
)
Effect: TypeAlias = effects.Effect[Event, Notice]
