"""Where tasks, auctions and jobs lie in the tables, and how they are read back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from swarmnode.limits import TASK_RECORD_BYTES_MAX
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import FenceRecord, JobRecord, MovedRecord, RoundRecord, TaskRecord

if TYPE_CHECKING:  # cores name these tables, and the engine's port knows the event loop
    from storage.engine.port import ReadView
from storage.engine.stored import stored

TASKS: Final = "tasks"
ROUNDS: Final = "task_rounds"
JOBS: Final = "jobs"
FENCES: Final = "fences"
LOG_PAGES: Final = "log_pages"
LOG_STREAMS: Final = "log_streams"
FORGOTTEN: Final = "tasks_forgotten"
"""Tasks of ours that are no more: when that was, in eight bytes, and their keys."""
MOVED: Final = "tasks_moved"
"""Tasks that were submitted here and go on at another machine of their owner, and at which."""
GUARDS: Final = "guards"
"""Tasks that this machine keeps, its own included (swarmnode.market.guardians)."""
OWNER: Final = "owner"
"""What this machine's owner has asked for, and who took it over: `paused`, `taken`."""

PAUSED_KEY: Final = b"paused"
TAKEN_KEY: Final = b"taken"
"""When another machine of this person took this one over, eight bytes."""
_PAGE: Final = 500


def task_key(task: TaskId) -> bytes:
    """Key of a task, and the prefix of everything kept per task."""
    return task.encode()


def round_key(task: TaskId, number: int) -> bytes:
    """Key of one auction: in order within its task."""
    return task.encode() + number.to_bytes(4)


def job_key(task: TaskId, fence: int) -> bytes:
    """Key of one attempt at its provider."""
    return task.encode() + fence.to_bytes(8)


def task_of(raw: bytes) -> TaskRecord:
    """A row of TASKS."""
    return stored(TaskRecord, raw, "state.lmdb", TASK_RECORD_BYTES_MAX)


def load_tasks(view: ReadView) -> list[TaskRecord]:
    """Every task ever submitted here that was not forgotten."""
    return [task_of(raw) for _, raw in scan_all(view, TASKS)]


def load_rounds(view: ReadView, task: TaskId) -> list[RoundRecord]:
    """The auctions kept for one task, in order."""
    rows = scan_all(view, ROUNDS, task_key(task))
    return [stored(RoundRecord, raw, "state.lmdb", TASK_RECORD_BYTES_MAX) for _, raw in rows]


def load_forgotten(view: ReadView) -> dict[TaskId, bytes]:
    """Tasks of ours that are no more, with their keys, the one forgotten first is first."""
    rows = sorted((raw[:8], key, raw[8:]) for key, raw in scan_all(view, FORGOTTEN))
    return {TaskId(task.decode()): key for _, task, key in rows}


def load_moved(view: ReadView) -> dict[TaskId, MovedRecord]:
    """Tasks that go on elsewhere, the one that went first is first."""
    moved = [
        (TaskId(key.decode()), stored(MovedRecord, raw, "state.lmdb"))
        for key, raw in scan_all(view, MOVED)
    ]
    return dict(sorted(moved, key=lambda pair: (pair[1].moved_ms, pair[0])))


def load_jobs(view: ReadView) -> list[JobRecord]:
    """Every job that was not settled when this node stopped."""
    return [
        stored(JobRecord, raw, "state.lmdb", TASK_RECORD_BYTES_MAX)
        for _, raw in scan_all(view, JOBS)
    ]


def load_fences(view: ReadView) -> dict[TaskId, FenceRecord]:
    """The newest fence accepted here for each task, oldest note first."""
    fences = [
        (TaskId(key.decode()), stored(FenceRecord, raw, "state.lmdb"))
        for key, raw in scan_all(view, FENCES)
    ]
    return dict(sorted(fences, key=lambda pair: (pair[1].noted_ms, pair[0])))


def load_paused(view: ReadView) -> bool:
    """Whether the owner had paused this machine."""
    return view.get(OWNER, PAUSED_KEY) is not None


def load_taken_over_ms(view: ReadView) -> int:
    """The newest takeover of this machine that it knows of."""
    return int.from_bytes((view.get(OWNER, TAKEN_KEY) or b"")[:8])


def scan_all(view: ReadView, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Every pair of a table whose key begins so, in order."""
    after: bytes | None = None
    while page := view.scan(table, prefix, after=after, limit=_PAGE):
        yield from page
        after = page[-1][0]
