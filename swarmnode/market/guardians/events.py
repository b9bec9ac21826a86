"""What happens to the keepers of tasks, and what they decide."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from p2p import effects
from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord


class GuardsLoaded(msgspec.Struct, frozen=True):
    """What an earlier life of this node held."""

    records: Sequence[GuardRecord]


class KeeperStands(msgspec.Struct, frozen=True):
    """What membership thinks of a machine; None when it has forgotten it."""

    peer: PeerId
    liveness: Liveness | None
    lab: LabId


class KnowsSecrets(msgspec.Struct, frozen=True):
    """A machine said whether its version knows secrets of tasks; not: it says nothing now."""

    peer: PeerId
    knows: bool


class KeepHeard(msgspec.Struct, frozen=True):
    """A record came; that its sender knows the task's key was checked."""

    peer: PeerId
    record: GuardRecord
    is_ours: bool = False
    """A right in it shows that it was submitted to a machine of this person."""


class MachinesRemoved(msgspec.Struct, frozen=True):
    """These machines were removed from the network: nobody keeps anything for them."""

    machines: frozenset[PeerId]


class HomeHeard(msgspec.Struct, frozen=True):
    """The owner of a task is at that machine now, which is its submitter from here on; the task's
    key has signed it."""

    peer: PeerId
    task: TaskId


class EndsCopied(msgspec.Struct, frozen=True):
    """The keyring is copied into the pool; the copy has the ends of these tasks, and their logs.

    Said first of none: from then on it is waited for.
    """

    tasks: frozenset[TaskId]


class Woke(msgspec.Struct, frozen=True):
    """This machine slept, and no clock of ours shows it: others may have given us up meanwhile."""


class TaskBegun(msgspec.Struct, frozen=True):
    """A task of ours is new, or was found after a restart."""

    record: TaskRecord
    at_once: bool = False
    """This machine may go away now; else one that is over soon needs no keepers."""


class TaskNoted(msgspec.Struct, frozen=True):
    """The record of a task in the ledger has changed: its keepers should know."""

    record: TaskRecord


class TaskTakenUp(msgspec.Struct, frozen=True):
    """Another machine of our owner had submitted it: its keepers have to be found first."""

    record: TaskRecord
    patience_s: float
    """How long they are asked at least."""


class TaskWentOn(msgspec.Struct, frozen=True):
    """Another machine of our owner has a task of ours for its own."""

    task: TaskId


class TaskRemoved(msgspec.Struct, frozen=True):
    """Its owner removed it: whoever still keeps it forgets it."""

    task: TaskId


class YoungDue(msgspec.Struct, frozen=True):
    """Timer: a task is old enough to need keepers."""

    task: TaskId


class StandDue(msgspec.Struct, frozen=True):
    """Timer: perhaps nobody acts for a task."""

    task: TaskId


class GuardTick(msgspec.Struct, frozen=True):
    """Timer: beats, and whoever was not heard."""


class Carry(msgspec.Struct, frozen=True):
    """For the service: bring a record to a keeper by KeepTask."""

    peer: PeerId
    record: GuardRecord


class Confirmed(msgspec.Struct, frozen=True):
    """For the service: a keeper holds more of a task than it said before."""

    task: TaskId


class LogsWanted(msgspec.Struct, frozen=True):
    """For the service: what a task of ours printed while another acted for it is there."""

    task: TaskId
    peers: tuple[PeerId, ...]
    """Who may have more of it: first who acted for it, then who keeps copies. One at least."""
    newest: int
    """The last attempt that they can know of."""
    log_bytes: tuple[int, ...]
    """What that attempt printed to stdout and to stderr; empty: not known, or not over."""
    known: tuple[int, ...]
    """The attempts that count, the newest ones: what others printed here is dropped."""
    is_up: bool
    """The first machine lives, as far as is known."""


class LogsTold(msgspec.Struct, frozen=True):
    """Somebody was asked for the log of a task of ours; for the buyer, no keeper needs it."""

    task: TaskId
    peer: PeerId
    is_whole: bool
    """The log is all here now, as far as can be known; else that machine has no more of it."""


class Acts(msgspec.Struct, frozen=True):
    """Decision: this machine acts for the task from here on, and goes on from this record."""

    record: GuardRecord
    before: PeerId
    """Who acted until now."""


class Rests(msgspec.Struct, frozen=True):
    """Decision: another machine acts for the task."""

    task: TaskId


class TaskLetGo(msgspec.Struct, frozen=True):
    """Decision: its submitter has everything of a task that we kept for it."""

    task: TaskId


Heard: TypeAlias = KeepHeard | HomeHeard
OurSide: TypeAlias = TaskBegun | TaskNoted | TaskTakenUp | TaskWentOn | TaskRemoved
"""What the buyer's core tells of its own tasks, in the same step."""
Told: TypeAlias = (
    GuardsLoaded | KeeperStands | KnowsSecrets | MachinesRemoved | EndsCopied | Woke | OurSide
)
Timer: TypeAlias = YoungDue | StandDue | GuardTick
Event: TypeAlias = Heard | Told | Timer
Notice: TypeAlias = Carry | Confirmed | LogsWanted
Effect: TypeAlias = effects.Effect[Event, Notice]
Decision: TypeAlias = Acts | Rests | TaskLetGo
