"""What is known of a task's saved progress, wherever it runs next."""

from p2p.ids import PeerId
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed
from storage.rights import Right
from swarmnode.tasks.ids import TaskId


class StoredFile(Record, frozen=True):
    """A file or folder of a task that is now an object; `name` is text (swarmnode.tree.names)."""

    name: str
    size: int
    cap: str
    """Capability as text (storage.caps): whoever has it can read the file."""
    tree: bool = False
    """The object is a tree (swarmnode.tree): a folder, or a file with its rights."""


class Checkpoint(Record, frozen=True):
    """Saved progress. Steps only grow within a task; the highest one is restored.

    Encoded it is at most CHECKPOINT_BYTES_MAX long, because an award carries it.
    """

    step: int
    files: tuple[StoredFile, ...]
    taken_ms: int
    """Wall clock of the machine that took it, milliseconds since 1970."""


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
