"""The folder of one job on disk, and the crash record in it.

<folder>/<job>/record.json   what was to run and where: fsynced before anything starts
               lock          held by the shim for as long as it lives
               order, control, state, exit, shim.log        see shim/
               stdout, stderr                               append-only
               work/         the task's files, or those it was given: see overlay.py
               ctx/          swarm_ctx.py and ctx.sock
               names, traffic                of its network, if it has one: see network/, shim/net/
               data/, data.N                 of its datasets, if it has any
               hatch.sock                    of both: see shim/hatch.py
               tmp/          only for the `container` sandbox
"""

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmnode.errors import JobDamagedError, JobUnknownError
from swarmnode.executor.port import DataMount, JobExit, JobId, JobSignal, JobSpec, Limit
from swarmnode.executor.shim import pairs
from swarmnode.executor.shim.child import CODE_CANNOT_START
from swarmnode.executor.shim.logs import STREAMS
from swarmnode.limits import JOB_ID_CHARS_MAX

log = logging.getLogger("swarm")
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{JOB_ID_CHARS_MAX - 1}}}")


class CrashRecord(msgspec.Struct, frozen=True):
    """What a node needs to find and end a job it knows nothing else about."""

    spec: JobSpec
    boot_id: str
    cgroup: Mapping[str, str]
    uid: int
    """The job's own user, who owns its files; 0 when that is the node's."""
    guard_uid: int
    """A user nothing runs as, from which that user's processes are killed; 0 in a namespace."""
    cpus: tuple[int, ...] = ()
    """Processors it runs on."""
    given_bytes: int = 0
    """What its work folder held at the start."""

    @property
    def is_container(self) -> bool:
        """Whether the job's user is all that tells its processes from others."""
        return bool(self.uid and self.guard_uid)


class Started(msgspec.Struct, frozen=True):
    """What the shim wrote once the job ran. Pids are the host's."""

    shim: int
    shim_start: int
    pid: int
    pid_start: int
    started_ms: int


def _body_of(record: CrashRecord) -> dict[str, object]:
    """As JSON has it."""
    spec: dict[str, object] = msgspec.structs.asdict(record.spec)
    spec["must_enforce"] = sorted(record.spec.must_enforce)
    spec["data"] = [msgspec.structs.asdict(one) for one in record.spec.data]
    spec["env"] = dict(record.spec.env)
    return {
        "spec": spec,
        "boot_id": record.boot_id,
        "cgroup": dict(record.cgroup),
        "uid": record.uid,
        "guard_uid": record.guard_uid,
        "cpus": record.cpus,
        "given_bytes": record.given_bytes,
    }


def _record_of(body: dict[str, Any]) -> CrashRecord:
    """Raises ValueError, KeyError, TypeError, AttributeError for what `_body_of` never made.

    `Any`: of which types the parts are, only the use of them shows.
    """
    spec = body["spec"]
    for name in ("argv", "gpus", "net"):
        spec[name] = tuple(spec.get(name, ()))
    spec["must_enforce"] = frozenset(Limit(name) for name in spec["must_enforce"])
    spec["data"] = tuple(DataMount(**one) for one in spec.get("data", ()))
    body["spec"] = JobSpec(**spec)
    body["cpus"] = tuple(body.get("cpus", ()))
    return CrashRecord(**body)


def boot_id() -> str:
    """Changes with every boot: pids and cgroups of another boot mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class JobFolder(msgspec.Struct, frozen=True):
    """Paths and small files of one job. Every method is quick; those that write say fsync."""

    path: Path

    @classmethod
    def of(cls, folder: Path, job: JobId) -> "JobFolder":
        """Raises JobUnknownError for a text that cannot be a folder name of ours."""
        if not _NAME.fullmatch(job):
            raise JobUnknownError(f"{job!r} is not a job id")
        return cls(folder / job)

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def ctx(self) -> Path:
        return self.path / "ctx"

    def data(self, number: int) -> Path:
        """Where a node that is no root shows a dataset to its job, and nobody else sees it."""
        return self.path / "data" / str(number)

    def data_notes(self, number: int) -> Path:
        """What whoever answers for a dataset leaves to who does so next."""
        return self.path / f"data.{number}"

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    def stream(self, name: str) -> Path:
        """Raises ValueError for anything but stdout and stderr."""
        if name not in STREAMS:
            raise ValueError(f"{name!r} is not one of {STREAMS}")
        return self.path / name

    def make(self) -> None:
        """Make the folders, the FIFO and the empty logs; idempotent."""
        for path in (self.path, self.work, self.ctx):
            path.mkdir(mode=0o700, exist_ok=True)
        control = self.path / "control"
        if not control.exists():
            os.mkfifo(control, 0o600)
        for name in (*STREAMS, "lock"):
            os.close(os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def open_for_container(self, uid: int) -> None:
        """`container` sandbox: let the job's own user in, and give it a /tmp of its own."""
        self.path.chmod(0o711)
        self.tmp.mkdir(mode=0o700, exist_ok=True)
        os.chown(self.tmp, uid, uid)

    def give_to(self, uid: int, work: str) -> None:
        """Hand the work folder to the job's own user, and show it what `ctx` needs."""
        self.ctx.chmod(0o755)  # Python lists the folders it imports from
        for root, _, files in os.walk(work):
            for path in (root, *(os.path.join(root, name) for name in files)):
                os.chown(path, uid, uid, follow_symlinks=False)

    def write_record(self, record: CrashRecord) -> None:
        """fsync: file, then folder, then its parent."""
        temporary = self.path / "record.new"
        with open(temporary, "w", opener=_private) as file:
            json.dump(_body_of(record), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path / "record.json")
        pairs.sync_folder(str(self.path))
        pairs.sync_folder(str(self.path.parent))

    def read_record(self) -> CrashRecord | None:
        """None when nothing was ever to start here. Raises JobDamagedError."""
        path = self.path / "record.json"
        try:
            return _record_of(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise JobDamagedError(
                f"{path} is damaged ({error}): its task is given up here; remove {self.path}"
            ) from error

    def read_state(self) -> Started | None:
        """None while the shim has not come to start the job, or when a power cut took its word."""
        try:
            entries = dict(pairs.read_pairs(str(self.path / "state")))
            return Started(**{key: int(value) for key, value in entries.items()})
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def read_exit(self) -> JobExit | None:
        """None while the job runs, or when what it ended with is not whole."""
        try:
            entries = dict(pairs.read_pairs(str(self.path / "exit")))
            return JobExit(
                code=int(entries["code"]),
                reason=entries["reason"],
                wall_s=float(entries["wall_s"]),
                cpu_s=float(entries["cpu_s"]),
                memory_peak_bytes=int(entries["memory_peak_bytes"]),
                enforced=tuple(Limit(name) for name in entries["enforced"].split()),
            )
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def write_lost(self, reason: str = "lost") -> JobExit:
        """Nobody saw the job end: its shim, or the whole machine, went down with it. fsync."""
        pairs.write_pairs(
            str(self.path / "exit"),
            [
                ("code", str(CODE_CANNOT_START)), ("reason", reason), ("wall_s", "0"),
                ("cpu_s", "0"), ("memory_peak_bytes", "0"), ("enforced", ""),
            ],
            durable=True,
        )  # fmt: skip
        return lost_exit(reason)

    def take_lock(self) -> int | None:
        """A descriptor that holds the lock, to be handed to a shim; None while a shim has it."""
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    def shim_lives(self) -> bool:
        """Whether a shim holds the lock now."""
        fd = self.take_lock()
        if fd is not None:
            os.close(fd)
        return fd is None

    def ordered_ns(self) -> int:
        """When the shim's order was written, by the clock of files; 0: it was not."""
        try:
            return (self.path / "order").stat().st_mtime_ns
        except OSError:
            return 0

    def order_stop(self, grace_s: float) -> bool:
        """Tell the shim; False when none is there to hear it."""
        return self._tell(f"stop {grace_s:.3f}\n")

    def order_signal(self, signal: JobSignal) -> bool:
        """Tell the shim what the job's programs are to hear; False when none is there."""
        return self._tell(f"signal {signal.value}\n")

    def order_lease(self, lease: str) -> bool:
        """Tell the shim how long the job may go on now, as `Lease` of shim/lease.py reads it."""
        return self._tell(f"lease {lease}\n")

    def order_note(self, words: str) -> bool:
        """Have the shim write a line into the job's stderr; False when none is there."""
        return self._tell(f"note {' '.join(words.splitlines())}\n")

    def _tell(self, line: str) -> bool:
        try:
            fd = os.open(self.path / "control", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # ENXIO: nobody has the other end
            return False
        try:
            os.write(fd, line.encode())
        except OSError:
            return False
        finally:
            os.close(fd)
        return True


def lost_exit(reason: str = "lost") -> JobExit:
    """The exit of a job whose end nobody saw."""
    return JobExit(CODE_CANNOT_START, reason, 0.0, 0.0, 0, ())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_jobs(jobs: Path) -> Iterator[tuple[JobFolder, CrashRecord]]:
    """Every job that was started, or was about to be, when a node last ran here.

    A damaged one is named in the log and left as it is: it stops neither the node nor the others.
    """
    for name in sorted(os.listdir(jobs)):
        folder = JobFolder(jobs / name)
        try:
            record = folder.read_record()
        except JobDamagedError as error:
            log.warning("%s", error)
            continue
        if record is not None:
            yield folder, record
