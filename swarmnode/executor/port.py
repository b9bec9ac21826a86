"""Where tasks run: start, watch and stop sandboxed jobs that outlive the node.

Bodies: `swarmnode.executor.process` (shim + bubblewrap + cgroup + seccomp) and
`swarmnode.executor.fake.executor` (virtual time, for simulations), under one contract test:
tests/contract/executor.
A job is one attempt of one task; its id is `<task id>.<fence>`.
"""

import socket
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NewType, Protocol

import msgspec
import trio

from swarmnode.tasks.choices import DataWay as DataWay
from swarmnode.tasks.choices import JobSignal as JobSignal
from swarmnode.tasks.choices import Limit as Limit
from swarmnode.tasks.secrets.wants import JobSecrets as JobSecrets
from swarmnode.tree.mount_points import DataMount as DataMount
from swarmnode.tree.names import Parts
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found, Scan
from swarmnode.tree.select import Selection

JobId = NewType("JobId", str)


class JobSpec(msgspec.Struct, frozen=True):
    """Everything needed to start one job; plain values, written to disk before the start."""

    job: JobId
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cpu_millis: int
    memory_bytes: int
    pids_max: int
    disk_bytes: int
    wall_s: float
    environment: str | None = None
    """One of `Executor.environments`, bound read-only."""
    gpus: tuple[str, ...] = ()
    """UUIDs of granted GPUs."""
    must_enforce: frozenset[Limit] = frozenset()
    """Limits the submitter insists on: LimitNotEnforceableError when one cannot be."""
    net: tuple[str, ...] = ()
    """What of the network it may talk to, in the words of swarmnode.reach; nothing: no network."""
    net_up_bytes_per_s: int = 0
    """What its connections may carry out; 0 is no limit."""
    net_down_bytes_per_s: int = 0
    data: tuple[DataMount, ...] = ()


class JobExit(msgspec.Struct, frozen=True):
    """How a job ended.

    `reason` is exit, signal, oom, wall, disk, log, files, killed, lease, lost or node-fault.
    """

    code: int
    reason: str
    wall_s: float
    cpu_s: float
    memory_peak_bytes: int
    enforced: tuple[Limit, ...]


class JobView(msgspec.Struct, frozen=True):
    """A job as the executor knows it now; `exit` is None while it runs."""

    job: JobId
    pid: int
    started_ms: int
    exit: JobExit | None
    node_died_ms: int = 0
    """The node's process died when the job had run for so long; 0: it did not, or much later."""
    node_deaths: int = 0
    """How often it did since, each time soon after it had begun."""
    ordered_ns: int = 0
    """Between its inputs and its start, by the clock of files: whatever in its work folder has
    changed since then it has changed itself."""
    net_up_bytes: int = 0
    """What its connections carried out of the machine, as far as nodes were there to count it."""
    net_down_bytes: int = 0
    """What they brought."""


class FileStat(msgspec.Struct, frozen=True):
    """A regular file in a job's work folder; `name` is relative, as swarmnode.tree.names has it."""

    name: str
    size: int
    modified_ns: int


JobCall = Callable[[JobId, bytes], Awaitable[bytes]]
"""Answers one request that a running task made through its `ctx` (length-prefixed JSON)."""


class DataDevice(msgspec.Struct, frozen=True):
    """By which the readers of one dataset of a job are answered."""

    fd: int
    """Of /dev/fuse."""
    notes: Path
    """A file of the job for whoever answers, and for who does so next."""


class DataReaders(msgspec.Struct, frozen=True):
    """Those datasets of a job that have no source, and by what their readers are answered."""

    mounts: tuple[DataMount, ...]
    devices: tuple[DataDevice, ...]
    """Of each."""
    web: int = -1
    """A listener for who reads them by HTTP, to be taken over and closed; -1: there is none."""
    is_taken_over: bool = False
    """Another node answered them before."""


DataServer = Callable[[JobId, DataReaders], Awaitable[None]]
"""Answers them until nothing is mounted. OSError: it cannot."""


class WayOut(Protocol):
    """What a job may reach of the network, for who asks on its behalf."""

    async def connect(self, host: str, port: int) -> socket.socket:
        """To a host that the job may reach, at an address that was checked.

        Raises NetRefusedError, HostUnreachedError.
        """
        ...


MirrorServer = Callable[[str, trio.abc.Stream, WayOut], Awaitable[None]]
"""Answers one connection of a job to the mirror of a preset (reach.MIRRORS), to its end."""


class BringsEnvironments(Protocol):
    """The part of an Executor that brings environments to its machine."""

    @property
    def is_possible(self) -> bool:
        """False where a sandbox can show nothing but the machine's own folders."""
        ...

    async def arrived(self) -> None:
        """Return once another has come."""

    def has(self, name: str) -> bool:
        """Whether a job that asks for it could start."""
        ...

    async def bring(
        self, name: str, digest: bytes, chunks: AsyncIterable[bytes], job: str = ""
    ) -> None:
        """Have the tree of these bytes here under that name, unless it is.

        It stays until that job is forgotten, however much room others want meanwhile.
        Raises EnvironmentDamagedError (other bytes than `digest` says), TreeRefusedError and
        ExecutorUnavailableError (no room).
        """


class Executor(Protocol):
    """Runs jobs. Errors: LimitNotEnforceableError, EnvironmentUnknownError, JobUnknownError."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled: re-attach to jobs that survived us, then watch them all.

        Cancelling leaves jobs running; only `stop` and `sweep` end them.
        """

    def enforceable(self) -> Mapping[Limit, str]:
        """Each limit -> "" when enforced here, else the reason and remedy in one line."""
        ...

    def trouble(self) -> str:
        """ "" when jobs can run here, else why not and the remedy: then nobody should bid."""
        ...

    def net_trouble(self) -> str:
        """ "" when a task can have a network here, else why not and the remedy."""
        ...

    def image_trouble(self) -> str:
        """ "" when a task can write to its image here, else why not and the remedy."""
        ...

    def environments(self) -> tuple[str, ...]:
        """Names that JobSpec.environment may have here."""
        ...

    @property
    def bringing(self) -> "BringsEnvironments":
        """Brings those that were built for the pool."""
        ...

    def on_call(self, answer: JobCall) -> None:
        """Set who answers the tasks' `ctx` requests; once, before run."""

    def data_way(self) -> tuple[DataWay, str]:
        """How datasets are shown here, and why not in a better way."""
        ...

    def sources_in_use(self) -> frozenset[str]:
        """Paths from which jobs that run have datasets (DataMount.source): nobody may move them."""
        ...

    def on_data(self, serve: DataServer) -> None:
        """Set who answers for datasets; once, before run."""

    def on_mirror(self, serve: MirrorServer) -> None:
        """Set who answers at the mirrors' names, and tell jobs of them; before run."""

    def note(self, job: JobId, words: str) -> None:
        """A line of ours in the stderr of a job that runs."""

    async def prepare(self, job: JobId) -> None:
        """Make the job's private folder, idempotent. Files come in after it.

        What comes before the start is not counted as the job's disk: see `start`.
        """

    def is_prepared(self, job: JobId) -> bool:
        """Whether that folder is here, started or not."""
        ...

    async def put_file(self, job: JobId, name: str, chunks: AsyncIterable[bytes]) -> None:
        """Write a file into the work folder (inputs, restored checkpoints); parents are made."""

    async def list_files(self, job: JobId, pattern: str) -> tuple[FileStat, ...]:
        """Regular files of the work folder that a pattern means, by name; never outside."""
        ...

    async def scan(self, job: JobId, base: Parts = ()) -> Scan:
        """Everything in a folder of the work folder (or one file), as it is now."""
        ...

    async def select(self, job: JobId, patterns: Sequence[Pattern]) -> tuple[Scan, Selection]:
        """The same of the whole work folder, and what the patterns mean in it."""
        ...

    def pack(
        self, job: JobId, base: Parts, seen: Sequence[Found], *, may_grow: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """The tree of what was found in `base`; TreeChangedError when it is that no more.

        With `may_grow` a file that has become longer is taken as long as it was.
        """
        ...

    async def closed(self, job: JobId, seen: Sequence[Found]) -> tuple[tuple[Found, ...], str]:
        """Without the links that lead out of the work folder, and in words which those are."""
        ...

    async def unpack(self, job: JobId, base: Parts, chunks: AsyncIterable[bytes]) -> None:
        """Make a tree's folder in the work folder; older files of the same names go."""

    def read_file(self, job: JobId, name: str) -> AsyncGenerator[bytes, None]:
        """The bytes of one such file; OutputUnsafeError for anything but a plain file beneath."""
        ...

    async def start(self, spec: JobSpec, secrets: JobSecrets | None = None) -> JobView:
        """Write the crash record, then start. Idempotent by job id.

        `disk_bytes` is what the job may write, in addition to what its folder holds by now.
        `secrets` are needed by the first start alone: what runs has them, whatever becomes of us.
        """
        ...

    def renew(self, job: JobId, left_s: float, notice_s: float) -> None:
        """The job may go on for `left_s` from now, and gets its SIGTERM `notice_s` before that.

        Also before the start. Nobody needs to be there at the end of a lease: the job ends with
        reason `lease`. A job that was never given one has none.
        """

    def leave(self) -> None:
        """The node goes in good order: whatever happens next, no job is to blame for it."""

    def jobs(self) -> Sequence[JobView]:
        """Every job with a folder here, running or ended."""
        ...

    async def wait(self, job: JobId) -> JobExit:
        """Return once the job has ended."""
        ...

    async def read_log(self, job: JobId, stream: str, offset: int, bytes_max: int) -> bytes:
        """Bytes of stdout or stderr from `offset`; empty at the present end."""
        ...

    def log_length(self, job: JobId, stream: str) -> int:
        """Bytes of it so far. Raises JobUnknownError."""
        ...

    async def log_grew(self, job: JobId, stream: str, offset: int) -> None:
        """Return once the log is longer than `offset` or the job has ended."""

    def signal(self, job: JobId, signal: JobSignal) -> bool:
        """Have the job's programs hear it; False when it has ended. Raises JobUnknownError."""
        ...

    async def stop(self, job: JobId, grace_s: float) -> JobExit:
        """SIGTERM, then kill the whole process tree after the grace; idempotent."""
        ...

    async def forget(self, job: JobId) -> None:
        """Remove folder and cgroups of a job that ended or was only prepared; JobRunningError."""

    async def sweep(self, keep: frozenset[JobId]) -> tuple[JobId, ...]:
        """At start-up: kill and remove every job that is not in `keep`; the ones removed."""
        ...
