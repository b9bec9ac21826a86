"""What must not run twice (`effects = "once"`) and of which nobody can say whether it runs.

A submitter's machine was lost, and what its owner brought back of a task is seconds old: it may
have been awarded since. Its keepers are asked, again after a restart, until they answer; it is
failed when none has and no process of it can live any more. Of a task whose machine is silent it
is known that it may run; when another keeper may still let it, only its timeout ends it for sure.
"""

from typing import Final

import msgspec

from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import Repeatability

ASKING: Final = "its submitter's machine was lost; its guardians are asked how it stands"
NOBODY_KNOWS: Final = "its submitter's machine was lost and none of its guardians answered"
UNHEARD: Final = (
    "it must not run twice: waiting until its guardians are heard, who have to know where it runs"
)
UNDECIDED: Final = (
    "its machine is silent and may still run it, which must not happen twice: waiting until that "
    "is back, or its timeout is over there, too (task cancel ends the wait)"
)


def taken_up(record: TaskRecord, now_ms: int, taken_over_ms: int = 0) -> TaskRecord:
    """As it is written down where its owner recovered it. `taken_over_ms`: what that machine
    knows of takeovers of itself."""
    record = msgspec.structs.replace(record, after_taken_over_ms=taken_over_ms)
    if record.state in TASK_ENDS or record.taken_up_ms:
        return record
    return msgspec.structs.replace(record, taken_up_ms=now_ms, why=ASKING)


def may_have_begun(record: TaskRecord) -> bool:
    """Whether a task that waits for an auction may have been awarded without our knowing."""
    is_known = record.state not in (TaskState.SUBMITTED, TaskState.LOST, TaskState.AUCTIONED)
    return record.spec.effects is Repeatability.ONCE and record.taken_up_ms > 0 and not is_known
