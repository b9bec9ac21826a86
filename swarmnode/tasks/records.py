"""What is written down about tasks and jobs: stored, and shown again by `show` and `explain`.

Times are wall-clock milliseconds since 1970 for people; no decision depends on them except a
task's deadline across a restart.
"""

from typing import Final

from p2p.ids import PeerId
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed
from storage.rights import Right
from swarmnode.tasks.checkpoint import CheckpointRecord, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import JobState, TaskState
from swarmnode.tasks.spec import TaskSpec


class Usage(Record, frozen=True):
    """What one attempt took."""

    wall_ms: int = 0
    cpu_ms: int = 0
    memory_peak_bytes: int = 0
    down_bytes: int = 0
    """Of inputs, and by its own connections."""
    up_bytes: int = 0
    """Of outputs, likewise."""


BESIDES: Final = "; "
"""Between how a command ended and what else went wrong, in the words of its outcome."""
FAULT: Final = "node-fault"
"""Reason of an attempt that ended by what its machine's node had not foreseen: a bug of ours."""
FAULT_WORDS: Final = "a fault of this machine's node, see its log"


UNREADABLE: Final = "checkpoint"
"""Reason of an attempt whose checkpoint could not be brought back."""


class Outcome(Record, frozen=True):
    """How an attempt ended, as its provider tells it (signed on the wire)."""

    status: str
    """done, failed (the task's own doing), stopped (the provider's) or unfit (never started)."""
    exit_code: int
    reason: str
    """exit, signal, oom, wall, disk, killed, lost, inputs, checkpoint, outputs, environment ..."""
    detail: str = ""
    outputs: tuple[StoredFile, ...] = ()
    usage: Usage = Usage()
    not_enforced: tuple[str, ...] = ()
    """Limits that were asked for by the shape but not enforced on that machine."""
    log_bytes: tuple[int, ...] = ()
    """What it printed to stdout and to stderr, so that whoever has less knows that some is lacking;
    empty: not known, or it never started."""


REPORTED: Final = frozenset({"done", "failed", "stopped", "unfit"})
"""How an attempt can have ended whose result was written down: its receipt is given again."""


class AttemptRecord(Record, frozen=True):
    """One award of a task to one provider."""

    fence: int
    provider: PeerId
    awarded_ms: int
    accepted_ms: int = 0
    ended_ms: int = 0
    ended_as: str = ""
    """Empty while open; done, failed, stopped, unfit, refused, unanswered, lost, cancelled."""
    detail: str = ""
    restored_step: int = 0
    alone_ms: int = 0
    """How long it may run there after its lease was renewed last; 0 is not known."""
    node_died_ms: int = 0
    """The machine's node process died when the job had run for so long; 0: it did not."""
    restored_ms: int = 0
    """When the checkpoint that it began from, or an older step of which it did, was taken."""
    is_bad_start: bool = False
    """Its end may be the doing of that: it failed, or it could not be brought back."""
    node_faulted: bool = False
    """It ended by a fault of its machine's node that nobody had foreseen."""


class BidRecord(Record, frozen=True):
    """One answer to one call for bids; parts and score are micro-credits, lower wins."""

    peer: PeerId
    kind: str
    """held, queued, refused or silent."""
    eta_ms: int = 0
    score: int = 0
    parts: tuple[tuple[str, int], ...] = ()
    reason: str = ""
    won: bool = False


class RoundRecord(Record, frozen=True):
    """One auction."""

    number: int
    opened_ms: int
    window_ms: int
    outcome: str
    bids: tuple[BidRecord, ...]
    unfit: tuple[tuple[PeerId, str], ...]
    """Machines that were not asked, and why."""


class TaskRecord(Record, frozen=True):
    """A task at its submitter."""

    task: TaskId
    spec: TaskSpec
    submitted_ms: int
    state: TaskState = TaskState.SUBMITTED
    fence: int = 0
    """Of the newest award; only its holder may act for the task."""
    provider: PeerId = PeerId("")
    attempts: tuple[AttemptRecord, ...] = ()
    retries_used: int = 0
    rounds: int = 0
    """Auctions held so far."""
    checkpoint: CheckpointRecord | None = None
    why: str = ""
    """Why it waits, or how it ended, in words."""
    outcome: Outcome | None = None
    """Of the attempt that ended the task."""
    ended_ms: int = 0
    note: str = ""
    """Why the newest checkpoint is not kept, in its provider's words."""
    key: bytes = b""
    """Seed of the task's key (swarmnode.tasks.keys): never shown, logged or sent to providers.
    Empty for a task of a version that knew none."""
    person: str = ""
    """Whose it is, of several people of one machine; empty for the machine's owner."""
    submitter: PeerId = PeerId("")
    """The machine it was submitted to, where we act for it while that is away; empty for ours."""
    fence_floor: int = 0
    """Fences are above it: whoever acted before may have used those below without our knowing."""
    left: tuple[StoredFile, ...] = ()
    """Outputs of the newest attempt that failed and was followed by another: they stay until one
    of those leaves its own, or are the task's when none does."""
    left_fence: int = 0
    """Of that attempt."""
    taken_up_ms: int = 0
    """When its owner brought it back here because its machine was lost; 0 once its keepers have
    told how it stands."""
    after_taken_over_ms: int = 0
    """The newest takeover of the machine it was submitted to that this knew of then (`at_ms` of
    swarmnode.recovery.copies.pointers.Taken); 0: none. Who took over later has it."""
    log_at: tuple[PeerId, ...] = ()
    """Of one that has ended: who may have more of its log than has come, the likelier one first; a
    restart, and who recovers, asks them on."""
    lost_secrets: tuple[str, ...] = ()
    """Names of its secrets that their person removed while it was open: no machine is given it any
    more."""


def attempt_of(record: TaskRecord, peer: PeerId, fence: int) -> AttemptRecord | None:
    """The attempt of that provider under that fence, if it is still on the record."""
    matches = (
        attempt for attempt in record.attempts if (attempt.provider, attempt.fence) == (peer, fence)
    )
    return next(matches, None)


def failed_on(record: TaskRecord) -> list[PeerId]:
    """Where the command itself failed: it may be that machine, so others are tried first."""
    return [attempt.provider for attempt in record.attempts if attempt.ended_as == "failed"]


class RoomGrant(Record, frozen=True):
    """Room set aside on this machine."""

    cpu_millis: int
    memory_bytes: int
    disk_bytes: int
    gpus: tuple[str, ...] = ()
    """UUIDs, each granted to one holder only."""


class JobRecord(Record, frozen=True):
    """A job at its provider: one attempt of somebody's task."""

    task: TaskId
    fence: int
    buyer: PeerId
    bid: int
    spec: TaskSpec
    grant: RoomGrant
    leased_ms: int
    state: JobState = JobState.LEASED
    restore: CheckpointRecord | None = None
    checkpoint: CheckpointRecord | None = None
    """The newest one taken here."""
    stop_reason: str = ""
    outcome: Outcome | None = None
    names_grant: Signed | None = None
    """By the task's key: this machine may write the task's names under this fence."""
    state_key: bytes = b""
    """By which `ctx.state` is encrypted."""
    right: Right | None = None
    """To put what it leaves in the name of its task's owner."""
    term: int = 0
    """Of whoever claimed the attempt last and is its buyer since."""
    is_owners: bool = False
    """It is of the person whose machine this is; all others are guests."""

    @property
    def job(self) -> str:
        """Name of the job on this machine: `<task id>.<fence>`."""
        return f"{self.task}.{self.fence}"


class FenceRecord(Record, frozen=True):
    """The newest fence a provider has accepted for a task."""

    fence: int
    noted_ms: int
    awarder: str = ""
    """Who awarded it: the id of the task's key, or the buyer's where it proved none."""


class MovedRecord(Record, frozen=True):
    """A task that was submitted here and goes on at another machine of its owner."""

    name: str
    by: PeerId
    """Who has it; empty where that was not said."""
    moved_ms: int
    person: str = ""
