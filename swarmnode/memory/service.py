"""Durable memory of the jobs that run here: checkpoints and `ctx.state`, whoever runs them next.

Answers the requests a task makes through its `ctx` (swarmnode/sdk/ctx.py has the other end).
A request and its answer are JSON objects: {"op": ...} and {"ok": true, ...}, or {"error": code,
"message": words} with the codes stale, unavailable and bad_request.
"""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from p2p.workers import Workers
from storage.errors import PUT_LATER, StoreFullError
from storage.facade import NameStore, ObjectKind, Objects
from storage.manifests.capability import parse_cap
from swarmnode.errors import (
    JobUnknownError,
    OutputUnsafeError,
    SupersededAttemptError,
    TreeChangedError,
)
from swarmnode.memory.folder import CheckpointFolder
from swarmnode.memory.keeper import CheckpointKeeper, KeeperConfig, KeeperEars
from swarmnode.memory.kept import forget_all_but, task_of
from swarmnode.memory.sealed import StateSeal
from swarmnode.memory.state import CtxState, StateConflictError, StateUnknownError
from swarmnode.memory.told import CheckpointRefusedError, told_of
from swarmnode.packs.reading import read
from swarmnode.tasks.checkpoint import CheckpointRecord, WatchSpec, resumed_files
from swarmnode.tasks.ids import TaskId
from swarmnode.tree.names import parts_in

if TYPE_CHECKING:
    from swarmnode.executor.port import Executor, JobId

WATCHED_WITHIN_S: Final = 30.0
"""A job that asks while its node starts is soon watched again; then it gets its answer."""

CHECKPOINT_KEPT_MS: Final = 30 * 86_400_000
"""As long as an attempt may take: whoever wants to go on from it has begun by then."""

_CONFIG: Final = KeeperConfig()


class MemoryService:
    """Checkpoints and state of this machine's jobs; needs no task of its own."""

    def __init__(
        self,
        executor: "Executor",
        objects: Objects,
        names: NameStore,
        *,
        workers: Workers,
        wall_ms: Callable[[], int],
        config: KeeperConfig = _CONFIG,
    ) -> None:
        """Becomes the one who answers the executor's jobs: build it before the executor runs."""
        self._executor = executor
        self._objects = objects
        self._names = names
        self._workers = workers
        self._wall_ms = wall_ms
        self._config = config
        self._keepers: dict[JobId, CheckpointKeeper] = {}
        """Jobs that are watched now; `watch` enters and removes them."""
        self._arrived = trio.Event()
        """Set, and replaced, when one more is watched."""
        executor.on_call(self.answer)

    async def restore(self, job: "JobId", checkpoint: CheckpointRecord) -> None:
        """Put a checkpoint's files into the work folder, before the start.

        Raises CapabilityError, ObjectUnknownError, ObjectDegradedError, OutputUnsafeError,
        ExecutorUnavailableError (no room).
        """
        for file in resumed_files(checkpoint):
            chunks = read(self._objects, parse_cap(file.cap))
            if file.tree:
                await self._executor.unpack(job, parts_in(file.name), chunks)
            else:
                await self._executor.put_file(job, file.name, chunks)

    async def watch(
        self,
        job: "JobId",
        spec: WatchSpec,
        on_checkpoint: Callable[[CheckpointRecord], Awaitable[None]],
        on_trouble: Callable[[str], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep the job's checkpoints and answer its requests until cancelled.

        `on_trouble` is told, behind "not kept: ", why the newest one is not, or what it is kept
        without, and "" once one is kept whole.
        """
        folder = CheckpointFolder(job, self._executor, self._workers, spec.folder)
        ears = KeeperEars(on_checkpoint, on_trouble)
        keeper = CheckpointKeeper(spec, folder, self._objects, ears, self._wall_ms, self._config)
        self._keepers[job] = keeper
        self._arrived.set()
        self._arrived = trio.Event()
        task_status.started()
        try:
            await keeper.run()
            await trio.sleep_forever()
        finally:
            del self._keepers[job]

    async def flush(self, job: "JobId", *, is_orderly: bool) -> str:
        """Keep the last checkpoint of a job that has ended; while it is still watched.

        `is_orderly`: it ended by itself, and was not killed while it may have been writing.
        Returns why it could not be kept, or an empty text.
        """
        keeper = self._keepers.get(job)
        if keeper is None:
            return ""
        try:
            await keeper.flush(is_orderly=is_orderly)
        except (CheckpointRefusedError, OutputUnsafeError) as exc:
            return str(exc)
        except (*PUT_LATER, JobUnknownError) as exc:
            return str(exc)
        return ""

    def acknowledge(self, job: "JobId", made_ms: int) -> None:
        """The submitter has written down the checkpoint made then: what it replaced may go."""
        keeper = self._keepers.get(job)
        if keeper is not None:
            keeper.acknowledge(made_ms)

    async def discard(self, task: TaskId) -> None:
        """The task is done: give up every checkpoint of it that this machine took."""
        await forget_all_but(self._objects, task, ())

    async def forget_stale(self, in_use: frozenset[TaskId]) -> None:
        """Give up what this machine keeps of tasks that left it a month ago and never told how
        they went on: they have newer checkpoints elsewhere, or are over.
        """
        before_ms = self._wall_ms() - CHECKPOINT_KEPT_MS
        for entry in (*self._objects.entries(), *self._objects.entrusted()):
            task = task_of(entry.name)
            if (
                entry.mark.kind == ObjectKind.NONE
                and task is not None
                and task not in in_use
                and entry.put_ms < before_ms
            ):
                with suppress(StoreFullError):
                    await self._objects.forget(entry.cap.address)

    async def answer(self, job: "JobId", request: bytes) -> bytes:
        """Answer one request of a task (swarmnode.executor.port.JobCall); whatever it sends."""
        try:
            asked = json.loads(request)
        except (ValueError, RecursionError):
            return _refusal("bad_request", "a request is JSON")
        if not isinstance(asked, dict):
            return _refusal("bad_request", "a request is a JSON object")
        keeper = await self._keeper_of(job)
        if keeper is None:
            return _refusal("unavailable", "the node does not watch this job")
        try:
            reply = await self._do(keeper, asked)
        except SupersededAttemptError as exc:
            return _refusal("stale", str(exc))
        except (TreeChangedError, JobUnknownError) as exc:
            return _refusal("unavailable", str(exc))
        except (CheckpointRefusedError, OutputUnsafeError, ValueError, RecursionError) as exc:
            return _refusal("bad_request", str(exc))
        except (*PUT_LATER, StateConflictError, StateUnknownError) as exc:
            return _refusal("unavailable", str(exc))
        return json.dumps({"ok": True, **reply}).encode()

    async def _keeper_of(self, job: "JobId") -> CheckpointKeeper | None:
        with trio.move_on_after(WATCHED_WITHIN_S):
            while job not in self._keepers:
                await self._arrived.wait()
        return self._keepers.get(job)

    async def _do(self, keeper: CheckpointKeeper, asked: dict[str, object]) -> dict[str, object]:
        key, value = asked.get("key"), asked.get("value")
        match asked.get("op"):
            case "checkpoint":
                await self._checkpoint(keeper, asked)
                return {}
            case "state_get":
                return {"value": await self._state(keeper).get(key)}
            case "state_put":
                await self._state(keeper).put(key, value)
                return {}
            case "state_cas":
                state = self._state(keeper)
                done = await state.compare_and_set(key, asked.get("expected"), value)
                return {"done": done}
            case other:
                raise ValueError(f"this node knows no request {str(other)[:32]!r}")

    def _state(self, keeper: CheckpointKeeper) -> CtxState:
        spec = keeper.spec
        if spec.names_grant is None:
            raise StateUnknownError(
                "this task was submitted by an older version, which could not let its provider "
                "write state: submit it again"
            )
        names = self._names.attempt(spec.names_grant)
        return CtxState(names, StateSeal(spec.state_key), spec.task, spec.fence)

    async def _checkpoint(self, keeper: CheckpointKeeper, asked: dict[str, object]) -> None:
        """A step told again is fine: the first answer may have been lost."""
        told = told_of(asked.get("step"), asked.get("name"))
        if told.step < keeper.stored_step:
            raise CheckpointRefusedError(
                f"step {told.step} comes after step {keeper.stored_step}: steps only grow"
            )
        if asked.get("wait"):
            await keeper.store(told)
        else:
            keeper.tell(told)


def _refusal(code: str, words: str) -> bytes:
    return json.dumps({"error": code, "message": words}).encode()
