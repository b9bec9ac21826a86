"""What the run of a job tells its seller, and reasons for which its result is unwanted."""

from dataclasses import dataclass
from typing import Final

from p2p.ids import PeerId
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import Outcome

UNWANTED: Final = ("unwanted", "superseded", "removed")
"""Reasons to stop after which nobody wants the result."""


@dataclass(frozen=True, slots=True)
class Staged:
    """Inputs and checkpoint are in place; the job is about to be started."""

    task: TaskId
    fence: int


@dataclass(frozen=True, slots=True)
class CheckpointStored:
    """The pool keeps a newer checkpoint of the job."""

    task: TaskId
    fence: int
    checkpoint: CheckpointRecord


@dataclass(frozen=True, slots=True)
class CheckpointTrouble:
    """Why the newest checkpoint of the job is not kept; empty once one is."""

    task: TaskId
    fence: int
    note: str


@dataclass(frozen=True, slots=True)
class ProcessGone:
    """No process of the job lives; its outputs are still to be stored."""

    task: TaskId
    fence: int


@dataclass(frozen=True, slots=True)
class Ended:
    """No process of the job lives, its outputs are stored."""

    task: TaskId
    fence: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class LogsDelivered:
    """The buyer has every byte the job wrote, or does not want them."""

    task: TaskId
    fence: int
    buyer: PeerId
