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
    told = record.task_record
    if told.task != record.task or told.submitter or not is_sound(told.spec):
        return "no record that a keeper could have made"
    if not _counts_right(record):
        return "a record that counts too far"
    if not _holds_together(told) or not all(_is_right(right) for _, right in record.rights):
        return "no record that a keeper could have made"
    return "" if _is_short(told) and _leaves_room(record) else _TOO_LONG


def _counts_right(record: GuardRecord) -> bool:
    """Whether every number is one that could have been counted to."""
    told = record.task_record
    turns = (record.term, record.seq, record.promised, told.fence)
    if not all(0 <= turn <= TERM_MAX for turn in turns):
        return False
    if not all(0 <= count <= COUNT_MAX for count in _counted(told)):
        return False
    if not all(0 <= attempt.restored_step <= STEP_MAX for attempt in told.attempts):
        return False
    rosters = (record.roster, record.before, record.keepers, record.rights)
    return 0 <= told.rounds <= _ROUNDS_MAX and all(len(roster) <= KEEPERS_MAX for roster in rosters)


def _holds_together(told: TaskRecord) -> bool:
    """Whether state, provider and fence are those of its newest attempt, lost secrets its own."""
    lost, wanted = told.lost_secrets, dict(told.spec.secrets)
    if len(set(lost)) < len(lost) or not all(name in wanted for name in lost):
        return False
    newest = told.attempts[-1] if told.attempts else None
    if newest is None:
        return not told.fence and not told.provider and told.state not in HELD_BY_PROVIDER
    return (newest.fence, newest.provider) == (told.fence, told.provider)


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


def _counted(told: TaskRecord) -> Iterator[int]:
    """What a submitter counts itself, and times by its clock; what a provider said is not."""
    yield from (told.submitted_ms, told.ended_ms, told.taken_up_ms, told.after_taken_over_ms)
    yield from (told.fence_floor, told.left_fence, told.retries_used)
    for attempt in told.attempts:
        yield from (attempt.fence, attempt.awarded_ms, attempt.accepted_ms)
        yield from (attempt.ended_ms, attempt.restored_ms)


def _is_short(told: TaskRecord) -> bool:
    if len(told.attempts) > ATTEMPTS_KEPT_MAX or len(told.left) > OUTPUTS_APART_MAX:
        return False
    if told.checkpoint is not None and not fits_award(told.checkpoint):
        return False
    if told.outcome is not None and sound(told.outcome) is not told.outcome:
        return False
    return len(encode(told)) <= KEPT_TASK_BYTES_MAX
