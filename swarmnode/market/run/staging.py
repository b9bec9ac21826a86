"""What a job needs before its start: inputs and checkpoint in its work folder."""

import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol

import trio

from storage.errors import (
    CapabilityError,
    ManifestError,
    ObjectDegradedError,
    ObjectUnknownError,
    TooFewPeersError,
)
from storage.facade import ReadCap
from storage.manifests.capability import parse_cap
from swarmnode.errors import (
    DataFailedError,
    EnvironmentDamagedError,
    ExecutorUnavailableError,
    FolderNewerError,
    OutputUnsafeError,
)
from swarmnode.executor.port import DataMount, DataWay, Executor, JobId
from swarmnode.executor.sandbox.command import WORK
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.run.net import JobNet
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.environments.records import BuiltEnvironment
from swarmnode.tasks.records import UNREADABLE, JobRecord, Outcome
from swarmnode.tree.names import parts_in
from swarmnode.tree.stream import told_apart

FETCH_TRIES: Final = 3
FETCH_AGAIN_S: Final = 2.0
"""A holder that restarts is back within a few seconds; after that another machine should try."""


class Restorer(Protocol):
    """The part of MemoryService that is needed before the start."""

    async def restore(self, job: JobId, checkpoint: CheckpointRecord) -> None: ...


class JobData(Protocol):
    """The part of DatasetService that jobs need."""

    def stream(self, cap: ReadCap) -> AsyncIterator[bytes]: ...

    async def let_go(self, cap: ReadCap) -> None: ...

    async def mounts(
        self, job: JobId, wants: Sequence[tuple[str, str]]
    ) -> tuple[DataMount, ...]: ...


class JobOverError(Exception):
    """The attempt ends here, without or despite its process: carries how."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


def over(status: str, reason: str, detail: str) -> JobOverError:
    """For an attempt whose process did not decide how it ended."""
    return JobOverError(Outcome(status, -1, reason, detail[:REASON_CHARS_MAX]))


async def stage(
    executor: Executor, data: JobData, memory: Restorer, net: JobNet, record: JobRecord
) -> None:
    """Make the work folder as the task expects it; may be done again. Raises JobOverError."""
    job = JobId(record.job)
    try:
        await executor.prepare(job)
        if (built := record.spec.built) is not None:
            bring = partial(_bring, executor, data, net, built, job)
            await _fetch("environment", "the environment", bring)
        for name, text in (*record.spec.inputs, *_inside(executor, record)):
            put = partial(_put_input, executor, data, net, job, name, parse_cap(text))
            await _fetch("inputs", f"input {name}", put)
        if record.restore is not None:
            restore = partial(memory.restore, job, record.restore)
            await _fetch(UNREADABLE, f"step {record.restore.step}", restore)
    except EnvironmentDamagedError as exc:
        raise over("failed", "environment", str(exc)) from exc
    except FolderNewerError as exc:  # a machine of a newer version can
        raise over("unfit", "inputs", f"an input cannot be read here: {exc}") from exc
    except (CapabilityError, OutputUnsafeError) as exc:
        raise over("failed", "inputs", str(exc)) from exc
    except ExecutorUnavailableError as exc:
        raise over("unfit", "machine", str(exc)) from exc


async def _bring(
    executor: Executor, data: JobData, net: JobNet, built: BuiltEnvironment, job: JobId
) -> None:
    cap = parse_cap(built.cap)
    await executor.bringing.bring(built.name, built.digest, net.down(data.stream(cap)), job)
    await data.let_go(cap)  # what had come before a failure was of use until now


def _inside(executor: Executor, record: JobRecord) -> Sequence[tuple[str, str]]:
    """Datasets that this machine cannot show but in the work folder. Raises JobOverError."""
    way, why = executor.data_way()
    if way is not DataWay.INSIDE:
        return ()
    for target, _ in record.spec.data:
        if target.startswith("/"):
            raise over("unfit", "data", f"data at {target}: {why}")
    return record.spec.data


async def shown_data(executor: Executor, data: JobData, record: JobRecord) -> tuple[DataMount, ...]:
    """The datasets as the executor is to show them. Raises JobOverError."""
    if not record.spec.data or executor.data_way()[0] is DataWay.INSIDE:
        return ()
    wants = [(posixpath.join(WORK, target), cap) for target, cap in record.spec.data]
    try:
        return await data.mounts(JobId(record.job), wants)
    except (DataFailedError, CapabilityError) as exc:
        raise over("unfit", "data", str(exc)) from exc


async def _put_input(
    executor: Executor, data: JobData, net: JobNet, job: JobId, name: str, cap: ReadCap
) -> None:
    is_tree, chunks = await told_apart(net.down(data.stream(cap)))
    if is_tree:
        await executor.unpack(job, parts_in(name), chunks)
    else:
        await executor.put_file(job, name, chunks)


async def _fetch(reason: str, what: str, get: Callable[[], Awaitable[None]]) -> None:
    """Try a few times. Raises JobOverError when the pool does not give it."""
    for tries_left in range(FETCH_TRIES - 1, -1, -1):
        try:
            await get()
        except (ObjectUnknownError, ObjectDegradedError, ManifestError, TooFewPeersError) as exc:
            if not tries_left:
                raise over("unfit", reason, f"{what}: {exc}") from exc
            await trio.sleep(FETCH_AGAIN_S)
        else:
            return
