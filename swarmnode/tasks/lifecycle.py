"""The two lifecycles of compute, as tables: a task at its submitter, a job at its provider.

    submitted -> auctioned -> awarded -> running -> done | failed | cancelled
        ^            |  ^        |          |
        +------------+--|--------+----------+      refused, or to be tried again
                        +- lost <+----------+      (a lost provider costs no retry)

    leased -> running -> stopping -> reporting -> settled      (each may end early)

Every legal step is one row; the absence of a row is the refusal (IllegalTransitionError). All moves
go by these tables but one: `Ledger.adopt` takes a record over from other keepers as it stands.
From every state before its end a task may be given up, cancelled, or finished by a late result.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from swarmnode.errors import IllegalTransitionError


class TaskState(StrEnum):
    """Where a task stands, at the machine it was submitted to."""

    SUBMITTED = "submitted"  # waiting for its next auction
    AUCTIONED = "auctioned"  # bids are awaited
    AWARDED = "awarded"  # promised to one provider that has not accepted yet
    RUNNING = "running"
    LOST = "lost"  # its provider is gone; the next auction restores its last checkpoint
    DONE = "done"  # an attempt ended well; its outcome is here
    FAILED = "failed"  # no further attempt follows
    CANCELLED = "cancelled"  # by its owner, or by the lab's key


class TaskFact(StrEnum):
    """What happened to a task."""

    BIDDING_OPENED = "bidding opened"
    NOBODY_HELD = "nobody held"
    INTERRUPTED = "interrupted"  # by a restart of this node, during an auction
    AWARD_SENT = "award sent"
    AWARD_REFUSED = "award refused"  # or not answered
    ACCEPTED = "accepted"
    PROVIDER_LOST = "provider lost"
    TRY_AGAIN = "try again"  # the attempt failed and another may follow
    FINISHED = "finished"
    GAVE_UP = "gave up"
    CANCEL_ASKED = "cancel asked"


class JobState(StrEnum):
    """Where one attempt stands, at the machine that runs it."""

    LEASED = "leased"  # accepted; inputs are fetched
    RUNNING = "running"  # may have been started, from here on
    STOPPING = "stopping"  # told to end, within a grace
    REPORTING = "reporting"  # ended; log and result are on their way to the submitter
    SETTLED = "settled"  # nobody wants anything of it any more


class JobFact(StrEnum):
    """What happened to a job."""

    STAGED = "staged"
    STOP_ORDERED = "stop ordered"
    ENDED = "ended"
    RECEIPT_CAME = "receipt came"
    WRITTEN_OFF = "written off"  # stale, cancelled, or nobody asked for its result in time


_S, _F = TaskState, TaskFact

TASK_STEPS: Final[Mapping[tuple[TaskState, TaskFact], TaskState]] = {
    (_S.SUBMITTED, _F.BIDDING_OPENED): _S.AUCTIONED,
    (_S.SUBMITTED, _F.FINISHED): _S.DONE,  # the last attempt was given up too early
    (_S.SUBMITTED, _F.GAVE_UP): _S.FAILED,
    (_S.SUBMITTED, _F.CANCEL_ASKED): _S.CANCELLED,
    (_S.AUCTIONED, _F.BIDDING_OPENED): _S.AUCTIONED,
    (_S.AUCTIONED, _F.NOBODY_HELD): _S.SUBMITTED,
    (_S.AUCTIONED, _F.INTERRUPTED): _S.SUBMITTED,
    (_S.AUCTIONED, _F.AWARD_SENT): _S.AWARDED,
    (_S.AUCTIONED, _F.FINISHED): _S.DONE,
    (_S.AUCTIONED, _F.GAVE_UP): _S.FAILED,
    (_S.AUCTIONED, _F.CANCEL_ASKED): _S.CANCELLED,
    (_S.AWARDED, _F.AWARD_SENT): _S.AWARDED,
    (_S.AWARDED, _F.AWARD_REFUSED): _S.SUBMITTED,
    (_S.AWARDED, _F.ACCEPTED): _S.RUNNING,
    (_S.AWARDED, _F.PROVIDER_LOST): _S.LOST,
    (_S.AWARDED, _F.TRY_AGAIN): _S.SUBMITTED,
    (_S.AWARDED, _F.FINISHED): _S.DONE,
    (_S.AWARDED, _F.GAVE_UP): _S.FAILED,
    (_S.AWARDED, _F.CANCEL_ASKED): _S.CANCELLED,
    (_S.RUNNING, _F.PROVIDER_LOST): _S.LOST,
    (_S.RUNNING, _F.TRY_AGAIN): _S.SUBMITTED,
    (_S.RUNNING, _F.FINISHED): _S.DONE,
    (_S.RUNNING, _F.GAVE_UP): _S.FAILED,
    (_S.RUNNING, _F.CANCEL_ASKED): _S.CANCELLED,
    (_S.LOST, _F.BIDDING_OPENED): _S.AUCTIONED,
    (_S.LOST, _F.FINISHED): _S.DONE,
    (_S.LOST, _F.GAVE_UP): _S.FAILED,
    (_S.LOST, _F.CANCEL_ASKED): _S.CANCELLED,
}

HELD_BY_PROVIDER: Final = frozenset({TaskState.AWARDED, TaskState.RUNNING})
"""A process of it may live."""
TASK_ENDS: Final = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED})

_J, _JF = JobState, JobFact

JOB_STEPS: Final[Mapping[tuple[JobState, JobFact], JobState]] = {
    (_J.LEASED, _JF.STAGED): _J.RUNNING,
    (_J.LEASED, _JF.STOP_ORDERED): _J.STOPPING,
    (_J.LEASED, _JF.ENDED): _J.REPORTING,
    (_J.LEASED, _JF.WRITTEN_OFF): _J.SETTLED,
    (_J.RUNNING, _JF.STOP_ORDERED): _J.STOPPING,
    (_J.RUNNING, _JF.ENDED): _J.REPORTING,
    (_J.RUNNING, _JF.WRITTEN_OFF): _J.SETTLED,
    (_J.STOPPING, _JF.STOP_ORDERED): _J.STOPPING,
    (_J.STOPPING, _JF.ENDED): _J.REPORTING,
    (_J.STOPPING, _JF.WRITTEN_OFF): _J.SETTLED,
    (_J.REPORTING, _JF.RECEIPT_CAME): _J.SETTLED,
    (_J.REPORTING, _JF.WRITTEN_OFF): _J.SETTLED,
}


def next_task_state(state: TaskState, fact: TaskFact) -> TaskState:
    """The state after a fact. Raises IllegalTransitionError."""
    after = TASK_STEPS.get((state, fact))
    if after is None:
        raise IllegalTransitionError(f"a task that is {state} cannot have {fact!r}")
    return after


def next_job_state(state: JobState, fact: JobFact) -> JobState:
    """The state after a fact. Raises IllegalTransitionError."""
    after = JOB_STEPS.get((state, fact))
    if after is None:
        raise IllegalTransitionError(f"a job that is {state} cannot have {fact!r}")
    return after
