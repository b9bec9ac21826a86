"""A job's files: inputs and checkpoint in before the start, outputs out after the end."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

import trio

from p2p.wire.codec import encode
from storage.caps import parse_cap, text_of_cap
from storage.errors import (
    CapabilityError,
    ManifestError,
    ObjectDegradedError,
    ObjectUnknownError,
    StoreFullError,
    TooFewPeersError,
)
from storage.facade import Objects, ReadCap
from swarmnode.errors import ExecutorUnavailableError, OutputUnsafeError
from swarmnode.executor.port import Executor, JobId
from swarmnode.limits import MANIFEST_BYTES_MAX, OUTPUTS_MAX, REASON_CHARS_MAX
from swarmnode.market.job_net import JobNet
from swarmnode.tasks.checkpoint import Checkpoint, StoredFile
from swarmnode.tasks.records import JobRecord, Outcome

FETCH_TRIES: Final = 3
FETCH_AGAIN_S: Final = 2.0
"""A holder that restarts is back within a few seconds; after that another machine should try."""
STORE_PATIENCE_S: Final = 120.0
"""Outputs wait this long for a pool that cannot take them; then the work is given back."""
STORE_AGAIN_S: Final = 3.0


class Restorer(Protocol):
    """The part of MemoryService that is needed before the start."""

    async def restore(self, job: JobId, checkpoint: Checkpoint) -> None: ...


class JobOverError(Exception):
    """The attempt ends here, without or despite its process: carries how."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


def over(status: str, reason: str, detail: str) -> JobOverError:
    """For an attempt whose process did not decide how it ended."""
    return JobOverError(Outcome(status, -1, reason, detail[:REASON_CHARS_MAX]))


async def stage(
    executor: Executor, objects: Objects, memory: Restorer, net: JobNet, record: JobRecord
) -> None:
    """Make the work folder as the task expects it; may be done again. Raises JobOverError."""
    job = JobId(record.job)
    try:
        await executor.prepare(job)
        for name, text in record.spec.inputs:
            put = partial(_put_input, executor, objects, net, job, name, parse_cap(text))
            await _fetch(f"input {name}", put)
        if record.restore is not None:
            restore = partial(memory.restore, job, record.restore)
            await _fetch(f"checkpoint of step {record.restore.step}", restore)
    except CapabilityError as exc:
        raise over("failed", "inputs", str(exc)) from exc
    except OutputUnsafeError as exc:
        raise over("failed", "inputs", str(exc)) from exc
    except ExecutorUnavailableError as exc:
        raise over("unfit", "machine", str(exc)) from exc


async def _put_input(
    executor: Executor, objects: Objects, net: JobNet, job: JobId, name: str, cap: ReadCap
) -> None:
    await executor.put_file(job, name, net.down(objects.get(cap)))


async def _fetch(what: str, get: Callable[[], Awaitable[None]]) -> None:
    """Try a few times. Raises JobOverError when the pool does not give it."""
    for tries_left in range(FETCH_TRIES - 1, -1, -1):
        try:
            await get()
        except (ObjectUnknownError, ObjectDegradedError, ManifestError, TooFewPeersError) as exc:
            if not tries_left:
                raise over("unfit", "inputs", f"{what}: {exc}") from exc
            await trio.sleep(FETCH_AGAIN_S)
        else:
            return


async def collect(
    executor: Executor, objects: Objects, net: JobNet, record: JobRecord
) -> tuple[StoredFile, ...]:
    """Turn what the globs match into objects, by name. Raises JobOverError."""
    names: set[str] = set()
    job = JobId(record.job)
    try:
        for pattern in record.spec.outputs:
            files = await executor.list_files(job, pattern)
            if not files:
                raise over("failed", "outputs", f"no file matches {pattern!r}")
            names.update(file.name for file in files)
        if len(names) > OUTPUTS_MAX:
            words = f"{len(names)} files, limit {OUTPUTS_MAX}: pack them into fewer"
            raise over("failed", "outputs", words)
        stored = tuple([await _store(executor, objects, net, job, name) for name in sorted(names)])
    except OutputUnsafeError as exc:
        raise over("failed", "outputs", str(exc)) from exc
    if sum(len(encode(file)) for file in stored) > MANIFEST_BYTES_MAX:
        raise over("failed", "outputs", "their list is too long: pack them into fewer files")
    return stored


async def _store(
    executor: Executor, objects: Objects, net: JobNet, job: JobId, name: str
) -> StoredFile:
    """One output; what an earlier life of this node stored of an ended job is taken as it is."""
    label = f"output/{job}/{name}"
    for entry in objects.entries():
        if entry.name == label:
            return StoredFile(name, entry.size, text_of_cap(entry.cap))
    give_up_s = trio.current_time() + STORE_PATIENCE_S
    while True:
        try:
            receipt = await objects.put(net.up(executor.read_file(job, name)), name=label)
        except (TooFewPeersError, StoreFullError) as exc:
            if trio.current_time() >= give_up_s:
                raise over("stopped", "outputs", f"{name}: {exc}") from exc
            await trio.sleep(STORE_AGAIN_S)
        else:
            return StoredFile(name, receipt.size, text_of_cap(receipt.cap))
