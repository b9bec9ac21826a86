"""What the local API says about tasks. Times are milliseconds since 1970; 0 is not yet."""

from typing import Any

import msgspec

from swarmnode.tasks.choices import JobSignal


class TaskLine(msgspec.Struct, frozen=True):
    """A task in a list."""

    task: str
    name: str
    run: tuple[str, ...]
    state: str
    """submitted, auctioned, awarded, running, lost, done, failed or cancelled."""
    phase: str
    """What its provider does: leased, running, stopping, reporting or unknown."""
    provider: str
    """Peer id; empty while nobody has it."""
    attempts: int
    checkpoint_step: int
    """0 without a checkpoint."""
    exit_code: int | None
    """Of a task that ended and had been started."""
    why: str
    submitted_ms: int
    ended_ms: int
    started_ms: int
    """When its newest attempt began."""


class AttemptLine(msgspec.Struct, frozen=True):
    """One award of the task to one provider."""

    fence: int
    provider: str
    awarded_ms: int
    accepted_ms: int
    ended_ms: int
    ended_as: str
    """Empty while open."""
    detail: str
    restored_step: int
    node_died_ms: int = 0
    """Its machine's node died when it had run for so long; 0: it did not, or later than 2 min."""


class SignalRequest(msgspec.Struct, frozen=True):
    """What the programs of a task are to hear."""

    signal: JobSignal


class SignalReply(msgspec.Struct, frozen=True):
    """The machine that runs it has it."""

    task: str
    signal: str


class OutputLine(msgspec.Struct, frozen=True):
    """A file or folder the task gave back; whoever has the capability can read it."""

    name: str
    size: int
    cap: str
    tree: bool = False
    """It is a tree: a folder, or a program with its right to run."""


class CheckpointLine(msgspec.Struct, frozen=True):
    """A part of its saved progress: a tree from the work folder on."""

    step: int
    name: str
    size: int
    cap: str
    tree: bool
    beside: bool
    """It lies beside the others; else in their place."""


class UsageLine(msgspec.Struct, frozen=True):
    """What the last attempt took."""

    wall_ms: int
    cpu_ms: int
    memory_peak_bytes: int
    down_bytes: int = 0
    """Of inputs."""
    up_bytes: int = 0
    """Of outputs."""


class TaskDetail(TaskLine, frozen=True):
    """Everything its submitter knows about a task."""

    spec: dict[str, Any]
    """As `POST /api/v1/tasks` takes it, without what is at its default.

    `Any` is how msgspec calls what may be anything in JSON.
    """
    fence: int
    retries_used: int
    rounds: int
    history: tuple[AttemptLine, ...]
    outputs: tuple[OutputLine, ...]
    """Of a task that is tried again: what its last failed attempt left."""
    status: str
    """How the last attempt ended: done, failed, stopped or unfit; empty while there is none."""
    reason: str
    """exit, signal, oom, wall, disk, killed, lost, inputs, checkpoint, outputs, environment ..."""
    detail: str
    usage: UsageLine | None
    not_enforced: tuple[str, ...]
    """Limits that were asked for but not enforced on that machine."""
    note: str = ""
    """Why its newest checkpoint is not kept; empty while all is well."""
    checkpoints: tuple[CheckpointLine, ...] = ()
    """The newest step first, what lies beside the steps, then older steps that are kept."""
    files_until_ms: int = 0
    """When inputs and checkpoints of an ended task are freed; 0 while it has not ended."""
    guardians: tuple[str, ...] = ()
    """Machines that go on with it while this one is away; none in its first seconds."""
    acting: str = ""
    """The machine that renews its lease and takes its result now; empty of one that has ended."""
    is_cut_off: bool = False
    """Too few of them can be reached to act: it waits, as others may act for it."""
    owner: str = ""
    """Another machine of its person, which has it; empty: this one."""
    log_at: str = ""
    """The machine that has the rest of what it printed, of one that ended while this one was away;
    empty: it is all here."""


class BidLine(msgspec.Struct, frozen=True):
    """One answer to one call for bids. Score and parts are micro-credits; the lowest wins."""

    peer: str
    kind: str
    """held, queued, refused or silent."""
    eta_ms: int
    score: int
    parts: dict[str, int]
    reason: str
    won: bool


class UnfitLine(msgspec.Struct, frozen=True):
    """A machine that was not asked, and why."""

    peer: str
    reason: str


class RoundLine(msgspec.Struct, frozen=True):
    """One auction."""

    number: int
    opened_ms: int
    window_ms: int
    outcome: str
    bids: tuple[BidLine, ...]
    unfit: tuple[UnfitLine, ...]


class ExplanationDetail(msgspec.Struct, frozen=True):
    """Why a task is where it is. Of a dry run `task` is empty and there is one round."""

    task: str
    state: str
    why: str
    provider: str
    history: tuple[AttemptLine, ...]
    rounds: tuple[RoundLine, ...]


class SubmitReply(msgspec.Struct, frozen=True):
    """The task is written down: from here on it survives any crash."""

    task: str
    guardians: tuple[str, ...] = ()
    """With `?detach=1`: machines that hold it and go on with it when this one goes away."""
    note: str = ""
    """With `?detach=1`: what to know before this machine is switched off; empty: it may be."""


class FilesLine(msgspec.Struct, frozen=True):
    """What there is of a task's outputs now; those of one that runs are kept until it ends."""

    outputs: tuple[OutputLine, ...]
    fault: str = ""
    """What could not be stored, in words."""


class Retried(msgspec.Struct, frozen=True):
    """A task that was submitted again, as with `?detach=1`."""

    task: str
    of: str
    guardians: tuple[str, ...] = ()
    note: str = ""


class ForgetReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task that is no more."""

    task: str
    objects: int
    """Of its outputs and checkpoints, those that are freed."""
    note: str = ""
    """Where it is on the list still; empty: nowhere that could be asked."""


class TaskEventLine(msgspec.Struct, frozen=True):
    """`data` of an event of type `task`."""

    task: str
    at_ms: int
    fact: str
    state: str
    provider: str
    detail: str


class GapLine(msgspec.Struct, frozen=True):
    """`data` of an event of type `gap`: read the tasks again. `missed` null: nobody counted."""

    missed: int | None
    reason: str
