"""What the run of a job tells its seller, and reasons for which its result is unwanted."""

from typing import Final, TypeAlias

import msgspec

from p2p.ids import PeerId
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import Outcome

UNWANTED: Final = ("unwanted", "superseded", "removed")
"""Reasons to stop after which nobody wants the result."""


class Staged(msgspec.Struct, frozen=True):
    """Inputs and checkpoint are in place; the job is about to be started."""

    task: TaskId
    fence: int


class CheckpointStored(msgspec.Struct, frozen=True):
    """The pool keeps a newer checkpoint of the job."""

    task: TaskId
    fence: int
    checkpoint: CheckpointRecord


class CheckpointTrouble(msgspec.Struct, frozen=True):
    """Why the newest checkpoint of the job is not kept; empty once one is."""

    task: TaskId
    fence: int
    note: str


class ProcessGone(msgspec.Struct, frozen=True):
    """No process of the job lives; its outputs are still to be stored."""

    task: TaskId
    fence: int


class Ended(msgspec.Struct, frozen=True):
    """No process of the job lives, its outputs are stored."""

    task: TaskId
    fence: int
    outcome: Outcome


class LogsDelivered(msgspec.Struct, frozen=True):
    """The buyer has every byte the job wrote, or does not want them."""

    task: TaskId
    fence: int
    buyer: PeerId


RunEvent: TypeAlias = (
    Staged | CheckpointStored | CheckpointTrouble | ProcessGone | Ended | LogsDelivered
)
