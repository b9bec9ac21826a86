"""From which checkpoint the next attempt of a task begins.

    newest -- failed twice --> the one before -- failed twice --> ... --> none

The newest one may be what the task fails of: torn, full of NaN, or written by a program that was
about to crash. Attempts that were lost, stopped or moved say nothing of the kind. As soon as an
attempt has stored progress of its own the count begins anew, from that; until then the newest one
is kept, for whoever mends the program and wants to go on from it.
"""

import msgspec

from swarmnode.limits import CHECKPOINT_TRIES_MAX
from swarmnode.tasks.checkpoint import CheckpointRecord, OlderStep, resume_step
from swarmnode.tasks.records import UNREADABLE, Outcome, TaskRecord
from swarmnode.tasks.spec import Repeatability


def is_bad_start(outcome: Outcome) -> bool:
    """Whether an end may be the doing of the checkpoint that the attempt began from."""
    return outcome.status == "failed" or (outcome.status, outcome.reason) == ("unfit", UNREADABLE)


def start_of(record: TaskRecord) -> CheckpointRecord | None:
    """What the next attempt is given; one of step 0 has no files. None: there never was one."""
    if record.checkpoint is None:
        return None
    starts = _starts(record.checkpoint)
    at = _place(record, starts)
    mine = [
        attempt for attempt in record.attempts if attempt.restored_ms == record.checkpoint.made_ms
    ]
    tries = sum(
        attempt.is_bad_start and attempt.restored_step == starts[at].step for attempt in mine
    )
    return starts[min(at + (tries >= CHECKPOINT_TRIES_MAX), len(starts) - 1)]


def base_of(record: TaskRecord) -> CheckpointRecord | None:
    """What progress of the newest attempt has to be newer than."""
    if record.checkpoint is None:
        return None
    starts = _starts(record.checkpoint)
    return starts[_place(record, starts)]


def falls_back(record: TaskRecord, outcome: Outcome) -> str:
    """What to say when the next attempt begins from an older step for this end; else empty."""
    is_last = outcome.status == "failed" and record.retries_used >= record.spec.retries
    if is_last or not is_bad_start(outcome) or record.spec.effects is Repeatability.ONCE:
        return ""
    before = base_of(record)
    last = msgspec.structs.replace(record.attempts[-1], is_bad_start=True)
    after = start_of(msgspec.structs.replace(record, attempts=(*record.attempts[:-1], last)))
    if before is None or after is None or before.step == after.step:
        return ""
    whence = f"step {after.step}" if after.step else "the beginning, without a checkpoint"
    return f"{CHECKPOINT_TRIES_MAX} attempts from step {before.step}: the next is from {whence}"


def _place(record: TaskRecord, starts: list[CheckpointRecord]) -> int:
    """Where among the starts the newest attempt began; 0 when it knew an older checkpoint."""
    last = record.attempts[-1] if record.attempts else None
    if last is None or not last.restored_ms or last.restored_ms != starts[0].made_ms:
        return 0
    steps = [start.step for start in starts]
    return steps.index(last.restored_step) if last.restored_step in steps else 0


def _starts(newest: CheckpointRecord) -> list[CheckpointRecord]:
    """Everything that can be begun from, the newest first; at last with nothing."""
    older = [step for step in newest.older if step.step < resume_step(newest)]
    nothing = CheckpointRecord(0, (), newest.made_ms)
    return [newest, *(_as_newest(step, newest) for step in older), nothing]


def _as_newest(older: OlderStep, newest: CheckpointRecord) -> CheckpointRecord:
    """An older step with what lay beside the newest: of that only one state is kept."""
    loose = newest.files[1:] if older.beside else ()
    rest = tuple(other for other in newest.older if other.step < older.step)
    return CheckpointRecord(
        older.step, (older.file, *loose), newest.made_ms, rest, beside=older.beside
    )
