"""What was taken over of each task, and where its log lies: rows of the table of estates."""

from typing import Final

from p2p.wire.codec import Record
from storage.engine.port import ReadView
from storage.engine.stored import stored
from swarmnode.tasks.ids import TaskId

ESTATES: Final = "estates"
"""task -> EstateRow."""


class EstateRow(Record, frozen=True):
    """What was taken over of a task: it is not done twice, whatever a person removed since."""

    step: int = 0
    """Newest checkpoint."""
    has_outputs: bool = False
    made_ms: int = 0
    """When that was made: it may be made again."""
    log_bytes: int = 0
    """How long its log was when it was put into the pool; 0: it was not."""
    log_at: bytes = b""
    """The address of the object that it is in."""
    left_fence: int = 0
    """The newest failed attempt whose outputs were taken over."""


def row_of(view: ReadView, task: TaskId) -> EstateRow:
    """What is known of one task."""
    data = view.get(ESTATES, task.encode())
    return EstateRow() if data is None else stored(EstateRow, data, "state.lmdb")
