"""What happens to the keepers of tasks, and what they decide."""

from collections.abc import Sequence
from dataclasses import dataclass

from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId


@dataclass(frozen=True, slots=True)
class GuardsLoaded:
    """What an earlier life of this node held."""

    records: Sequence[GuardRecord]


@dataclass(frozen=True, slots=True)
class KeeperStands:
    """What membership thinks of a machine; None when it has forgotten it."""

    peer: PeerId
    liveness: Liveness | None
    lab: LabId


@dataclass(frozen=True, slots=True)
class KeepHeard:
    """A record came; that its sender knows the task's key was checked."""

    peer: PeerId
    record: GuardRecord
    is_ours: bool = False
    """A right in it shows that it was submitted to a machine of this person."""


@dataclass(frozen=True, slots=True)
class OwnersRemoved:
    """These machines were removed from the network: nobody keeps anything for them."""

    owners: frozenset[PeerId]


@dataclass(frozen=True, slots=True)
class HomeHeard:
    """The owner of a task is at that machine now; the task's key has signed it."""

    peer: PeerId
    task: TaskId


@dataclass(frozen=True, slots=True)
class YoungDue:
    """Timer: a task is old enough to need keepers."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class StandDue:
    """Timer: perhaps nobody acts for a task."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class GuardTick:
    """Timer: beats, and whoever was not heard."""


@dataclass(frozen=True, slots=True)
class Carry:
    """For the service: bring a record to a keeper by KeepTask."""

    peer: PeerId
    record: GuardRecord


@dataclass(frozen=True, slots=True)
class Confirmed:
    """For the service: a keeper holds more of a task than it said before."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class LogsWanted:
    """For the service: what a task of ours printed while another acted for it is there."""

    task: TaskId
    peer: PeerId
    is_up: bool
    """That machine lives, as far as is known."""


@dataclass(frozen=True, slots=True)
class Acts:
    """Decision: this machine acts for the task from here on, and goes on from this record."""

    record: GuardRecord
    before: PeerId
    """Who acted until now."""


@dataclass(frozen=True, slots=True)
class Rests:
    """Decision: another machine acts for the task."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class TaskLetGo:
    """Decision: the owner has everything of a task that we kept for it."""

    task: TaskId
