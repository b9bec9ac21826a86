"""Runs one job from its award to the last byte of its log.

    stage -> start -> watch, push logs -> wait -> keep the last checkpoint | store outputs -> Ended
                                                                     -> rest of the log -> delivered

The seller's record says where an earlier life of this node had come to; every step may be
done again. What the job is worth to its buyer is the seller's affair, not the runner's.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

import trio
from msgspec.structs import replace

from p2p.host.rpc.service import Rpc
from storage.facade import Objects
from swarmnode.contained import contained
from swarmnode.executor.port import Executor, JobId
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.run import events as run_events
from swarmnode.market.run.builds import Certify
from swarmnode.market.run.ending import is_success, outcome_of, with_outputs
from swarmnode.market.run.events import UNWANTED, RunEvent
from swarmnode.market.run.logs import JobLog, log_bytes
from swarmnode.market.run.net import JobNet
from swarmnode.market.run.outputs import collect
from swarmnode.market.run.preparation import Preparation
from swarmnode.market.run.process import JobProcess
from swarmnode.market.run.staging import JobData, JobOverError
from swarmnode.tasks.checkpoint import CheckpointRecord, WatchSpec
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.records import FAULT, FAULT_WORDS, JobRecord, Outcome
from swarmnode.tasks.spec import CheckpointSpec

FLUSH_S: Final = 60.0
"""The last checkpoint of an ended job has this long to reach the pool."""
_BY_HAND: Final = CheckpointSpec("", every_ms=500, keep=2)
"""`ctx.checkpoint` keeps at most two steps a second, the newest: a loss costs half a second."""


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
        data: JobData,
        tell: Callable[[RunEvent], Awaitable[None]],
        certify: Certify | None = None,
    ) -> None:
        self.record = record
        """As at the start; `turn_to` brings who acts for the task now."""
        self._scope = trio.CancelScope()
        """Cancelled when nobody wants to know more, or a fault came up."""
        self.process = JobProcess(executor, record, self._scope.cancel)
        self.has_ended = trio.Event()
        """`run` has returned."""
        self._job = JobId(record.job)
        self._executor, self._objects, self._memory = executor, objects, memory
        self._net, self._tell, self._certify = JobNet(record.spec.shape.net), tell, certify
        self._log = JobLog(rpc, executor, record)
        self._before = Preparation(rpc, executor, data, memory, self._net, lambda: self.record)

    async def run(self) -> None:
        """Bring the job to its end and its log to the buyer; ends early by `cancel`.

        What nobody foresaw ends this job and no other: its task goes elsewhere.
        """
        try:
            with contained(f"job {self._job}") as bound:
                await self._run()
            if bound.has_faulted or self.process.has_faulted:
                await self._give_up()
        finally:
            self.has_ended.set()

    async def _give_up(self) -> None:
        """The buyer hears why."""
        await self.process.give_up()
        outcome = Outcome("stopped", -1, FAULT, FAULT_WORDS)
        await self._tell(run_events.Ended(self.record.task, self.record.fence, outcome))
        await self._tell(self._delivered())

    async def _run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                if self.record.state is JobState.REPORTING:
                    self.process.note_gone()
                    self._push_rest(nursery)
                else:
                    outcome = await self._outcome(nursery)
                    await self._tell(run_events.Ended(self.record.task, self.record.fence, outcome))
            await self._tell(self._delivered())

    def turn_to(self, record: JobRecord) -> None:
        """Another machine acts for the task now: the log is its."""
        self.record = record
        self._log.turn_to(record)

    def cancel(self) -> None:
        """Nobody wants to know how it goes on; only for a job without processes."""
        self._scope.cancel()

    def _delivered(self) -> run_events.LogsDelivered:
        record = self.record
        return run_events.LogsDelivered(record.task, record.fence, self._log.reader(record.buyer))

    def _push_rest(self, nursery: trio.Nursery) -> None:
        """What was not delivered before the restart, of a job that ever started."""
        if self.process.is_known():
            self._log.end()
            self._log.push(nursery)

    async def _outcome(self, nursery: trio.Nursery) -> Outcome:
        try:
            await self._start(nursery)
            self._log.push(nursery)
            return await self._attend()
        except JobOverError as ended:
            return ended.outcome
        finally:
            self._has_no_process()

    def _has_no_process(self) -> None:
        self.process.note_gone()
        self._log.end()

    async def _start(self, nursery: trio.Nursery) -> None:
        """Have the process running. Raises JobOverError when there will be none."""
        if not self.process.is_known():
            is_staged = self.record.state is not JobState.LEASED
            await self.process.make_ready(partial(self._before.bring, is_staged=is_staged))
            if not self.process.stop_reason and not is_staged:
                await self._tell(run_events.Staged(self.record.task, self.record.fence))
        await self.process.start(self.record, nursery, *self._before.take())

    async def _attend(self) -> Outcome:
        """From the start of the process to the outcome. Raises JobOverError."""
        spec = watch_spec(self.record)
        async with trio.open_nursery() as watchers:
            await watchers.start(
                self._memory.watch, self._job, spec, self._on_checkpoint, self._on_trouble
            )
            ended = await self._executor.wait(self._job)
            await self._tell(run_events.ProcessGone(self.record.task, self.record.fence))
            self._has_no_process()
            stopped = self.process.stop_reason
            if stopped not in UNWANTED and (stopped or not is_success(ended)):
                await self._flush(is_orderly=is_success(ended))
            watchers.cancel_scope.cancel()
        outcome = outcome_of(self.record, ended, stopped, log_bytes(self._executor, self._job))
        return await self._with_outputs(outcome, stopped)

    async def _with_outputs(self, outcome: Outcome, stopped: str) -> Outcome:
        if outcome.status in ("done", "failed") or stopped == "cancelled":
            given = (self._executor, self._objects, self._net, self.record)
            collected = await collect(*given, self._certify)
            outcome = with_outputs(outcome, collected)
        return replace(outcome, usage=self._net.added_to(outcome.usage, self.process.view()))

    async def _flush(self, *, is_orderly: bool) -> None:
        """Keep the last checkpoint; what cannot be kept is told."""
        why = f"the pool did not take it within {FLUSH_S:.0f} s"
        with trio.move_on_after(FLUSH_S):
            why = await self._memory.flush(self._job, is_orderly=is_orderly)
        if why:
            await self._on_trouble(f"not kept: the last one: {why}")

    async def _on_trouble(self, why: str) -> None:
        note = f"checkpoint {why}"[:REASON_CHARS_MAX] if why else ""
        await self._tell(run_events.CheckpointTrouble(self.record.task, self.record.fence, note))

    async def _on_checkpoint(self, checkpoint: CheckpointRecord) -> None:
        await self._tell(
            run_events.CheckpointStored(self.record.task, self.record.fence, checkpoint)
        )


def watch_spec(record: JobRecord) -> WatchSpec:
    """What is known of the job's checkpoints until now."""
    wanted = record.spec.checkpoint or _BY_HAND
    last = record.checkpoint or record.restore
    return WatchSpec(
        task=record.task,
        fence=record.fence,
        buyer=record.buyer,
        folder=wanted.folder,
        every_ms=wanted.every_ms,
        keep=wanted.keep,
        last_step=last.step if last else 0,
        names_grant=record.names_grant,
        state_key=record.state_key,
        right=record.right,
        last=last,
        is_restored=record.checkpoint is None and last is not None and bool(last.files),
    )
