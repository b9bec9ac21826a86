"""The process of a job at the executor, from before there is one until none is left.

Nothing is started before a lease was told. A stop may come at any time: before the start there will
be no process, after it the executor ends what runs.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from msgspec.structs import replace

from swarmnode.contained import contained
from swarmnode.errors import (
    EnvironmentUnknownError,
    ExecutorUnavailableError,
    GpuUnknownError,
    JobUnknownError,
    LimitNotEnforceableError,
    NetUnavailableError,
    OutputUnsafeError,
)
from swarmnode.executor.port import (
    DataMount,
    Executor,
    JobId,
    JobSecrets,
    JobSpec,
    JobView,
    Limit,
)
from swarmnode.limits import JOB_PIDS_MAX, NODE_DEATHS_HERE_MAX
from swarmnode.market.run.staging import over
from swarmnode.tasks.records import JobRecord
from swarmnode.tasks.spec import Repeatability


class JobProcess:
    """Of one attempt: leased, started, stopped."""

    def __init__(self, executor: Executor, record: JobRecord, on_fault: Callable[[], None]) -> None:
        """`on_fault` is called when `has_faulted` is set."""
        self._executor, self._job, self._on_fault = executor, JobId(record.job), on_fault
        self.has_faulted = False
        """A lease could not be told to the executor: the job is to be given up."""
        self._is_once = record.spec.effects is Repeatability.ONCE
        self._gone = trio.Event()
        """Set by `note_gone`: nothing of the job runs any more."""
        self.stop_reason = record.stop_reason
        """Why it is to end; empty while it is wanted. Set by `stop`, or by many node deaths."""
        self._grace_s = 0.0
        """Of the newest `stop`: for a process that comes up after it."""
        self._staging = trio.CancelScope()
        """Cancelled by `stop`: what is fetched before the start is of no use then."""
        self._leased = trio.Event()
        """Set by the first `renew`: nothing is started before."""
        self._nursery: trio.Nursery | None = None
        """Of stops; None before `start`."""
        self._is_started = False
        """The executor has it: from then on `stop` goes to its process."""

    def renew(self, left_s: float, notice_s: float) -> None:
        """The attempt is wanted for so long from now; only then it is started."""
        with contained(f"job {self._job}") as bound:
            self._executor.renew(self._job, left_s, notice_s)
        if bound.has_faulted:
            self.has_faulted = True
            self._on_fault()
        self._leased.set()

    def stop(self, grace_s: float, reason: str) -> None:
        """End its processes: SIGTERM now, the end after the grace. May be said again."""
        self.stop_reason, self._grace_s = reason, grace_s
        self._staging.cancel()
        nursery = self._nursery
        if self._is_started and nursery is not None and not nursery.cancel_scope.cancel_called:
            nursery.start_soon(self._executor.stop, self._job, grace_s)

    async def give_up(self) -> None:
        """No process stays, at the latest when its lease ends."""
        with contained(f"the stop of job {self._job}"), suppress(JobUnknownError):
            await self._executor.stop(self._job, 0.0)
        self.note_gone()

    def note_gone(self) -> None:
        """Nothing of the job runs any more, and nothing will: whoever waits for that goes on."""
        self._gone.set()

    async def wait_gone(self) -> None:
        """Return once nothing of the job runs any more, and nothing will."""
        await self._gone.wait()

    def is_known(self) -> bool:
        """Whether the executor ever had it."""
        return self.view() is not None

    def view(self) -> JobView | None:
        """As the executor knows it; None where it never had it."""
        return next((view for view in self._executor.jobs() if view.job == self._job), None)

    async def make_ready(self, bring: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then bring what it needs; `stop` ends both early."""
        with self._staging:
            await self._leased.wait()  # a restart may have come after the lease's end
            await bring()

    async def start(
        self,
        record: JobRecord,
        nursery: trio.Nursery,
        secrets: JobSecrets | None = None,
        data: tuple[DataMount, ...] = (),
    ) -> None:
        """Have it running; its stops are of the nursery. Raises JobOverError where none will be."""
        self._nursery = nursery
        here = self.view()
        if here is None:
            self._check_start()
        elif here.node_deaths >= NODE_DEATHS_HERE_MAX and not self._is_once:
            self.stop_reason = "node-died"
        await self._start(replace(job_spec(record), data=data), secrets)
        self._is_started = True
        if self.stop_reason:
            nursery.start_soon(self._executor.stop, self._job, self._grace_s)

    def _check_start(self) -> None:
        if self.stop_reason:
            raise over("stopped", self.stop_reason, "stopped before it started")
        if not self._executor.is_prepared(self._job):
            raise over("stopped", "lost", "its folder was removed from this machine")

    async def _start(self, spec: JobSpec, secrets: JobSecrets | None) -> None:
        try:
            await self._executor.start(spec, secrets)
        except EnvironmentUnknownError as exc:
            raise over("unfit", "environment", str(exc)) from exc
        except LimitNotEnforceableError as exc:
            raise over("unfit", "limit", str(exc)) from exc
        except NetUnavailableError as exc:
            raise over("unfit", "network", str(exc)) from exc
        except OutputUnsafeError as exc:
            raise over("failed", "data", str(exc)) from exc
        except (ExecutorUnavailableError, GpuUnknownError) as exc:
            raise over("unfit", "machine", str(exc)) from exc


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
        net=spec.net,
        net_up_bytes_per_s=spec.shape.net.up_bytes_per_s,
        net_down_bytes_per_s=spec.shape.net.down_bytes_per_s,
    )
