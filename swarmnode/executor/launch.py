"""From a JobSpec to a running shim: the crash record, the order, the spawn. All blocking."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.errors import ExecutorUnavailableError, LimitNotEnforceableError
from swarmnode.executor.cpus import as_list
from swarmnode.executor.disk import safe_files
from swarmnode.executor.disk.given import given_bytes
from swarmnode.executor.disk.work_disk import WorkDisk
from swarmnode.executor.environments.catalogue import Environments
from swarmnode.executor.environments.shown import Shown
from swarmnode.executor.job_folder import CrashRecord, JobFolder, boot_id
from swarmnode.executor.kernel.cgroup import JobCgroup
from swarmnode.executor.network import mirrored
from swarmnode.executor.port import DataMount, JobSecrets, JobSpec, Limit
from swarmnode.executor.sandbox import bubblewrap
from swarmnode.executor.sandbox.capability import CONTAINER, Capability, ExecutorConfig
from swarmnode.executor.sandbox.command import (
    CTX,
    WORK,
    OwnSystem,
    SandboxView,
    Sources,
    bwrap_argv,
    bwrap_options,
    scratch_bytes,
    task_environment,
    write_args,
)
from swarmnode.executor.sandbox.etc import ETC_NET
from swarmnode.executor.sandbox.paths import bound_by, rules
from swarmnode.executor.sandbox.seccomp import filter_program
from swarmnode.executor.sandbox.secrets import NO_PLACE, in_memory
from swarmnode.executor.shim import pairs
from swarmnode.executor.shim.net.space import DATA_URL
from swarmnode.executor.shim.order import FD_DISK
from swarmnode.executor.spawn import Shims
from swarmnode.limits import WALKED_ENTRIES_MAX
from swarmnode.tasks.environments.naming import BUILD, TREE

_SANDBOX_PIDS: Final = 2
"""bubblewrap's own two processes, which the task is not charged for."""
_FILTER: Final = "seccomp.bpf"
_RESERVE_SLACK_BYTES: Final = 1 << 20
_RESERVE_LEAST_BYTES: Final = 256 << 20
"""Who reserves so much of a small disk is told that it is full, not that the file is too large."""


def refusal(missing: Iterable[Limit], limits: Mapping[Limit, str]) -> LimitNotEnforceableError:
    """Why each insisted limit cannot be had here."""
    return LimitNotEnforceableError(
        "; ".join(f"{limit}: {limits[limit] or 'it failed just now'}" for limit in sorted(missing))
    )


class Launcher(msgspec.Struct, frozen=True):
    """Everything about this machine that a start needs."""

    folder: Path
    config: ExecutorConfig
    environments: Environments
    capability: Capability
    gpu_device: Callable[[str], str]
    """UUID of a GPU to its device file."""
    shims: Shims
    pinned: Mapping[str, str]
    """Where folders that other people may move really were when the node began."""

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    def prepare_machine(self) -> None:
        """What all jobs share: a tiny /etc, and the process that forks shims. Idempotent."""
        mode = 0o711 if self.config.sandbox == CONTAINER else 0o700
        for path in (self.folder, self.jobs, self.shared):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
        with suppress(OSError):  # the first start will say why
            self.shims.stock()
        for name, data in (
            ("passwd", b"swarm:x:65534:65534::/work:/bin/sh\n"),
            ("group", b"swarm:x:65534:\n"),
            ("hosts", b"127.0.0.1 localhost swarm\n::1 localhost\n"),
            *ETC_NET.items(),
        ):
            (self.shared / name).write_bytes(data)
            (self.shared / name).chmod(0o644)

    def prepare_job(self, folder: JobFolder) -> None:
        """Folders, and a copy of `swarm_ctx`: an upgrade of the node leaves a running job alone."""
        folder.make()
        if self.config.ctx_module is not None:
            target = folder.ctx / "swarm_ctx.py"
            if not target.exists():
                shutil.copyfile(self.config.ctx_module, target)
                target.chmod(0o644)

    def record_start(
        self, spec: JobSpec, folder: JobFolder, uid: int, cpus: tuple[int, ...]
    ) -> CrashRecord:
        """The crash record; `start` makes it durable."""
        place = blake2b(os.fsencode(self.folder), digest_size=4).hexdigest()
        cgroup = self.capability.parents.plan(f"swarm-{place}-{spec.job}")
        is_container = self.config.sandbox == CONTAINER
        guard = self.config.uid_first + self.config.uid_count - 1 if is_container else 0
        given = given_bytes(folder.work)
        return CrashRecord(spec, boot_id(), cgroup, uid, guard, cpus, given)

    def start(
        self,
        record: CrashRecord,
        folder: JobFolder,
        make_disk: Callable[[], WorkDisk | None],
        lease: str = "",
        secrets: JobSecrets | None = None,
    ) -> tuple[int, int] | None:
        """Write the record, make groups and disk, write the order, spawn.

        (shim pid, fd that says it runs); None when a shim has the lock already.
        """
        if secrets is not None and record.is_container:
            raise ExecutorUnavailableError(NO_PLACE)
        lock = folder.take_lock()
        if lock is None:
            folder.write_record(record)
            return None
        with ExitStack() as closing, ExitStack() as undoing:
            closing.callback(os.close, lock)
            _make_places(record.spec, folder)
            disk = self._note_and_make_disk(record, folder, make_disk)
            cgroup, enforced = self._make_groups(record, folder, has_disk=disk is not None)
            undoing.callback(cgroup.remove)
            order = [*self._order(record, folder, cgroup, enforced, secrets), ("lease", lease)]
            pairs.write_pairs(str(folder.path / "order"), order, durable=False)
            started = self._spawn(folder, lock, disk, secrets)
            undoing.pop_all()  # it is the shim's now
            return started

    def _note_and_make_disk(
        self, record: CrashRecord, folder: JobFolder, make_disk: Callable[[], WorkDisk | None]
    ) -> WorkDisk | None:
        """At once: the record is durable before a group or process is, a disk is found without."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="record") as beside:
            noted = beside.submit(folder.write_record, record)
            disk = self._make_disk(record, folder, make_disk)
            noted.result()
        return disk

    def _make_disk(
        self, record: CrashRecord, folder: JobFolder, make_disk: Callable[[], WorkDisk | None]
    ) -> WorkDisk | None:
        """The work folder as its user gets it; what lies beneath a disk changes no more."""
        if record.uid:
            folder.give_to(record.uid, str(folder.work))
        disk = make_disk()
        if disk is not None and disk.holds_all:
            folder.give_to(record.uid, disk.root)
        elif disk is not None:
            os.chown(disk.root, record.uid, record.uid)
        return disk

    def _make_groups(
        self, record: CrashRecord, folder: JobFolder, *, has_disk: bool
    ) -> tuple[JobCgroup, tuple[Limit, ...]]:
        """And which limits hold with them. Without one insisted on nothing was to start here."""
        cgroup, spec = JobCgroup(record.cgroup), record.spec
        pids_max = spec.pids_max + (0 if record.is_container else _SANDBOX_PIDS)
        took = cgroup.make(spec.memory_bytes, pids_max, spec.cpu_millis)
        is_io_held = cgroup.limit_io(self.capability.disk, self.config.io_bytes_per_s)
        enforced = self._enforced(took, has_disk=has_disk, is_io_held=is_io_held)
        if missing := spec.must_enforce - set(enforced):
            cgroup.remove()
            (folder.path / "record.json").unlink()
            raise refusal(missing, self.capability.limits)
        return cgroup, enforced

    def _enforced(
        self, took: tuple[str, ...], *, has_disk: bool, is_io_held: bool
    ) -> tuple[Limit, ...]:
        """Which limits hold for this very job, given what its groups took."""
        here = [Limit.DISK, Limit.WALL, Limit.NET, Limit.SYSCALLS, *map(Limit, took)]
        if self.capability.pids_rlimit:
            here.append(Limit.PIDS)
        if has_disk:
            here.append(Limit.DISK_FS)
        if is_io_held:
            here.append(Limit.IO)
        if not self.capability.limits[Limit.PATHS]:
            here.append(Limit.PATHS)
        return tuple(limit for limit in Limit if limit in here)

    def _order(
        self,
        record: CrashRecord,
        folder: JobFolder,
        cgroup: JobCgroup,
        enforced: tuple[Limit, ...],
        secrets: JobSecrets | None,
    ) -> list[tuple[str, str]]:
        self._write_filter(record, folder)
        order = [
            *self._allowance(record),
            ("seccomp", str(folder.path / _FILTER)),
            ("enforced", " ".join(enforced)),
            *(("cgroup", f"{kind}={path}") for kind, path in cgroup.dirs.items()),
        ]
        if record.uid:
            order.append(("uid", str(record.uid)))
        if record.is_container:
            return order + self._container_order(record, folder)
        has_disk = Limit.DISK_FS in enforced
        return order + self._bwrap_order(record, folder, secrets, has_disk=has_disk)

    def _allowance(self, record: CrashRecord) -> list[tuple[str, str]]:
        spec = record.spec
        entries = [
            ("wall_s", repr(spec.wall_s)),
            ("disk_bytes", str(spec.disk_bytes)),
            ("given_bytes", str(record.given_bytes)),
            ("memory_bytes", str(spec.memory_bytes)),
            ("log_bytes", str(self.config.log_bytes)),
            ("entries_max", str(WALKED_ENTRIES_MAX)),
            ("nofile", str(self.config.nofile)),
            ("cpus", " ".join(map(str, record.cpus))),
        ]
        if self.capability.pids_rlimit:
            own = 0 if record.is_container else 1  # the first process of the sandbox's namespace
            entries.append(("pids_rlimit", str(spec.pids_max + own)))
        return entries

    def _write_filter(self, record: CrashRecord, folder: JobFolder) -> None:
        disk_bytes = record.spec.disk_bytes + record.given_bytes
        largest = max(disk_bytes, _RESERVE_LEAST_BYTES) + _RESERVE_SLACK_BYTES
        program = filter_program(
            os.uname().machine, is_apart=not record.is_container, reserve_max=largest
        )
        (folder.path / _FILTER).write_bytes(program)

    def _bwrap_order(
        self, record: CrashRecord, folder: JobFolder, secrets: JobSecrets | None, *, has_disk: bool
    ) -> list[tuple[str, str]]:
        scratch, why = scratch_bytes(record.spec), self.capability.image_trouble
        own = OwnSystem(folder.path / "system", scratch, why)
        sources = Sources(is_staged=self.capability.is_staged, pinned=self.pinned, own=own)
        view = self._view(record.spec, folder, sources, has_disk=has_disk)
        known = secrets.variables if secrets else {}  # they win over what an environment sets
        env = {key: value for key, value in view.env.items() if key not in known}
        if self.config.has_mirror:
            env |= mirrored.variables(record.spec.net, {*env, *known}, str(folder.work))
        options = bwrap_options(msgspec.structs.replace(view, env=env))
        (folder.path / "cpus").write_text(f"{as_list(record.cpus)}\n")
        (folder.path / "cpus").chmod(0o644)
        args = folder.path / "bwrap.args"
        write_args(args, options)
        home, name = bubblewrap.home_of(self.capability.bwrap)
        bwrap = f"{sources(home)}/{name}"
        argv = bwrap_argv(
            bwrap,
            record.spec.argv,
            limit_pids=self.capability.pids_rlimit,
            has_secrets=secrets is not None,
            run_bytes=view.tmp_bytes if view.system else 0,
        )
        return [
            ("bwrap_args", str(args)),
            ("has_disk", "1" if has_disk else ""),
            ("has_secrets", "1" if secrets is not None else ""),
            ("net", "1" if record.spec.net else ""),
            ("web", "1" if answered(record.spec) else ""),
            ("node_away_s", repr(self.config.data_away_s)),
            *(("mount", place) for place in self._mounts(record.spec, folder)),
            *(("stage", path) for path in sources.staged),
            *sources.system,
            *(("argv", word) for word in argv),
            ("env", "PATH=/usr/bin:/bin"),
        ]

    def _view(
        self, spec: JobSpec, folder: JobFolder, sources: Sources, *, has_disk: bool
    ) -> SandboxView:
        work = sources.held(FD_DISK) if has_disk else sources(folder.work)
        shown = self.environments.shown(spec, work, sources)
        return SandboxView(
            work=work,
            ctx=folder.ctx,
            etc=self.shared,
            env=self._task_environment(spec, shown, WORK, "/tmp", CTX),  # noqa: S108
            tmp_bytes=scratch_bytes(spec),
            cpus=sources(folder.path / "cpus"),
            sources=sources,
            environment=shown.options,
            has_own_system=shown.has_own_system,
            system=shown.system,
            devices=tuple(self.gpu_device(uuid) for uuid in spec.gpus),
            has_net=bool(spec.net),
            has_web=bool(answered(spec)),
            data=_shown(spec, folder, sources),
        )

    def _mounts(self, spec: JobSpec, folder: JobFolder) -> list[str]:
        """What the shim's child mounts, as it reads it."""
        kinds = [(number, "d" if one.is_folder else "f") for number, one in answered(spec)]
        if self.capability.is_staged:
            return [kind for _, kind in kinds]
        return [f"{kind}{folder.data(number)}" for number, kind in kinds]

    def _container_order(self, record: CrashRecord, folder: JobFolder) -> list[tuple[str, str]]:
        spec = record.spec
        folder.open_for_container(record.uid)
        seen = self.environments.in_place(spec.environment)
        env = self._task_environment(spec, seen, str(folder.work), str(folder.tmp), str(folder.ctx))
        shown = [folder.ctx, *bound_by(seen.options)]
        paths = rules(shown, (folder.work, folder.tmp), list(map(self.gpu_device, spec.gpus)))
        return [
            ("guard_uid", str(record.guard_uid)),
            *(("path", rule) for rule in paths),
            *(("argv", word) for word in spec.argv),
            *(("env", f"{key}={value}") for key, value in env.items()),
        ]

    def _task_environment(
        self, spec: JobSpec, shown: Shown, home: str, tmp: str, ctx: str
    ) -> dict[str, str]:
        task, _, fence = spec.job.rpartition(".")
        asked = {
            **dict(shown.variables),
            "CUDA_VISIBLE_DEVICES": ",".join(spec.gpus),
            **spec.env,
            "SWARM_TASK": task,
            "SWARM_ATTEMPT": fence,
            **({"SWARM_DATA_URL": DATA_URL} if answered(spec) else {}),
        }
        return task_environment(
            asked, home=home, tmp=tmp, ctx=ctx, bins=shown.bins, libraries=shown.libraries
        )

    def _spawn(
        self, folder: JobFolder, lock: int, disk: WorkDisk | None, secrets: JobSecrets | None
    ) -> tuple[int, int]:
        ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        opened = [os.open(folder.path / "shim.log", flags, 0o600), ready_write]
        given = [*opened, lock]
        try:
            opened.append(in_memory(secrets))
            given.append(opened[-1])
            if disk is not None:
                opened.append(disk.another())
                given.append(opened[-1])
            return self.shims.start(folder.path, given), ready_read
        except OSError:
            os.close(ready_read)
            raise
        finally:
            for fd in opened:
                os.close(fd)


def answered(spec: JobSpec) -> list[tuple[int, DataMount]]:
    """The datasets that a node answers for, by their number among all."""
    return [(number, one) for number, one in enumerate(spec.data) if not one.source]


def _make_places(spec: JobSpec, folder: JobFolder) -> None:
    """What is mounted on or from the work folder, and no link. Raises OutputUnsafeError."""
    if (spec.environment or "").startswith(BUILD):
        safe_files.make_place(str(folder.work), TREE, is_folder=True)
    for number, one in enumerate(spec.data):
        if one.target.startswith(f"{WORK}/"):
            name = one.target.removeprefix(f"{WORK}/")
            safe_files.make_place(str(folder.work), name, is_folder=one.is_folder)
        if not one.source:
            folder.data(0).parent.mkdir(mode=0o700, exist_ok=True)
            safe_files.make_place(str(folder.path), f"data/{number}", is_folder=one.is_folder)


def _shown(spec: JobSpec, folder: JobFolder, sources: Sources) -> tuple[tuple[str, str], ...]:
    """Where bubblewrap has each dataset, and where it is to be seen."""

    def place(number: int, one: DataMount) -> str:
        if one.source:
            return sources(Path(one.source))
        return sources.answered(folder.data(number), is_folder=one.is_folder)

    return tuple((place(number, one), one.target) for number, one in enumerate(spec.data))
