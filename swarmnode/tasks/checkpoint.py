"""What is known of a task's saved progress, wherever it runs next."""

from p2p.ids import PeerId
from p2p.wire.codec import Record, encode
from p2p.wire.envelope import Signed
from storage.rights import Right
from swarmnode.limits import (
    CHECKPOINT_BYTES_MAX,
    CHECKPOINT_FILES_MAX,
    MADE_MS_MAX,
    STEP_MAX,
)
from swarmnode.tasks.ids import TaskId


class StoredFile(Record, frozen=True):
    """A file or folder of a task that is now an object; `name` is text (swarmnode.tree.names)."""

    name: str
    size: int
    cap: str
    """Capability as text (storage.manifests.capability): whoever has it can read the file."""
    tree: bool = False
    """The object is a tree (swarmnode.tree): a folder, or a file with its rights."""


class OlderStep(Record, frozen=True):
    """A step before the newest one that is kept as well."""

    step: int
    file: StoredFile
    beside: bool
    """It lies beside the newest one; else in its place, and only one of them can be there."""


class CheckpointRecord(Record, frozen=True):
    """Saved progress. Steps only grow within a task; the highest one is restored.

    One of the same step that was made later replaces an earlier one: its folder had changed.
    Encoded it is at most CHECKPOINT_BYTES_MAX long, because an award carries it.
    """

    step: int
    files: tuple[StoredFile, ...]
    """The step itself, then what lies beside the steps; trees from the work folder on."""
    made_ms: int
    """Wall clock of the machine that made it, milliseconds since 1970; grows with each."""
    older: tuple[OlderStep, ...] = ()
    """Newest first."""
    sure: bool = True
    """False while its program may still have been filling it: then the one before it is gone on
    from, if there is one."""
    beside: bool = True
    """As in OlderStep."""


def fits_award(checkpoint: CheckpointRecord) -> bool:
    """Whether it can be written down and handed to the next machine."""
    steps = (checkpoint.step, *(step.step for step in checkpoint.older))
    if min(steps) < 0 or max(steps) > STEP_MAX or not 0 <= checkpoint.made_ms <= MADE_MS_MAX:
        return False
    files, older = len(checkpoint.files), len(checkpoint.older)
    # In values of a message, of which a task's record holds so many at most: 5 a file, 8 a step.
    is_short = 5 * files + 8 * older <= 5 * CHECKPOINT_FILES_MAX
    return is_short and len(encode(checkpoint)) <= CHECKPOINT_BYTES_MAX


def is_newer(checkpoint: CheckpointRecord, known: CheckpointRecord | None) -> bool:
    """Whether it replaces the one that is known."""
    if known is None or checkpoint.step > known.step:
        return True
    is_later = checkpoint.made_ms > known.made_ms
    return is_later and (checkpoint.step == known.step or not known.sure)


def resumed_files(checkpoint: CheckpointRecord) -> tuple[StoredFile, ...]:
    """What is brought back, in this order: later ones replace earlier ones."""
    beside = checkpoint.files[1:] if checkpoint.beside else ()
    if not checkpoint.sure and checkpoint.older:
        older = checkpoint.older if checkpoint.older[0].beside else checkpoint.older[:1]
        return (*(step.file for step in reversed(older)), *beside)
    older = tuple(step for step in checkpoint.older if step.beside)
    main = checkpoint.files[:1] if checkpoint.beside else checkpoint.files
    return (*(step.file for step in reversed(older)), *beside, *main)


def resume_step(checkpoint: CheckpointRecord) -> int:
    """The newest step that is brought back."""
    is_older = not checkpoint.sure and checkpoint.older
    return checkpoint.older[0].step if is_older else checkpoint.step


class WatchSpec(Record, frozen=True):
    """What a checkpoint keeper must know of a job it watches."""

    task: TaskId
    fence: int
    buyer: PeerId
    folder: str
    """Watched folder below the work folder; empty when only `ctx.checkpoint` calls count."""
    every_ms: int
    keep: int
    last_step: int
    """Step of the checkpoint restored, 0 without one: the next step is higher."""
    names_grant: Signed | None = None
    state_key: bytes = b""
    """As in the JobRecord."""
    right: Right | None = None
    """To put checkpoints in the name of the task's owner."""
    last: CheckpointRecord | None = None
    """The newest one known."""
    is_restored: bool = False
    """It was brought back before the start; else an earlier life of this node took it, or it is
    of step 0 and has no files."""
