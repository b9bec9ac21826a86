"""Whether a record that another keeper brought is one that could be kept, and gone on with.

Who has a task's key can make any record of it. What is accepted is written down, grows by what
the next attempts leave, and is read again at the next start: so all of it keeps to the bounds
that hold for a task of our own.
"""

from collections.abc import Iterator
from typing import Final

from p2p.errors import WireError
from p2p.wire.codec import encode
from storage.limits import RIGHT_LINKS_MAX
from storage.rights import Right, named_in
from swarmnode.limits import (
    ATTEMPTS_KEPT_MAX,
    COUNT_MAX,
    GUARD_RECORD_BYTES_MAX,
    KEEPERS_MAX,
    KEPT_TASK_BYTES_MAX,
    OUTPUTS_APART_MAX,
    RIGHT_BYTES_MAX,
    STEP_MAX,
)
from swarmnode.market.counting import TERM_MAX
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.outcomes import sound
from swarmnode.tasks.checkpoint import fits_award
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec_load import is_sound

_ROUNDS_MAX: Final = 1 << 31
"""The number of an auction is four bytes of its key."""
_TOO_LONG: Final = "a record with more in it than a task has"


def fault_in(record: GuardRecord) -> str:
    """Why it is refused; empty for one that any keeper could have made."""
    kept = record.kept
    if kept.task != record.task or kept.owner or not is_sound(kept.spec):
        return "no record that a keeper could have made"
    if not _counts_right(record):
        return "a record that counts too far"
    if not _holds_together(kept) or not all(_is_right(right) for _, right in record.rights):
        return "no record that a keeper could have made"
    return "" if _is_short(kept) and _leaves_room(record) else _TOO_LONG


def _counts_right(record: GuardRecord) -> bool:
    """Whether every number is one that could have been counted to."""
    kept = record.kept
    turns = (record.term, record.seq, record.promised, kept.fence)
    if not all(0 <= turn <= TERM_MAX for turn in turns):
        return False
    if not all(0 <= count <= COUNT_MAX for count in _counted(kept)):
        return False
    if not all(0 <= attempt.restored_step <= STEP_MAX for attempt in kept.attempts):
        return False
    rosters = (record.roster, record.before, record.keepers, record.rights)
    return 0 <= kept.rounds <= _ROUNDS_MAX and all(len(roster) <= KEEPERS_MAX for roster in rosters)


def _holds_together(kept: TaskRecord) -> bool:
    """Whether state, provider and fence are those of its newest attempt."""
    newest = kept.attempts[-1] if kept.attempts else None
    if newest is None:
        return not kept.fence and not kept.provider and kept.state not in HELD_BY_PROVIDER
    return (newest.fence, newest.provider) == (kept.fence, kept.provider)


def _is_right(right: Right) -> bool:
    """Whether it can be handed on, or says why not."""
    if not 1 <= len(right.links) <= RIGHT_LINKS_MAX:
        return False
    try:
        named_in(right)
    except WireError:
        return False
    return len(encode(right)) <= RIGHT_BYTES_MAX


def _leaves_room(record: GuardRecord) -> bool:
    """Each change by who acts makes it longer."""
    return len(encode(record)) <= GUARD_RECORD_BYTES_MAX - KEEPERS_MAX * RIGHT_BYTES_MAX


def _counted(kept: TaskRecord) -> Iterator[int]:
    """What a submitter counts itself, and times by its clock; what a provider said is not."""
    yield from (kept.submitted_ms, kept.ended_ms, kept.taken_up_ms, kept.after_taken_over_ms)
    yield from (kept.fence_floor, kept.left_fence, kept.retries_used)
    for attempt in kept.attempts:
        yield from (attempt.fence, attempt.awarded_ms, attempt.accepted_ms)
        yield from (attempt.ended_ms, attempt.restored_ms)


def _is_short(kept: TaskRecord) -> bool:
    if len(kept.attempts) > ATTEMPTS_KEPT_MAX or len(kept.left) > OUTPUTS_APART_MAX:
        return False
    if kept.checkpoint is not None and not fits_award(kept.checkpoint):
        return False
    if kept.outcome is not None and sound(kept.outcome) is not kept.outcome:
        return False
    return len(encode(kept)) <= KEPT_TASK_BYTES_MAX
