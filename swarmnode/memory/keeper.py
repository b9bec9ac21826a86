"""Keeps the checkpoints of one running job: finds them, stores them, lets old ones go.

the folder is looked at, or ctx.checkpoint tells -> every file becomes a coded object
-> on_checkpoint (written down, told to the submitter) -> acknowledged -> older ones are given up
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from p2p.wire.codec import encode
from storage.caps import text_of_cap
from storage.errors import StoreFullError, TooFewPeersError
from storage.facade import Kind, ObjectEntry, Objects, trust_of
from storage.ids import Address
from swarmnode.errors import JobUnknownError, OutputUnsafeError
from swarmnode.limits import CHECKPOINT_BYTES_MAX, CHECKPOINT_FILES_MAX, CHECKPOINTS_KEPT_MIN
from swarmnode.memory.ctx import FOLDER
from swarmnode.memory.entries import MARKER, Entry, marked_step, newest_settled, numbered_entries
from swarmnode.tasks.checkpoint import Checkpoint, StoredFile, WatchSpec
from swarmnode.tasks.ids import TaskId, is_task_id

if TYPE_CHECKING:
    from swarmnode.executor.port import Executor, FileStat, JobId

RESTED_MS: Final = 2000
"""A file that nobody touched for so long before its process was killed was whole."""

MARKER_BYTES_MAX: Final = 4096
"""A step.json names a step; what is longer is something else."""


class CheckpointRefusedError(Exception):
    """What the task staged cannot be kept; it is the task's doing, the text says why."""


class CheckpointChangedError(Exception):
    """The files changed while they were read: the next look finds what they have become."""


@dataclass(frozen=True, slots=True)
class KeeperConfig:
    """Times in seconds."""

    look_s: float = 1.0
    """How often a watched folder is looked at; a second of work is what a loss may cost more."""
    look_min_s: float = 0.1
    again_s: float = 5.0
    """Pause after the pool could not take a checkpoint."""


def object_name(task: TaskId, step: int, file: str) -> str:
    """What a file of a checkpoint is called in the keyring of the machine that took it."""
    return f"checkpoint/{task}/{step}/{file}"


def task_of(name: str) -> TaskId | None:
    """Whose checkpoint an object of the keyring belongs to; None for any other object."""
    parts = name.split("/", 3)
    is_ours = len(parts) == 4 and parts[0] == "checkpoint" and is_task_id(parts[1])
    return TaskId(parts[1]) if is_ours else None


async def forget_steps(objects: Objects, task: TaskId, below_step: int, keep: int) -> None:
    """Give up what this machine stored of a task below a step, except the newest `keep`.

    On a full disk nothing can be forgotten: it goes with the next step, or a month later.
    """
    found = steps_of([one for one in objects.entries() if one.mark.kind == Kind.NONE], task)
    kept = sorted(found)[-keep:] if keep else []
    await _forget(objects, {step: found[step] for step in found if step not in kept}, below_step)
    await forget_untold(objects, task, below_step)


async def forget_untold(objects: Objects, task: TaskId, below_step: int) -> None:
    """Give up what was entrusted for a task below a step: what is still here was never told."""
    await _forget(objects, steps_of(objects.entrusted(), task), below_step)


async def _forget(objects: Objects, found: dict[int, list[Address]], below_step: int) -> None:
    for step, addresses in found.items():
        for address in addresses if step < below_step else ():
            with suppress(StoreFullError):
                await objects.forget(address)


def steps_of(entries: Sequence[ObjectEntry], task: TaskId) -> dict[int, list[Address]]:
    """The objects of each checkpoint of a task, the oldest step first."""
    found: dict[int, list[Address]] = {}
    for entry in entries:
        number = entry.name.split("/")[2:3]
        if task_of(entry.name) == task and number[0].isdecimal():
            found.setdefault(int(number[0]), []).append(entry.cap.address)
    return dict(sorted(found.items()))


class Keeper:
    """One job under watch; `run` it until the job has ended, then `flush`."""

    def __init__(
        self,
        job: "JobId",
        spec: WatchSpec,
        executor: "Executor",
        objects: Objects,
        on_checkpoint: Callable[[Checkpoint], Awaitable[None]],
        wall_ms: Callable[[], int],
        config: KeeperConfig,
    ) -> None:
        self.spec = spec
        self.stored_step = spec.last_step
        """Newest step that the pool keeps."""
        self._job = job
        self._executor = executor
        self._objects = objects
        self._on_checkpoint = on_checkpoint
        self._wall_ms = wall_ms
        self._config = config
        self._storing = trio.Lock()
        self._wake = trio.Event()
        self._told: Entry | None = None
        self._is_new = True
        self._seen: list[Entry] = []
        self._look_s = 0.0
        """When the folder is looked at next: two looks in quick succession would prove nothing."""
        self._due_s = 0.0
        """No checkpoint is stored before that, unless the task waits for it."""
        self._acknowledged = 0
        self._forgotten = 0

    async def run(self) -> None:
        """Look, store and forget until cancelled, or until the job's folder is gone."""
        if self.spec.last_step and self.spec.right is not None:
            await self._hand_over(self.spec.last_step)  # an earlier life had told of it
        while True:
            await self._sleep_until_due()
            await self._forget_older()
            if trio.current_time() < self._due_s:
                continue
            entry = None
            try:
                entry = await self._find()
                if entry is not None:
                    await self.store(entry)
            except JobUnknownError:
                return
            except CheckpointChangedError:
                self._due_s = trio.current_time() + self._config.look_min_s
            except (CheckpointRefusedError, OutputUnsafeError):
                if self._told is entry:  # the task's doing; one told since then is still to come
                    self._told = None
                self._due_s = trio.current_time() + self._config.look_min_s
            except (TooFewPeersError, StoreFullError):
                self._due_s = trio.current_time() + self._config.again_s

    def tell(self, entry: Entry) -> None:
        """The task has staged a checkpoint: store it when its turn comes, or a newer one."""
        if self._told is None or entry.step > self._told.step:
            self._told = entry
        self._wake.set()

    def acknowledge(self, step: int) -> None:
        """The submitter has written this step down: older ones may go."""
        self._acknowledged = max(self._acknowledged, step)
        self._wake.set()

    async def flush(self, *, is_orderly: bool) -> None:
        """After the end of the job: store the newest checkpoint it left, if it is a newer one.

        A job that was killed may have been in the middle of writing: of it only what had rested
        for a while counts, and what it told. Raises what `store` raises.
        """
        await self._find_told_before()
        entries = await self._look()
        if not is_orderly:
            entries = [one for one in entries if one in self._seen or self._has_rested(one)]
        if self._told is not None:
            entries.append(self._told)
        newest = max(entries, key=lambda entry: entry.step, default=None)
        if newest is not None:
            await self.store(newest)

    async def store(self, entry: Entry) -> None:
        """Make an entry durable and tell; nothing is done when a newer step is kept already.

        Raises CheckpointRefusedError, CheckpointChangedError, OutputUnsafeError,
        TooFewPeersError, StoreFullError.
        """
        async with self._storing:
            if entry.step <= self.stored_step:
                return
            began_s = trio.current_time()
            files = await self._listed(entry)
            stored = tuple([await self._put(entry.step, file.name) for file in files])
            if files != await self._executor.list_files(self._job, entry.pattern):
                raise CheckpointChangedError(f"{entry.pattern} changed while it was read")
            made = Checkpoint(entry.step, stored, self._wall_ms())
            if len(encode(made)) > CHECKPOINT_BYTES_MAX:
                raise CheckpointRefusedError("its list of files is too long: pack them into fewer")
            await self._on_checkpoint(made)
            self.stored_step = entry.step
            await self._hand_over(entry.step)
            self._due_s = began_s + self.spec.every_ms / 1000

    async def _hand_over(self, step: int) -> None:
        """The submitter is told of this step, and will be again: it is theirs; no older one is."""
        for address in steps_of(self._objects.entrusted(), self.spec.task).get(step, ()):
            with suppress(StoreFullError):
                await self._objects.hand_over(address)
        await forget_untold(self._objects, self.spec.task, step)

    def _has_rested(self, entry: Entry) -> bool:
        newest_ms = max(file.modified_ns for file in entry.files) // 1_000_000
        return newest_ms <= self._wall_ms() - RESTED_MS

    async def _listed(self, entry: Entry) -> "tuple[FileStat, ...]":
        files = await self._executor.list_files(self._job, entry.pattern)
        if not files:
            raise CheckpointRefusedError(f"no plain file is in {entry.pattern}")
        if len(files) > CHECKPOINT_FILES_MAX:
            remedy = "pack them into fewer"
            raise CheckpointRefusedError(
                f"{len(files)} files, limit {CHECKPOINT_FILES_MAX}: {remedy}"
            )
        return files

    async def _put(self, step: int, file: str) -> StoredFile:
        """What is put and then not used goes when its step is old, by its name."""
        name = object_name(self.spec.task, step, file)
        chunks = self._executor.read_file(self._job, file)
        receipt = await self._objects.put(chunks, name=name, trust=trust_of(self.spec.right))
        return StoredFile(file, receipt.size, text_of_cap(receipt.cap))

    def _pending(self) -> Entry | None:
        """What the task told and is not stored yet."""
        told = self._told
        return told if told is not None and told.step > self.stored_step else None

    async def _sleep_until_due(self) -> None:
        """Until the task tells something, or it is time to look at the folder again."""
        wake_s = self._look_s if self.spec.folder else math.inf
        if self._is_new or self._pending() is not None:
            wake_s = 0.0
        with trio.move_on_at(max(wake_s, self._due_s)):
            await self._wake.wait()
        self._wake = trio.Event()
        await trio.lowlevel.checkpoint()

    async def _find(self) -> Entry | None:
        """What should be stored now: the newest of what was told and what has settled."""
        await self._find_told_before()
        found = [self._pending()]
        now_s = trio.current_time()
        if self.spec.folder and now_s >= self._look_s:
            every_s = min(self._config.look_s, self.spec.every_ms / 1000)
            self._look_s = now_s + max(self._config.look_min_s, every_s)
            entries = await self._look()
            found.append(newest_settled(entries, self._seen, self.stored_step))
            self._seen = entries
        whole = [entry for entry in found if entry is not None]
        return max(whole, key=lambda entry: entry.step, default=None)

    async def _find_told_before(self) -> None:
        """Once: what `ctx` had staged and told to an earlier life of this node."""
        if not self._is_new:
            return
        self._is_new = False
        files = await self._executor.list_files(self._job, f"{FOLDER}/step-*/**")
        for entry in numbered_entries(FOLDER, files):
            told = told_entry(entry.step, f"step-{entry.step}")
            if entry.step > self.stored_step and entry.pattern == told.pattern:
                self.tell(told)

    async def _look(self) -> list[Entry]:
        folder = self.spec.folder.strip("/").removeprefix("./")
        if not folder:
            return []
        files = await self._executor.list_files(self._job, f"{folder}/**")
        entries = numbered_entries(folder, files)
        marker = next((file for file in files if file.name == f"{folder}/{MARKER}"), None)
        if marker is not None and marker.size <= MARKER_BYTES_MAX:
            data = b"".join(
                [part async for part in self._executor.read_file(self._job, marker.name)]
            )
            if step := marked_step(data):
                entries.append(Entry(step, f"{folder}/**", files))
        return [entry for entry in entries if entry.step > self.stored_step]

    async def _forget_older(self) -> None:
        if self._acknowledged > self._forgotten:
            self._forgotten = self._acknowledged
            keep = max(self.spec.keep, CHECKPOINTS_KEPT_MIN)
            await forget_steps(self._objects, self.spec.task, self._acknowledged, keep)


def told_entry(step: object, name: object) -> Entry:
    """The entry a `ctx.checkpoint` means. Raises CheckpointRefusedError."""
    if isinstance(step, bool) or not isinstance(step, int) or not 0 < step < 10**18:
        raise CheckpointRefusedError(f"a step is a whole number above 0, not {step!r}")
    if name == "":
        return Entry(step, f"{FOLDER}/**")
    if name != f"step-{step}":
        raise CheckpointRefusedError(f"{name!r} is not the folder of step {step}")
    return Entry(step, f"{FOLDER}/step-{step}/**")
