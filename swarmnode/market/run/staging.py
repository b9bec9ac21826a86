"""What a job needs before its start: inputs and checkpoint in its work folder."""

from collections.abc import Awaitable, Callable
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
from storage.facade import Objects, ReadCap
from storage.manifests.capability import parse_cap
from swarmnode.errors import EnvironmentDamagedError, ExecutorUnavailableError, OutputUnsafeError
from swarmnode.executor.port import Executor, JobId
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.run.net import JobNet
from swarmnode.packs.reading import read
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
        if (built := record.spec.built) is not None:
            bring = partial(_bring, executor, objects, net, built)
            await _fetch("environment", "the environment", bring)
        for name, text in record.spec.inputs:
            put = partial(_put_input, executor, objects, net, job, name, parse_cap(text))
            await _fetch("inputs", f"input {name}", put)
        if record.restore is not None:
            restore = partial(memory.restore, job, record.restore)
            await _fetch(UNREADABLE, f"step {record.restore.step}", restore)
    except EnvironmentDamagedError as exc:
        raise over("failed", "environment", str(exc)) from exc
    except (CapabilityError, OutputUnsafeError) as exc:
        raise over("failed", "inputs", str(exc)) from exc
    except ExecutorUnavailableError as exc:
        raise over("unfit", "machine", str(exc)) from exc


async def _bring(
    executor: Executor, objects: Objects, net: JobNet, built: BuiltEnvironment
) -> None:
    chunks = net.down(objects.get(parse_cap(built.cap)))
    await executor.bringing.bring(built.name, built.digest, chunks)


async def _put_input(
    executor: Executor, objects: Objects, net: JobNet, job: JobId, name: str, cap: ReadCap
) -> None:
    is_tree, chunks = await told_apart(net.down(read(objects, cap)))
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
