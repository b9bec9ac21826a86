"""An executor in memory on virtual time: programs are generators, files are bytes.

It outlives a node that is cancelled and built again on the same object, as shims and folders do.
A job moves on only when somebody looks at it: then everything that was due happens, in order, at
the instant it was due. So nothing runs in the background, and one seed gives one trace.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator, Mapping, Sequence
from math import inf
from signal import Signals

import msgspec
import trio

from swarmnode.errors import (
    EnvironmentUnknownError,
    ExecutorUnavailableError,
    JobRunningError,
    JobUnknownError,
    LimitNotEnforceableError,
    NetUnavailableError,
)
from swarmnode.executor.fake import files as fake_files
from swarmnode.executor.fake import programs as fake_programs
from swarmnode.executor.fake.bringing import FakeBringing
from swarmnode.executor.fake.programs import Process, Program
from swarmnode.executor.fake.unmounted import Unmounted
from swarmnode.executor.port import (
    FileStat,
    JobCall,
    JobExit,
    JobId,
    JobSecrets,
    JobSignal,
    JobSpec,
    JobView,
    Limit,
)
from swarmnode.limits import LOG_READ_BYTES_MAX
from swarmnode.tree.names import Parts
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found, Scan
from swarmnode.tree.select import Selection

_TERMINATED, _KILLED, _NOT_STARTED = 143, 137, 125
_FIRST_PID = 1000


def _virtual_ms() -> int:
    return int(trio.current_time() * 1000)


class _Job(msgspec.Struct):
    process: Process
    spec: JobSpec | None = None
    """None: it was prepared or renewed, not started."""
    is_prepared: bool = False
    given_bytes: int = 0
    """What its folder held at the start: not counted as its disk."""
    pid: int = 0
    started_ms: int = 0
    started_s: float = 0.0
    """On the clock of the loop; `started_ms` is on the wall."""
    steps: Iterator[float] = msgspec.field(default_factory=lambda: iter(()))
    """The program, which yields how long it sleeps."""
    due_s: float = inf
    """When the program wakes next."""
    kill_at_s: float = inf
    """At its timeout, or at the end of the grace once it is to stop."""
    kill_reason: str = "wall"
    """Of its exit, if it comes to that."""
    lease_until_s: float = inf
    """Inf: nobody has renewed it, which ends nothing here."""
    lease_notice_s: float = 0.0
    exit: JobExit | None = None
    """None while it may go on."""
    changed: trio.Event = msgspec.field(default_factory=trio.Event)
    """Replaced whenever something happens that nobody could have foreseen."""

    def lease_ends_s(self) -> float:
        """When the program ends for want of a lease: at the notice, unless it is deaf to it."""
        notice_s = 0.0 if self.process.ignores_term else self.lease_notice_s
        return self.lease_until_s - notice_s

    def wakes_s(self) -> float:
        """When something happens next by itself."""
        return min(self.due_s, self.kill_at_s, self.lease_ends_s())

    def view(self) -> JobView:
        assert self.spec is not None
        ordered_ns = self.started_ms * 1_000_000
        return JobView(self.spec.job, self.pid, self.started_ms, self.exit, ordered_ns=ordered_ns)

    def stir(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class FakeExecutor(Unmounted):
    """The Executor of simulations; `argv` names one of `fake_programs.PROGRAMS` or `programs`.

    `not_enforced` maps a limit to the reason why this machine lacks it. Only wall clock and disk
    really end a job here, and memory when a program says how much it takes.
    """

    def __init__(
        self,
        *,
        environments: Sequence[str] = (),
        not_enforced: Mapping[Limit, str] | None = None,
        trouble: str = "",
        net_trouble: str = "",
        programs: Mapping[str, Program] | None = None,
        wall_ms: Callable[[], int] = _virtual_ms,
    ) -> None:
        self.bringing = FakeBringing(environments)
        self._limits = {limit: (not_enforced or {}).get(limit, "") for limit in Limit}
        """Each limit, and why it is not enforced; empty: it is."""
        self._trouble, self._net_trouble = trouble, net_trouble
        self._programs = {**fake_programs.PROGRAMS, **(programs or {})}
        self._wall_ms = wall_ms
        self.given: dict[JobId, JobSecrets | None] = {}
        """What each job was started with; programs here read none."""
        self._jobs: dict[JobId, _Job] = {}
        """What is on this machine's disk: jobs that are prepared, run or have ended."""
        self._answer: JobCall | None = None
        """Who answers requests of tasks; None until `on_call`."""
        self._pids = _FIRST_PID
        """Given last."""
        self._runs = False
        """`run` serves: only then jobs are started."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; jobs go on meanwhile and afterwards."""
        self._runs = True
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._runs = False

    def enforceable(self) -> Mapping[Limit, str]:
        """As configured."""
        return self._limits

    def trouble(self) -> str:
        """As configured."""
        return self._trouble

    def net_trouble(self) -> str:
        """As configured."""
        return self._net_trouble

    def environments(self) -> tuple[str, ...]:
        """As configured, and what was brought."""
        return self.bringing.names()

    def on_call(self, answer: JobCall) -> None:
        """Set who answers; see `ask`."""
        self._answer = answer

    async def ask(self, job: JobId, request: bytes) -> bytes:
        """For tests: the running job makes this request through its `ctx`."""
        assert self._answer is not None, "nobody answers: on_call was not used"
        return await self._answer(job, request)

    def power_cut(self) -> None:
        """The machine goes down and keeps its disk: what ran is lost, folders stay."""
        for job in self._jobs.values():
            self._advance(job)
            if job.spec is not None and job.exit is None:
                self._end(job, _NOT_STARTED, "lost", trio.current_time())

    def crash(self) -> None:
        """The machine goes down for good, with its disk."""
        self.power_cut()
        self._jobs.clear()

    async def prepare(self, job: JobId) -> None:
        """Make the job's folder."""
        await trio.lowlevel.checkpoint()
        self._refuse_if_troubled()
        self._jobs.setdefault(job, _Job(Process(job))).is_prepared = True

    def is_prepared(self, job: JobId) -> bool:
        """Whether `prepare` was called, and `forget` not since."""
        return job in self._jobs and self._jobs[job].is_prepared

    async def put_file(self, job: JobId, name: str, chunks: AsyncIterable[bytes]) -> None:
        """Write a file once the stream is whole."""
        await fake_files.put(self._folder(job).process, name, chunks, self._wall_ms())

    async def list_files(self, job: JobId, pattern: str) -> tuple[FileStat, ...]:
        """Files that match, by name."""
        await trio.lowlevel.checkpoint()
        return fake_files.listed(self._folder(job).process, pattern)

    def read_file(self, job: JobId, name: str) -> AsyncGenerator[bytes, None]:
        """The bytes of one file."""
        return fake_files.read(self._folder(job).process, name)

    async def scan(self, job: JobId, base: Parts = ()) -> Scan:
        """Files, the folders they lie in, and links."""
        await trio.lowlevel.checkpoint()
        return fake_files.scan(self._folder(job).process, base)

    async def select(self, job: JobId, patterns: Sequence[Pattern]) -> tuple[Scan, Selection]:
        """The same, and what patterns mean in it."""
        return fake_files.select(await self.scan(job), patterns)

    async def closed(self, job: JobId, seen: Sequence[Found]) -> tuple[tuple[Found, ...], str]:
        """Without links that lead out."""
        return await fake_files.closed(seen)

    def pack(
        self, job: JobId, base: Parts, seen: Sequence[Found], *, may_grow: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """The tree of what was found in `base`."""
        return fake_files.pack(self._folder(job).process, base, seen, may_grow=may_grow)

    async def unpack(self, job: JobId, base: Parts, chunks: AsyncIterable[bytes]) -> None:
        """Make a tree's files once the stream is whole."""
        await fake_files.unpack(self._folder(job).process, base, chunks, self._wall_ms())

    async def start(self, spec: JobSpec, secrets: JobSecrets | None = None) -> JobView:
        """Start the program; the job of an id starts once only."""
        await trio.lowlevel.checkpoint()
        if not self._runs:
            raise RuntimeError("the executor does not run")
        job = self._jobs.get(spec.job)
        if job is None or job.spec is None:
            self._refuse_if_troubled()
            self._check(spec)
            job = self._jobs.setdefault(spec.job, _Job(Process(spec.job)))
            self.given[spec.job] = secrets
            self._launch(job, spec)
        self._advance(job)
        return job.view()

    def _refuse_if_troubled(self) -> None:
        if self._trouble:
            raise ExecutorUnavailableError(self._trouble)

    def _check(self, spec: JobSpec) -> None:
        if spec.environment is not None and not self.bringing.has(spec.environment):
            have = ", ".join(self.bringing.names()) or "none"
            raise EnvironmentUnknownError(f"no environment {spec.environment!r} here; have: {have}")
        if spec.net and self._net_trouble:
            raise NetUnavailableError(self._net_trouble)
        if missing := [limit for limit in sorted(spec.must_enforce) if self._limits[limit]]:
            words = "; ".join(f"{limit}: {self._limits[limit]}" for limit in missing)
            raise LimitNotEnforceableError(words)

    def _launch(self, job: _Job, spec: JobSpec) -> None:
        self._pids += 1
        now_s = trio.current_time()
        job.spec, job.pid, job.given_bytes = spec, self._pids, job.process.disk_use()
        job.started_ms, job.started_s, job.due_s = self._wall_ms(), now_s, now_s
        job.kill_at_s = now_s + spec.wall_s
        program = self._programs.get(spec.argv[0], fake_programs.not_found)
        job.process.argv, job.process.env, job.process.net = spec.argv, spec.env, spec.net
        job.steps = program(job.process, spec.argv[1:])
        job.stir()

    def _advance(self, job: _Job) -> None:
        """Let everything happen that was due until now."""
        while job.spec is not None and job.exit is None:
            at_s = job.wakes_s()
            if at_s > trio.current_time():
                return
            if job.lease_ends_s() == at_s:
                self._end(job, _KILLED, "lease", at_s)
            elif job.kill_at_s <= job.due_s:
                self._end(job, _KILLED, job.kill_reason, at_s)
            else:
                self._step(job, job.spec, at_s)

    def _step(self, job: _Job, spec: JobSpec, at_s: float) -> None:
        process, disk_bytes = job.process, job.given_bytes + spec.disk_bytes
        process.now_ns = job.started_ms * 1_000_000 + int((at_s - job.started_s) * 1e9)
        try:
            job.due_s = at_s + next(job.steps)
        except StopIteration as ended:
            self._end(job, ended.value or 0, "exit", at_s)
        if process.memory_bytes > spec.memory_bytes and not self._limits[Limit.MEMORY]:
            self._end(job, _KILLED, "oom", at_s)
        elif process.disk_use() > disk_bytes and not self._limits[Limit.DISK]:
            self._end(job, _KILLED, "disk", at_s)

    def _end(self, job: _Job, code: int, reason: str, at_s: float) -> None:
        wall_s = round(at_s - job.started_s, 6)
        enforced = tuple(limit for limit in Limit if not self._limits[limit])
        peak = job.process.memory_bytes
        job.exit = JobExit(code, reason, wall_s, wall_s, peak, enforced)
        job.due_s = job.kill_at_s = job.lease_until_s = inf
        job.stir()

    def leave(self) -> None:
        """Nothing is kept of it here."""

    def jobs(self) -> Sequence[JobView]:
        """Every job that was started here, by id."""
        started = [self._jobs[job] for job in sorted(self._jobs) if self._jobs[job].spec]
        for job in started:
            self._advance(job)
        return [job.view() for job in started]

    async def wait(self, job: JobId) -> JobExit:
        """Return once the job has ended."""
        known = self._known(job)
        await self._until(known, lambda: False)
        assert known.exit is not None
        return known.exit

    async def _until(self, job: _Job, enough: Callable[[], bool]) -> None:
        """Return once `enough` holds or the job has ended."""
        await trio.lowlevel.checkpoint()
        self._advance(job)
        while job.exit is None and not enough():
            with trio.move_on_at(job.wakes_s()):
                await job.changed.wait()
            self._advance(job)

    async def read_log(self, job: JobId, stream: str, offset: int, bytes_max: int) -> bytes:
        """Bytes of stdout or stderr from `offset`."""
        await trio.lowlevel.checkpoint()
        end = offset + min(bytes_max, LOG_READ_BYTES_MAX)
        return bytes(self._known(job).process.log(stream)[offset:end])

    def log_length(self, job: JobId, stream: str) -> int:
        """Bytes of it so far."""
        return len(self._known(job).process.log(stream))

    async def log_grew(self, job: JobId, stream: str, offset: int) -> None:
        """Return once the log is longer than `offset` or the job has ended."""
        known = self._known(job)
        log = known.process.log(stream)
        await self._until(known, lambda: len(log) > offset)

    def renew(self, job: JobId, left_s: float, notice_s: float) -> None:
        """Extend the lease, also of a job that is still to be started."""
        known = self._jobs.setdefault(job, _Job(Process(job)))
        self._advance(known)
        until_s = trio.current_time() + left_s
        if known.exit is None and (known.lease_until_s == inf or until_s > known.lease_until_s):
            known.lease_until_s, known.lease_notice_s = until_s, notice_s
            known.stir()

    def signal(self, job: JobId, signal: JobSignal) -> bool:
        """SIGINT and the others end a program, as they do where none has said otherwise."""
        known = self._known(job)
        self._advance(known)
        if known.exit is None:
            code = 128 + int(Signals[f"SIG{signal.value}"])
            self._end(known, code, "signal", trio.current_time())
            return True
        return False

    async def stop(self, job: JobId, grace_s: float) -> JobExit:
        """End the job: at once, or after the grace if its program ignores SIGTERM."""
        known = self._known(job)
        if known.exit is None:
            now_s = trio.current_time()
            if not known.process.ignores_term or grace_s <= 0:
                self._end(known, _TERMINATED if grace_s > 0 else _KILLED, "killed", now_s)
            elif now_s + grace_s < known.kill_at_s:
                known.kill_at_s, known.kill_reason = now_s + grace_s, "killed"
                known.stir()
        return await self.wait(job)

    async def forget(self, job: JobId) -> None:
        """Remove the folder of a job that ended or was only prepared."""
        await trio.lowlevel.checkpoint()
        known = self._folder(job)
        if known.spec is not None and known.exit is None:
            raise JobRunningError(f"{job} runs: stop it first")
        del self._jobs[job]

    async def sweep(self, keep: frozenset[JobId]) -> tuple[JobId, ...]:
        """Kill and remove every job that is not in `keep`."""
        await trio.lowlevel.checkpoint()
        removed = tuple(job for job in sorted(self._jobs) if job not in keep)
        for job in removed:
            if self._jobs[job].spec is not None:
                await self.stop(job, 0)
            del self._jobs[job]
        return removed

    def _folder(self, job: JobId) -> _Job:
        known = self._jobs.get(job)
        if known is None:
            raise JobUnknownError(f"no job {job!r} here")
        self._advance(known)
        return known

    def _known(self, job: JobId) -> _Job:
        known = self._folder(job)
        if known.spec is None:
            raise JobUnknownError(f"no job {job!r} here")
        return known
