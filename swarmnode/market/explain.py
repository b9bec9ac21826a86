"""What the market shows of its tasks: views, explanations and events. Plain values."""

from typing import Final, TypeAlias

import msgspec

from p2p.ids import PeerId
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.messages import Phase
from swarmnode.tasks.records import RoundRecord, TaskRecord

NOBODY: Final = PeerId("")


class TaskView(msgspec.Struct, frozen=True):
    """A task as its submitter knows it now."""

    record: TaskRecord
    phase: Phase = Phase.UNKNOWN
    """What its provider said last; UNKNOWN while there is none or it has not spoken yet."""
    keepers: GuardRecord | None = None
    """Who would go on with it; None while too few hold it: it has just begun, or has ended."""
    may_act: bool = True
    """Whether this machine acts for it now, and not one of its guardians."""
    log_at: PeerId = NOBODY
    """Who has the rest of what it printed, of one that has ended; empty: it is all here."""

    @property
    def task(self) -> TaskId:
        """Its id."""
        return self.record.task

    @property
    def state(self) -> TaskState:
        """Where it stands."""
        return self.record.state

    @property
    def has_ended(self) -> bool:
        """Done, failed or cancelled: nothing will change any more."""
        return self.record.state in TASK_ENDS


class Explanation(msgspec.Struct, frozen=True):
    """Why a task is where it is: `view.record` has the attempts and `why`, `rounds` every bid.

    Of a dry run `rounds` is the one auction held and the task's id is empty.
    """

    view: TaskView
    rounds: tuple[RoundRecord, ...]
    """The newest auctions, oldest first; each names the machines not asked, and why."""


class EventsMissed(msgspec.Struct, frozen=True):
    """A reader was too slow: so many events are not in its stream; read the tasks again."""

    count: int


TaskEvent: TypeAlias = TaskChanged | EventsMissed
