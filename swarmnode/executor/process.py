"""Runs jobs for real: a shim per job, in a sandbox, in control groups. See shim/, sandbox/.

This service can be killed at any moment: everything it knows is in the job folders, and `run`
begins by reading them again.
"""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from p2p.workers import Workers
from swarmnode.contained import contained
from swarmnode.errors import (
    ExecutorUnavailableError,
    GpuUnknownError,
    JobRunningError,
    JobUnknownError,
    NetUnavailableError,
)
from swarmnode.executor import life
from swarmnode.executor.attend import Attendant
from swarmnode.executor.cpus import choose
from swarmnode.executor.dataset_face import DatasetFace
from swarmnode.executor.disk import safe_files, work_files
from swarmnode.executor.disk.given import GivenRoom, Take, free_of_charge
from swarmnode.executor.disk.work_disk import WorkDisk
from swarmnode.executor.environments.arrivals import EnvironmentArrivals
from swarmnode.executor.environments.catalogue import environments_of
from swarmnode.executor.environments.named import pinned
from swarmnode.executor.job import ExecutorJob
from swarmnode.executor.job_disks import JobDisks
from swarmnode.executor.job_folder import CrashRecord, JobFolder, read_jobs
from swarmnode.executor.kernel.proc import descends
from swarmnode.executor.launch import Launcher, refusal
from swarmnode.executor.network.resolver import HostResolver, Resolver
from swarmnode.executor.port import (
    DataServer,
    JobCall,
    JobExit,
    JobId,
    JobSignal,
    JobSpec,
    JobView,
    Limit,
    MirrorServer,
)
from swarmnode.executor.sandbox.capability import (
    Capability,
    ExecutorConfig,
    free_user,
    probe,
    templates_in,
)
from swarmnode.executor.shim.lease import boot_s
from swarmnode.executor.spawn import Shims
from swarmnode.executor.watch import kill_left_over
from swarmnode.limits import KILL_TIMEOUT_S, LOG_READ_BYTES_MAX
from swarmnode.tasks.secrets.wants import JobSecrets

ResultT = TypeVar("ResultT")

_LOOK_S = 0.05
"""How often a log is looked at while somebody follows it."""


def _no_gpus(uuid: str) -> str:
    raise GpuUnknownError(f"no GPU {uuid} on this machine")


class ProcessExecutor(work_files.WorkFiles, DatasetFace):
    """The Executor of a node. `folder` is its own; `gpu_device` gives a GPU's device file."""

    def __init__(
        self,
        folder: Path,
        config: ExecutorConfig,
        environments: Mapping[str, Path],
        workers: Workers,
        *,
        gpu_device: Callable[[str], str] = _no_gpus,
        resolver: Resolver | None = None,
    ) -> None:
        """`resolver` finds the hosts that tasks talk to; None: as this machine does."""
        self._folder = folder.resolve()
        work_files.WorkFiles.__init__(self, workers)
        DatasetFace.__init__(self, GivenRoom(self._folder, config.given_bytes_max))
        self._environments = environments_of(self._folder, config, environments)
        self.bringing = EnvironmentArrivals(self._environments, workers, self._in_use)
        self._config, self._gpu_device = config, gpu_device
        self._attendant = Attendant(
            workers,
            self._stock,
            resolver or HostResolver(),
            config.net_private,
            config.net_connections,
        )
        self._launcher: Launcher | None = None
        self._nursery: trio.Nursery | None = None
        self._leases: dict[JobId, str] = {}
        """Of jobs that are still to be started, as their shims will read them."""
        self._life, self._shims = life.NodeLife(self._folder), Shims(self._folder)
        self._disks = JobDisks(templates_in(self._folder))
        self._starting = trio.Lock()
        """One start at a time: the job of an id starts once."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Find out what can be enforced, re-attach to every job, serve until cancelled."""
        launcher = await self._workers.run(self._prepare_machine)
        jobs = await self._workers.run(lambda: list(read_jobs(launcher.jobs)))
        records = {folder.path: record for folder, record in jobs}
        await self._disks.adopt(self._workers, launcher.jobs, records)
        self._life.begin(folder for folder, _ in jobs)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for folder, record in jobs:
                self._adopt(folder, record)
            task_status.started()
            try:
                while True:
                    await trio.sleep(life.TOUCH_S)
                    self._life.touch()
            finally:
                self._nursery = None
                self._disks.let_go()
                self._shims.let_go()

    def _prepare_machine(self) -> Launcher:
        self._folder.mkdir(parents=True, exist_ok=True)
        launcher = self._ready_launcher()
        if not launcher.capability.trouble:
            launcher.prepare_machine()
        launcher.jobs.mkdir(exist_ok=True)
        self._environments.open()
        return launcher

    def _in_use(self) -> set[str]:
        jobs = [job.record.spec for job in self._jobs.values() if job.exit is None]
        return {spec.environment for spec in jobs if spec.environment}

    def _ready_launcher(self) -> Launcher:
        if self._launcher is None:
            self._launcher = Launcher(
                self._folder,
                self._config,
                self._environments,
                probe(self._config, self._folder),
                self._gpu_device,
                self._shims,
                pinned(self._environments.named.values()),
            )
        return self._launcher

    @property
    def _capability(self) -> Capability:
        return self._ready_launcher().capability

    def _adopt(self, folder: JobFolder, record: CrashRecord) -> None:
        job = self._jobs[record.spec.job] = ExecutorJob(folder, record)
        with contained(f"the look at job {record.spec.job}"):
            job.look()
        self._given.note(record.spec.job, record.given_bytes)
        assert self._nursery is not None
        self._nursery.start_soon(self._attendant.attend, job, 0, -1)

    def _stock(self, job: ExecutorJob) -> None:
        """Be quicker for the next one like it."""
        self._disks.stock(job.folder, job.record.spec.disk_bytes)

    def enforceable(self) -> Mapping[Limit, str]:
        """Each limit -> "" when enforced here, else the reason and remedy in one line."""
        return self._capability.limits

    def trouble(self) -> str:
        """ "" when jobs can run here, else why not and the remedy."""
        return self._capability.trouble

    def net_trouble(self) -> str:
        """ "" when a task can have a network here, else why not and the remedy."""
        return self._capability.net_trouble

    def environments(self) -> tuple[str, ...]:
        """Configured, built and here, and those that can be built."""
        return self._environments.names()

    def on_data(self, serve: DataServer) -> None:
        """Set who answers for datasets."""
        self._attendant.serve = serve

    def on_mirror(self, serve: MirrorServer) -> None:
        """Set who answers at the mirrors' names."""
        self._attendant.mirror = serve

    def on_call(self, answer: JobCall) -> None:
        """Set who answers the tasks' `ctx` requests."""
        self._attendant.answer = answer

    async def prepare(self, job: JobId) -> None:
        """Make the job's private folder; idempotent. Raises ExecutorUnavailableError."""
        self._refuse_if_troubled()
        await self._write(partial(self._ready_launcher().prepare_job, self._folder_of(job)))

    def is_prepared(self, job: JobId) -> bool:
        """Whether its folder is here."""
        return self._folder_of(job).path.exists()

    async def start(self, spec: JobSpec, secrets: JobSecrets | None = None) -> JobView:
        """Write the crash record, then start; the job of an id starts once only.

        Raises ExecutorUnavailableError, LimitNotEnforceableError, EnvironmentUnknownError.
        """
        async with self._starting:
            if spec.job not in self._jobs:
                self._refuse_if_troubled()
                self._check(spec)
                await self._launch(spec, secrets)
        job = self._jobs[spec.job]
        await job.started.wait()
        return job.view()

    def _refuse_if_troubled(self) -> None:
        if self._capability.trouble:
            raise ExecutorUnavailableError(self._capability.trouble)

    def _check(self, spec: JobSpec) -> None:
        self._environments.check(spec.environment)
        if spec.net and (why := self._capability.net_trouble):
            raise NetUnavailableError(why)
        limits = self._capability.limits
        if missing := [limit for limit in spec.must_enforce if limits[limit]]:
            raise refusal(missing, limits)

    async def _launch(self, spec: JobSpec, secrets: JobSecrets | None) -> None:
        folder, nursery = self._folder_of(spec.job), self._nursery
        if nursery is None:
            raise RuntimeError("the executor does not run")
        with trio.CancelScope(shield=True):  # a shim that runs must be known
            record, spawned = await self._write(partial(self._start_shim, spec, folder, secrets))
            self._jobs[spec.job] = job = ExecutorJob(folder, record)
            if lease := self._leases.pop(spec.job, ""):  # it may have grown meanwhile
                folder.order_lease(lease)
        # A node that stops may have ended `run` meanwhile: the next one finds this job.
        await trio.lowlevel.checkpoint_if_cancelled()
        nursery.start_soon(self._attendant.attend, job, *(spawned or (0, -1)))

    def _start_shim(
        self, spec: JobSpec, folder: JobFolder, secrets: JobSecrets | None
    ) -> tuple[CrashRecord, tuple[int, int] | None]:
        """In a thread. What `Launcher.start` returns, with what was noted before."""
        self._environments.look(spec)
        launcher = self._ready_launcher()
        launcher.prepare_job(folder)
        record = launcher.record_start(spec, folder, self._free_user(), self._free_cpus(spec))
        disk, lease = partial(self._make_disk, folder, spec.disk_bytes), self._leases.get(spec.job)
        return record, launcher.start(record, folder, disk, lease or "", secrets)

    def _make_disk(self, folder: JobFolder, disk_bytes: int) -> WorkDisk | None:
        lacks = self._capability.limits[Limit.DISK_FS]
        return None if lacks else self._disks.make(folder, disk_bytes)

    async def _write(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            return await self._workers.run(work)
        except OSError as exc:
            raise ExecutorUnavailableError(f"{self._folder}: {exc.strerror or exc}") from exc

    def _free_cpus(self, spec: JobSpec) -> tuple[int, ...]:
        running = [job.record for job in self._jobs.values() if job.exit is None]
        taken = [(record.cpus, record.spec.cpu_millis) for record in running]
        usable = sorted(os.sched_getaffinity(0))
        return choose(spec.cpu_millis, usable, taken, random.randrange(len(usable)))  # noqa: S311

    def _free_user(self) -> int:
        taken = {job.record.uid for job in self._jobs.values()}
        return free_user(self._config, self._capability, taken)

    def leave(self) -> None:
        """The node goes in good order: whatever happens next, no job is to blame for it."""
        self._life.end()

    def jobs(self) -> Sequence[JobView]:
        """Every job that was started here, by id."""
        return [self._jobs[job].view() for job in sorted(self._jobs)]

    def owns(self, pid: int) -> bool:
        """Whether a host process belongs to one of our jobs: its ancestors say so."""
        return descends(pid, {job.pid for job in self._jobs.values() if job.exit is None})

    async def wait(self, job: JobId) -> JobExit:
        """Return once the job has ended. Raises JobUnknownError."""
        known = self._known(job)
        await known.ended.wait()
        assert known.exit is not None
        return known.exit

    async def read_log(self, job: JobId, stream: str, offset: int, bytes_max: int) -> bytes:
        """Bytes of stdout or stderr from `offset`; empty at the present end."""
        known = self._known(job)
        await trio.lowlevel.checkpoint()
        return known.read_log(stream, offset, min(bytes_max, LOG_READ_BYTES_MAX))

    def log_length(self, job: JobId, stream: str) -> int:
        """Bytes of it so far. Raises JobUnknownError."""
        return self._known(job).folder.stream(stream).stat().st_size

    async def log_grew(self, job: JobId, stream: str, offset: int) -> None:
        """Return once the log is longer than `offset` or the job has ended."""
        known = self._known(job)
        path = known.folder.stream(stream)
        while path.stat().st_size <= offset and not known.ended.is_set():
            with trio.move_on_after(_LOOK_S):
                await known.ended.wait()
        await trio.lowlevel.checkpoint()

    def renew(self, job: JobId, left_s: float, notice_s: float) -> None:
        """The job may go on for so long from now; its shim ends it then, whatever becomes of us."""
        lease = f"{boot_s() + left_s:.3f} {notice_s:.3f}"
        if job not in self._jobs:
            self._leases[job] = lease
        elif not self._jobs[job].ended.is_set():
            self._jobs[job].folder.order_lease(lease)

    def signal(self, job: JobId, signal: JobSignal) -> bool:
        """By its shim, which keeps it until a program is there to hear it."""
        return self._known(job).folder.order_signal(signal)

    async def stop(self, job: JobId, grace_s: float) -> JobExit:
        """SIGTERM, then kill the whole process tree after the grace; idempotent."""
        known = self._known(job)
        await known.started.wait()
        with trio.move_on_after(grace_s + 2 * KILL_TIMEOUT_S):
            while not known.ended.is_set() and not known.folder.order_stop(grace_s):
                with trio.move_on_after(_LOOK_S):
                    await known.ended.wait()
            await known.ended.wait()
        if not known.ended.is_set():
            await self._workers.run(partial(kill_left_over, known.folder, known.record))
        return await self.wait(job)

    async def forget(self, job: JobId) -> None:
        """Remove a job that ended or was only prepared. Raises JobRunningError, JobUnknownError."""
        self._leases.pop(job, None)
        self.bringing.let_go(job)
        known = self._jobs.get(job)
        if known is None:
            self._work(job)
            await self._write(partial(self._remove, self._folder_of(job)))
            return
        if not known.ended.is_set():
            raise JobRunningError(f"{job} runs: stop it first")
        await self._workers.run(partial(kill_left_over, known.folder, known.record))
        await self._write(partial(self._remove, known.folder))
        del self._jobs[job]

    async def sweep(self, keep: frozenset[JobId]) -> tuple[JobId, ...]:
        """Kill and remove every job that is not in `keep`, started or only prepared."""
        removed = []
        jobs = self._ready_launcher().jobs
        for name in await self._workers.run(lambda: sorted(os.listdir(jobs))):
            job = JobId(name)
            if job in keep:
                continue
            with contained(f"the sweep of job {job}"):
                if job in self._jobs:
                    await self.stop(job, 0)
                    await self.forget(job)
                else:
                    self.bringing.let_go(job)
                    await self._write(partial(self._remove, JobFolder(jobs / name)))
                removed.append(job)
        return tuple(removed)

    def _remove(self, folder: JobFolder) -> None:
        self._disks.drop(folder)
        self._given.drop(JobId(folder.path.name))
        safe_files.remove_tree(str(folder.path))

    def _known(self, job: JobId) -> ExecutorJob:
        if (known := self._jobs.get(job)) is None:
            raise JobUnknownError(f"no job {job!r} here")
        return known

    def _folder_of(self, job: JobId) -> JobFolder:
        return JobFolder.of(self._ready_launcher().jobs, job)

    def _record(self, job: JobId) -> CrashRecord | None:
        return self._jobs[job].record if job in self._jobs else None

    def _taking(self, job: JobId) -> AbstractContextManager[Take]:
        return nullcontext(free_of_charge) if job in self._jobs else self._given.taking(job)

    def _work(self, job: JobId) -> str:
        if not (folder := self._folder_of(job)).work.is_dir():
            raise JobUnknownError(f"no job {job!r} here")
        return self._disks.root_of(folder)
