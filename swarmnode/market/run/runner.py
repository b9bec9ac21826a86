"""Runs one job from its award to the last byte of its log.

    stage -> start -> watch, push logs -> wait -> keep the last checkpoint | store outputs -> Ended
                                                                     -> rest of the log -> delivered

The seller's record says where an earlier life of this node had come to; every step may be
done again. What the job is worth to its buyer is the seller's affair, not the runner's.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import trio
from msgspec.structs import replace

from p2p.host.rpc.service import Rpc
from storage.facade import Objects
from swarmnode.contained import contained
from swarmnode.errors import (
    EnvironmentUnknownError,
    ExecutorUnavailableError,
    GpuUnknownError,
    JobUnknownError,
    LimitNotEnforceableError,
)
from swarmnode.executor.port import Executor, JobExit, JobId, JobSpec, Limit
from swarmnode.limits import JOB_PIDS_MAX, NODE_DEATHS_HERE_MAX, REASON_CHARS_MAX
from swarmnode.market.run import events as run_events
from swarmnode.market.run.events import UNWANTED, RunEvent
from swarmnode.market.run.logs import STREAMS, LogPusher
from swarmnode.market.run.net import JobNet
from swarmnode.market.run.outputs import Collected, collect
from swarmnode.market.run.staging import JobOverError, over, stage
from swarmnode.tasks.checkpoint import CheckpointRecord, WatchSpec
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.records import FAULT, FAULT_WORDS, JobRecord, Outcome, Usage
from swarmnode.tasks.spec import Repeatability

FLUSH_S: Final = 60.0
"""The last checkpoint of an ended job has this long to reach the pool."""
EVERY_MS_DEFAULT: Final = 500
"""`ctx.checkpoint` keeps at most two steps a second, the newest: a loss costs half a second."""
KEEP_DEFAULT: Final = 2


class JobMemory(Protocol):
    """What a job needs of MemoryService."""

    async def restore(self, job: JobId, checkpoint: CheckpointRecord) -> None: ...

    async def watch(
        self,
        job: JobId,
        spec: WatchSpec,
        on_checkpoint: Callable[[CheckpointRecord], Awaitable[None]],
        on_trouble: Callable[[str], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None: ...

    async def flush(self, job: JobId, *, is_orderly: bool) -> str: ...


class JobRunner:
    """One attempt on this machine; `tell` hands the seller an event and waits for its work."""

    def __init__(
        self,
        record: JobRecord,
        rpc: Rpc,
        executor: Executor,
        objects: Objects,
        memory: JobMemory,
        tell: Callable[[RunEvent], Awaitable[None]],
    ) -> None:
        self.record = record
        """As at the start; `turn_to` brings who acts for the task now."""
        self.has_no_process = trio.Event()
        """Nothing of the job runs any more, and nothing will."""
        self.has_ended = trio.Event()
        """`run` has returned."""
        self._job = JobId(record.job)
        self._is_once = record.spec.effects is Repeatability.ONCE
        self._executor = executor
        self._objects = objects
        self._memory = memory
        self._net = JobNet(record.spec.shape.net)
        self._tell = tell
        self._stop_reason = record.stop_reason
        """Why it is to end; empty while it is wanted. Set by `stop`, or by many node deaths."""
        self._scope = trio.CancelScope()
        """Cancelled when nobody wants to know more, or a fault came up."""
        self._staging = trio.CancelScope()
        """Cancelled by `stop`: what is fetched before the start is of no use then."""
        self._leased = trio.Event()
        """Set by the first `renew`: nothing is started before."""
        self._nursery: trio.Nursery | None = None
        """Of pushers and stops; None before `run`."""
        self._is_started = False
        """The executor has it: from then on `stop` goes to its process."""
        self._has_faulted = False
        """A lease could not be told to the executor: `run` gives the job up."""
        self._grace_s = 0.0
        """Of the newest `stop`: for a process that comes up after it."""
        self._pushers = tuple(LogPusher(rpc, executor, record, stream) for stream in STREAMS)

    async def run(self) -> None:
        """Bring the job to its end and its log to the buyer; ends early by `cancel`.

        What nobody foresaw ends this job and no other: its task goes elsewhere.
        """
        try:
            with contained(f"job {self._job}") as bound:
                await self._run()
            if bound.has_faulted or self._has_faulted:
                await self._give_up()
        finally:
            self.has_ended.set()

    async def _give_up(self) -> None:
        """No process stays, at the latest when its lease ends; the buyer hears why."""
        with contained(f"the stop of job {self._job}"), suppress(JobUnknownError):
            await self._executor.stop(self._job, 0.0)
        self.has_no_process.set()
        outcome = Outcome("stopped", -1, FAULT, FAULT_WORDS)
        await self._tell(run_events.Ended(self.record.task, self.record.fence, outcome))
        await self._tell(self._delivered())

    async def _run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if self.record.state is JobState.REPORTING:
                    self.has_no_process.set()
                    self._push_rest(nursery)
                else:
                    outcome = await self._outcome(nursery)
                    await self._tell(run_events.Ended(self.record.task, self.record.fence, outcome))
            await self._tell(self._delivered())

    def renew(self, left_s: float, notice_s: float) -> None:
        """The attempt is wanted for so long from now; only then it is started."""
        with contained(f"job {self._job}") as bound:
            self._executor.renew(self._job, left_s, notice_s)
        if bound.has_faulted:
            self._has_faulted = True
            self._scope.cancel()
        self._leased.set()

    def turn_to(self, record: JobRecord) -> None:
        """Another machine acts for the task now: the log is its."""
        self.record = record
        for pusher in self._pushers:
            pusher.turn_to(record)

    def stop(self, grace_s: float, reason: str) -> None:
        """End the job's processes: SIGTERM now, the end after the grace. May be said again."""
        self._stop_reason, self._grace_s = reason, grace_s
        self._staging.cancel()
        nursery = self._nursery
        if self._is_started and nursery is not None and not nursery.cancel_scope.cancel_called:
            nursery.start_soon(self._executor.stop, self._job, grace_s)

    def cancel(self) -> None:
        """Nobody wants to know how it goes on; only for a job without processes."""
        self._scope.cancel()

    def _delivered(self) -> run_events.LogsDelivered:
        """To one that has both streams; to the one before where one was over before the other."""
        readers = (one.reader for one in self._pushers if one.reader)  # none: it never started
        buyer = next((one for one in readers if one != self.record.buyer), self.record.buyer)
        return run_events.LogsDelivered(self.record.task, self.record.fence, buyer)

    def _push_rest(self, nursery: trio.Nursery) -> None:
        """What was not delivered before the restart, of a job that ever started."""
        if any(view.job == self._job for view in self._executor.jobs()):
            for pusher in self._pushers:
                pusher.end()
                nursery.start_soon(pusher.run)

    async def _outcome(self, nursery: trio.Nursery) -> Outcome:
        try:
            await self._start()
            for pusher in self._pushers:
                nursery.start_soon(pusher.run)
            return await self._attend()
        except JobOverError as ended:
            return ended.outcome
        finally:
            self.has_no_process.set()
            for pusher in self._pushers:
                pusher.end()

    async def _start(self) -> None:
        """Have the process running. Raises JobOverError when there will be none."""
        here = [view for view in self._executor.jobs() if view.job == self._job]
        is_here = bool(here)
        if here and here[0].node_deaths >= NODE_DEATHS_HERE_MAX and not self._is_once:
            self._stop_reason = "node-died"
        if not is_here:
            is_staged = self.record.state is not JobState.LEASED
            with self._staging:
                await self._leased.wait()  # a restart may have come after the lease's end
                if not is_staged:
                    await stage(self._executor, self._objects, self._memory, self._net, self.record)
            if not self._stop_reason and not is_staged:
                await self._tell(run_events.Staged(self.record.task, self.record.fence))
            if not self._stop_reason and not self._executor.is_prepared(self._job):
                raise over("stopped", "lost", "its folder was removed from this machine")
        if self._stop_reason and not is_here:
            raise over("stopped", self._stop_reason, "stopped before it started")
        try:
            await self._executor.start(job_spec(self.record))
        except EnvironmentUnknownError as exc:
            raise over("unfit", "environment", str(exc)) from exc
        except LimitNotEnforceableError as exc:
            raise over("unfit", "limit", str(exc)) from exc
        except (ExecutorUnavailableError, GpuUnknownError) as exc:
            raise over("unfit", "machine", str(exc)) from exc
        self._is_started = True
        if self._stop_reason and self._nursery is not None:
            self._nursery.start_soon(self._executor.stop, self._job, self._grace_s)

    async def _attend(self) -> Outcome:
        """From the start of the process to the outcome. Raises JobOverError."""
        async with trio.open_nursery() as watchers:
            await watchers.start(
                self._memory.watch,
                self._job,
                watch_spec(self.record),
                self._on_checkpoint,
                self._on_trouble,
            )
            ended = await self._executor.wait(self._job)
            await self._tell(run_events.ProcessGone(self.record.task, self.record.fence))
            self.has_no_process.set()
            for pusher in self._pushers:
                pusher.end()
            stopped = self._stop_reason
            if stopped not in UNWANTED and (stopped or not _is_success(ended)):
                await self._flush(is_orderly=_is_success(ended))
            watchers.cancel_scope.cancel()
        outcome = outcome_of(self.record, ended, stopped)
        if outcome.status in ("done", "failed") or stopped == "cancelled":
            outcome = with_outputs(
                outcome, await collect(self._executor, self._objects, self._net, self.record)
            )
        return replace(outcome, usage=self._net.added_to(outcome.usage))

    async def _flush(self, *, is_orderly: bool) -> None:
        """Keep the last checkpoint; what cannot be kept is told."""
        why = f"the pool did not take it within {FLUSH_S:.0f} s"
        with trio.move_on_after(FLUSH_S):
            why = await self._memory.flush(self._job, is_orderly=is_orderly)
        if why:
            await self._on_trouble(f"the last one: {why}")

    async def _on_trouble(self, why: str) -> None:
        note = f"checkpoint not kept: {why}"[:REASON_CHARS_MAX] if why else ""
        await self._tell(run_events.CheckpointTrouble(self.record.task, self.record.fence, note))

    async def _on_checkpoint(self, checkpoint: CheckpointRecord) -> None:
        await self._tell(
            run_events.CheckpointStored(self.record.task, self.record.fence, checkpoint)
        )


def job_spec(record: JobRecord) -> JobSpec:
    """What the executor needs; the same whenever it is made from the same record."""
    spec, grant = record.spec, record.grant
    return JobSpec(
        job=JobId(record.job),
        argv=spec.run,
        env=dict(spec.variables),
        cpu_millis=grant.cpu_millis,
        memory_bytes=grant.memory_bytes,
        pids_max=JOB_PIDS_MAX,
        disk_bytes=grant.disk_bytes,
        wall_s=spec.timeout_ms / 1000,
        environment=spec.env or None,
        gpus=grant.gpus,
        must_enforce=frozenset(Limit(name) for name in spec.enforce),
    )


def watch_spec(record: JobRecord) -> WatchSpec:
    """What is known of the job's checkpoints until now."""
    folder, every_ms, keep = "", EVERY_MS_DEFAULT, KEEP_DEFAULT
    if record.spec.checkpoint is not None:
        wanted = record.spec.checkpoint
        folder, every_ms, keep = wanted.folder, wanted.every_ms, wanted.keep
    last = record.checkpoint or record.restore
    return WatchSpec(
        task=record.task,
        fence=record.fence,
        buyer=record.buyer,
        folder=folder,
        every_ms=every_ms,
        keep=keep,
        last_step=last.step if last else 0,
        names_grant=record.names_grant,
        state_key=record.state_key,
        right=record.right,
        last=last,
        is_restored=record.checkpoint is None and last is not None and bool(last.files),
    )


def outcome_of(record: JobRecord, ended: JobExit, stop_reason: str) -> Outcome:
    """How an attempt ended whose process has ended; outputs are still to be added."""
    usage = Usage(int(ended.wall_s * 1000), int(ended.cpu_s * 1000), ended.memory_peak_bytes)
    missing = tuple(limit.value for limit in Limit if limit not in ended.enforced)
    if stop_reason:
        status, reason, detail = "stopped", stop_reason, "stopped by its provider"
    elif ended.reason == "lease":
        status, reason, detail = "stopped", "lease", "nobody renewed its lease"
    elif ended.reason == FAULT:
        status, reason, detail = "stopped", FAULT, FAULT_WORDS
    elif ended.reason in ("lost", "killed"):
        status, reason, detail = "stopped", ended.reason, "its machine went down or ended it"
    elif _is_success(ended):
        status, reason, detail = "done", "exit", ""
    else:
        status, reason, detail = "failed", ended.reason, _words(record, ended)
    return Outcome(status, ended.code, reason, detail, (), usage, missing)


def with_outputs(outcome: Outcome, collected: Collected) -> Outcome:
    """What is there is kept however the job ended; what is missing fails a success only."""
    if outcome.status == "done" and collected.fault:
        fault = collected.fault
        return replace(
            outcome, status="failed", reason="outputs", detail=fault, outputs=collected.files
        )
    detail = outcome.detail or collected.note
    return replace(outcome, outputs=collected.files, detail=detail)


def _is_success(ended: JobExit) -> bool:
    return ended.reason == "exit" and ended.code == 0


def _words(record: JobRecord, ended: JobExit) -> str:
    shape = record.spec.shape
    words = {
        "oom": f"it needed more than its {shape.memory_bytes // 1024**2} MiB of memory",
        "disk": f"it wrote more than its {shape.disk_bytes // 1024**2} MiB of disk",
        "log": "it wrote more to stdout or stderr than a machine keeps (256 MiB); not its disk",
        "files": "it made more files, or nested them deeper, than a machine looks at; not its disk",
        "wall": f"it ran longer than its timeout of {record.spec.timeout_ms / 1000:g} s",
        "signal": f"it was ended by signal {ended.code - 128}",
    }
    return words.get(ended.reason, f"exit code {ended.code}")
