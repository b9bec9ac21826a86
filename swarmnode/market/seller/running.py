"""The jobs of this machine while they run: each has a runner until it is cleared away."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from p2p.errors import RefusalError
from p2p.host.rpc.service import Rpc
from swarmnode.contained import contained
from swarmnode.errors import JobUnknownError
from swarmnode.executor.port import JobId
from swarmnode.market.run.events import RunEvent
from swarmnode.market.run.outputs import let_go, snapshot
from swarmnode.market.run.runner import JobRunner
from swarmnode.market.seller.events import Settle
from swarmnode.market.seller.premises import Premises
from swarmnode.tasks.choices import JobSignal
from swarmnode.tasks.messages import FilesTold
from swarmnode.tasks.records import FAULT, FAULT_WORDS, JobRecord


class RunningJobs:
    """Starts, steers and clears away what the core has decided to run."""

    def __init__(
        self, rpc: Rpc, premises: Premises, tell: Callable[[RunEvent], Awaitable[None]]
    ) -> None:
        """`tell` hands the core an event and returns once it is durable."""
        self._rpc, self._executor, self._objects = rpc, premises.executor, premises.objects
        self._memory, self._data, self._tell = premises.memory, premises.datasets, tell
        self._certify = premises.certify
        self._runners: dict[str, JobRunner] = {}
        """By job, from its start until it was cleared."""
        self._nursery: trio.Nursery | None = None
        """Of runners and clearings; None before `run`."""
        self._stores_files_of: set[str] = set()
        """Jobs whose files somebody has asked for just now: one at a time."""

    def __getitem__(self, job: str) -> JobRunner:
        """Of a job that was begun and not cleared."""
        return self._runners[job]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what is begun until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def begin(self, record: JobRecord) -> None:
        """From where an earlier life of this node had come to."""
        assert self._nursery is not None
        runner = self._runners[record.job] = JobRunner(
            record,
            self._rpc,
            self._executor,
            self._objects,
            self._memory,
            self._data,
            self._tell,
            self._certify,
        )
        self._nursery.start_soon(runner.run)

    def settle(self, settled: Settle) -> None:
        """Nobody wants more of it: what it has here goes."""
        assert self._nursery is not None
        self._runners[settled.record.job].cancel()
        self._nursery.start_soon(self._clear, settled)

    async def no_process_left(self) -> None:
        """Return once none of those that run now has a process."""
        for runner in list(self._runners.values()):
            await runner.process.wait_gone()

    async def files_of(self, record: JobRecord) -> FilesTold:
        """Store what there is of its outputs. Raises RefusalError."""
        if record.job in self._stores_files_of:
            raise RefusalError("busy", "its outputs are being stored just now: ask again")
        self._stores_files_of.add(record.job)
        try:
            with contained(f"the look at the files of job {record.job}"):
                collected = await snapshot(self._executor, self._objects, record)
                return FilesTold(collected.files, collected.fault)
        finally:
            self._stores_files_of.discard(record.job)
        raise RefusalError(FAULT, FAULT_WORDS)

    def signal(self, record: JobRecord, signal: JobSignal) -> bool:
        """Have its programs hear it; False when none lives any more."""
        try:
            return self._executor.signal(JobId(record.job), signal)
        except JobUnknownError:
            return False

    async def _clear(self, settled: Settle) -> None:
        record = settled.record
        await self._runners[record.job].has_ended.wait()
        del self._runners[record.job]
        with contained(f"the clearing of job {record.job}"), suppress(JobUnknownError):
            await self._executor.forget(JobId(record.job))  # else the next start sweeps it
        with contained(f"the letting go of what job {record.job} left"):
            await let_go(self._objects, record, is_wanted=settled.is_wanted)
            if settled.is_done:
                await self._memory.discard(record.task)
