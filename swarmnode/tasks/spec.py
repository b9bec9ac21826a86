"""What a task is: plain frozen structs, the same in tables, in awards and after a restart.

People write TOML, JSON or flags; `swarmnode.tasks.spec_load` turns those into a TaskSpec and says
everything that is wrong at once. Maps are tuples of pairs here: their encoding is stable.
"""

from typing import Final

from p2p.ids import PeerId
from p2p.wire.codec import Record
from swarmnode.tasks.choices import PriorityClass as PriorityClass
from swarmnode.tasks.choices import Repeatability as Repeatability
from swarmnode.tasks.environments.records import BuiltEnvironment as BuiltEnvironment

DEFAULT_TIMEOUT_MS: Final = 30 * 86_400_000
"""A month: long trainings end before it, forgotten loops do not occupy a machine for ever."""


class GpuWant(Record, frozen=True):
    """GPUs of one kind, all on one machine."""

    count: int = 0
    vram_bytes: int = 0
    model: str = ""
    """Part of the model's name, in any case; empty for any."""


class NetWant(Record, frozen=True):
    """The most that a task's inputs, outputs and connections take of the network; 0 is no limit."""

    up_bytes_per_s: int = 0
    down_bytes_per_s: int = 0


class Shape(Record, frozen=True):
    """Room a task takes on one machine."""

    cpu_millis: int = 1000
    """Thousandths of a core."""
    memory_bytes: int = 512 * 1024**2
    disk_bytes: int = 1024**3
    gpu: GpuWant = GpuWant()
    net: NetWant = NetWant()


class CheckpointSpec(Record, frozen=True):
    """A folder in which the task saves its progress."""

    folder: str
    """Relative to the work folder."""
    every_ms: int = 30_000
    """Shortest time between two checkpoints that are stored."""
    keep: int = 2


class TaskSpec(Record, frozen=True):
    """One task as its submitter wants it."""

    run: tuple[str, ...]
    kind: str = "exec"
    env: str = ""
    """Environment by name; empty for the machine's own programs."""
    variables: tuple[tuple[str, str], ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    """(file in the work folder, capability of an object)."""
    outputs: tuple[str, ...] = ()
    """Globs of files in the work folder that become objects."""
    shape: Shape = Shape()
    priority_class: PriorityClass = PriorityClass.BATCH
    priority: int = 5
    """0 to 9 within the class; lower goes first."""
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    """Of one attempt, from its start."""
    deadline_ms: int = 0
    """Of the whole task, from its submission; 0 for none."""
    retries: int = 0
    """Further attempts after a failure of the task itself; losing a machine never uses one."""
    checkpoint: CheckpointSpec | None = None
    effects: Repeatability = Repeatability.IDEMPOTENT
    enforce: tuple[str, ...] = ()
    """Limits (swarmnode.tasks.choices.Limit) without which the task must not run."""
    avoid: tuple[PeerId, ...] = ()
    require: tuple[PeerId, ...] = ()
    """When given, only these machines are asked."""
    name: str = ""
    """For people."""
    changes: bool = False
    """What it added to its work folder or changed in it becomes one object more, `.`."""
    secrets: tuple[tuple[str, str], ...] = ()
    """(name of a secret of its person, variable or file: swarmnode.tasks.secrets.wants)."""
    secret_to: tuple[str, ...] = ()
    """Labs besides the submitter's whose machines may be given those, or `any`."""
    net: tuple[str, ...] = ()
    """What of the network it may talk to, in the words of swarmnode.reach; nothing: no network."""
    built: BuiltEnvironment | None = None
    """An environment that was built for the pool; `env` is its name then."""
    data: tuple[tuple[str, str], ...] = ()
    """(where it is to be seen read-only, capability of an object or folder): an absolute path, or
    one in the work folder."""
