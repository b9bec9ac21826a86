"""Keeps the checkpoints of one running job: finds them, stores them, lets old ones go.

the folder is looked at, or ctx.checkpoint tells -> what is new becomes a tree in the pool
-> on_checkpoint (written down, told to the submitter) -> acknowledged -> what it replaced may go

A checkpoint names the newest step, the few before it, and what lies beside them in the folder.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from p2p.wire.codec import encode
from p2p.workers import Workers
from storage.errors import PUT_LATER
from storage.facade import Objects, trust_of
from storage.manifests.capability import text_of_cap
from swarmnode.errors import JobUnknownError, OutputUnsafeError, TreeChangedError
from swarmnode.limits import CHECKPOINT_BYTES_MAX, CHECKPOINTS_KEPT_MIN, STEP_MAX
from swarmnode.memory.entries import MARKER, CheckpointEntry, FolderLook, look_at, marked_step
from swarmnode.memory.kept import caps_of, forget_all_but, hand_over, object_name
from swarmnode.memory.stillness import Draft, Stillness, StillnessConfig
from swarmnode.sdk.ctx import FOLDER
from swarmnode.tasks.checkpoint import (
    CheckpointRecord,
    OlderStep,
    StoredFile,
    WatchSpec,
    resume_step,
)
from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import Parts, joined, parts_in, text_of
from swarmnode.tree.scan import Found

if TYPE_CHECKING:
    from swarmnode.executor.port import Executor, JobId

MARKER_BYTES_MAX: Final = 4096
"""A step.json names a step; what is longer is something else."""
_LOOK_COST_PARTS: Final = 20
"""Looking at a big folder takes at most this part of a core."""
_TOLD_FOLDER: Final = (FOLDER.encode(),)


class CheckpointRefusedError(Exception):
    """What the task staged cannot be kept; it is the task's doing, the text says why."""


@dataclass(frozen=True, slots=True)
class KeeperConfig:
    """Times in seconds."""

    look_s: float = 1.0
    """How often a watched folder is looked at; a second of work is what a loss may cost more."""
    look_min_s: float = 0.1
    again_s: float = 5.0
    """Pause after the pool could not take a checkpoint, or one could not be kept."""
    restless_s: float = 120.0
    """Longer than any pause between two files of a checkpoint: then somebody should know."""
    stillness: StillnessConfig = field(default_factory=StillnessConfig)


@dataclass(frozen=True, slots=True)
class CheckpointTold:
    """What a task says through its ctx: this step is staged, in a folder of its own or as it is."""

    step: int
    name: str
    """Empty: everything in the folder."""


@dataclass(frozen=True, slots=True)
class KeeperEars:
    """Who is told what becomes of a job's checkpoints."""

    on_checkpoint: Callable[[CheckpointRecord], Awaitable[None]]
    on_trouble: Callable[[str], Awaitable[None]]
    """Why the newest one is not kept, in words; empty once one is."""


class CheckpointKeeper:
    """One job under watch; `run` it until the job has ended, then `flush`."""

    def __init__(
        self,
        job: "JobId",
        spec: WatchSpec,
        executor: "Executor",
        objects: Objects,
        ears: KeeperEars,
        workers: Workers,
        wall_ms: Callable[[], int],
        config: KeeperConfig,
    ) -> None:
        """`workers` look through what the task left: it may be many names."""
        self.spec = spec
        self._folder: Parts = parts_in(spec.folder) if spec.folder else ()
        """The watched one; empty: only what the task tells counts."""
        self._job, self._executor, self._objects = job, executor, objects
        self._ears, self._workers, self._wall_ms, self._config = ears, workers, wall_ms, config
        self._newest = spec.last
        """What the pool keeps and the submitter will know."""
        self._still = Stillness(config.stillness, step=self.stored_step)
        if spec.last is not None:
            self._still.is_sure = spec.last.sure
        self._storing = trio.Lock()
        """One checkpoint at a time is stored, and none is given up meanwhile."""
        self._wake = trio.Event()
        """Set by what the task or the submitter says; replaced after each sleep."""
        self._told: CheckpointTold | None = None
        """The highest step told; counts while it is above `stored_step`."""
        self._is_new = True
        """What was here at the start is still to be looked at."""
        self._look_s = 0.0
        """When the folder is looked at next: two looks in quick succession would prove nothing."""
        self._due_s = 0.0
        """No checkpoint is stored before that, unless the task waits for it."""
        self._acknowledged_ms = 0
        """`taken_ms` of the newest checkpoint that the submitter has. Only grows."""
        self._forgotten_ms = 0
        """Of the newest whose older ones were given up; never above the one before."""
        self._trouble = ""
        """Why the newest is not kept, as was told last; empty: it is."""

    @property
    def stored_step(self) -> int:
        """Newest step that the pool keeps and that can be gone on from."""
        newest = self._newest
        if newest is None:
            return self.spec.last_step
        is_resumed = newest is self.spec.last and self.spec.is_restored
        return resume_step(newest) if is_resumed else newest.step

    async def run(self) -> None:
        """Look, store and forget until cancelled, or until the job's folder is gone."""
        while True:
            await self._sleep_until_due()
            await self._forget_older()
            if trio.current_time() < self._due_s:
                continue
            told = None
            try:
                if self._is_new:
                    await self._begin()
                told = self._pending()
                draft = await self._draft_of(told) if told else await self._find()
                if draft is not None:
                    await self._store(draft, told.step if told else draft.entry.step)
            except JobUnknownError:
                return
            except TreeChangedError:
                self._due_s = trio.current_time() + self._config.look_min_s
            except (CheckpointRefusedError, OutputUnsafeError) as exc:
                if self._told is told:  # the task's doing; one told since then is still to come
                    self._told = None
                await self._wait_after(str(exc))
            except PUT_LATER as exc:
                await self._wait_after(f"the pool cannot take it now: {exc}")

    async def _wait_after(self, words: str) -> None:
        self._due_s = trio.current_time() + self._config.again_s
        await self._say(words)

    async def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            await self._ears.on_trouble(trouble)

    def tell(self, told: CheckpointTold) -> None:
        """The task has staged a checkpoint: store it when its turn comes, or a newer one."""
        if self._told is None or told.step > self._told.step:
            self._told = told
        self._wake.set()

    def acknowledge(self, taken_ms: int) -> None:
        """The submitter has written down the checkpoint taken then: what it replaced may go."""
        self._acknowledged_ms = max(self._acknowledged_ms, taken_ms)
        self._wake.set()

    async def flush(self, *, is_orderly: bool) -> None:
        """After the end of the job: store the newest checkpoint it left, if it is a newer one.

        A job that was killed may have been in the middle of writing: of what it filled in place
        only what had rested for a while counts. Raises what `store` raises.
        """
        if self._is_new:
            await self._begin()
        told, now_ns = self._pending(), self._wall_ms() * 1_000_000
        look = await self._look() if self._folder else FolderLook()
        draft = self._still.last_words(look, now_ns, is_orderly=is_orderly)
        if told is not None and (draft is None or draft.entry.step <= told.step):
            await self.store(told)
        elif draft is not None:
            await self._store(draft, draft.entry.step)

    async def store(self, told: CheckpointTold) -> None:
        """Make what the task staged durable and tell; nothing is done when it is kept already.

        Raises CheckpointRefusedError, OutputUnsafeError (TreeChangedError among them),
        and those of PUT_LATER.
        """
        if told.step > self.stored_step:
            await self._store(await self._draft_of(told), told.step)

    # -- what there is

    async def _begin(self) -> None:
        """Once: what was restored is no news, what an earlier life of this node was told is."""
        self._is_new = False
        if self.spec.last is not None and not self.spec.is_restored:  # it may not have come so far
            await hand_over(self._objects, self.spec.task, caps_of(self.spec.last))
        if self._folder and self.spec.is_restored:
            self._still.resumed(await self._look())
        looked = await self._executor.scan(self._job, _TOLD_FOLDER)
        sort = partial(look_at, _TOLD_FOLDER, looked.found, 0)
        for entry in (await self._workers.run(sort)).entries:
            name = f"step-{entry.step}"
            if entry.step > self.stored_step and entry.found[0].parts[1:] == (name.encode(),):
                self.tell(CheckpointTold(entry.step, name))

    async def _find(self) -> Draft | None:
        """What should be stored now of what has come to rest in the folder."""
        now_s = trio.current_time()
        if not self._folder or now_s < self._look_s:
            return None
        every_s = min(self._config.look_s, self.spec.every_ms / 1000)
        self._look_s = now_s + max(self._config.look_min_s, every_s)
        look = await self._look()
        took_s = trio.current_time() - now_s
        self._look_s = max(self._look_s, now_s + _LOOK_COST_PARTS * took_s)
        draft = self._still.look(look, now_s)
        restless_s = self._config.restless_s
        if self._still.restless_s(now_s) >= restless_s:
            await self._say(
                f"what is new in {self.spec.folder} has not rested for {restless_s / 60:.0f} min: "
                "write under another name and rename, or keep logs elsewhere"
            )
        return draft

    async def _look(self) -> FolderLook:
        found = (await self._executor.scan(self._job, self._folder)).found
        marker = next((one for one in found if one.parts == (*self._folder, MARKER)), None)
        step = 0
        if marker is not None and marker.kind is EntryKind.FILE and marker.size <= MARKER_BYTES_MAX:
            chunks = self._executor.read_file(self._job, text_of(joined(marker.parts)))
            step = marked_step(b"".join([part async for part in chunks]))
        return await self._workers.run(partial(look_at, self._folder, found, step))

    async def _draft_of(self, told: CheckpointTold) -> Draft:
        """Raises CheckpointRefusedError when nothing is there."""
        base = (*_TOLD_FOLDER, told.name.encode()) if told.name else _TOLD_FOLDER
        found = (await self._executor.scan(self._job, base)).found
        if not any(one.kind is EntryKind.FILE for one in found):
            raise CheckpointRefusedError(f"no file is in {text_of(joined(base))}")
        beside = (await self._look()).loose if self._folder and told.name else ()
        entry = CheckpointEntry(told.step, found, is_marked=True, is_beside=bool(told.name))
        return Draft(entry, beside, is_sure=True)

    # -- into the pool

    async def _store(self, draft: Draft, step: int) -> None:
        async with self._storing:
            before = self._newest
            is_older = before is not None and step < before.step and before.sure
            if step and (is_older or not self._still.is_new(draft)):
                return  # while it waited for its turn
            step = step or self.stored_step + 1
            if step > STEP_MAX:  # a step.json can name any number
                raise CheckpointRefusedError(f"steps end at {STEP_MAX}: number them anew")
            began_s = trio.current_time()
            main = self._same_main(draft, step) or await self._put(step, "step", draft.entry.found)
            files = [main, *await self._put_beside(draft, step)]
            taken_ms = max(self._wall_ms(), before.taken_ms + 1 if before else 0)
            older = self._older(step, draft.entry.is_beside)
            made = CheckpointRecord(
                step, tuple(files), taken_ms, older, draft.is_sure, draft.entry.is_beside
            )
            if len(encode(made)) > CHECKPOINT_BYTES_MAX:
                raise CheckpointRefusedError("its record is too long: keep fewer steps")
            await self._ears.on_checkpoint(made)
            self._newest = made
            self._still.stored(draft, step)
            await hand_over(self._objects, self.spec.task, caps_of(made))
            self._due_s = began_s + self.spec.every_ms / 1000
        await self._say("")

    def _same_main(self, draft: Draft, step: int) -> StoredFile | None:
        """The step's own object, when only what lies beside it has changed."""
        newest = self._newest
        if newest is None or newest.step != step or draft.entry.found != self._still.found:
            return None
        return newest.files[0] if newest.files and newest.files[0].tree else None

    async def _put_beside(self, draft: Draft, step: int) -> list[StoredFile]:
        loose = tuple(one for one in draft.loose if one.kind is not EntryKind.FOLDER)
        if not loose:
            return []
        before = () if self._newest is None else self._newest.files[1:]
        if before and {one.parts: one for one in draft.loose} == self._still.loose:
            return list(before)
        return [await self._put(step, "beside", draft.loose, may_grow=True)]

    async def _put(
        self, step: int, part: str, found: tuple[Found, ...], *, may_grow: bool = False
    ) -> StoredFile:
        """What is put and then not used goes when a newer one is acknowledged."""
        whole = await self._workers.run(partial(_whole, found))
        chunks = self._executor.pack(self._job, (), whole, may_grow=may_grow)
        name = object_name(self.spec.task, step, part)
        receipt = await self._objects.put(chunks, name=name, trust=trust_of(self.spec.right))
        if not may_grow:
            await self._check_same(found)
        return StoredFile(".", receipt.size, text_of_cap(receipt.cap), tree=True)

    async def _check_same(self, found: tuple[Found, ...]) -> None:
        """Nothing came or went in the meantime. Raises TreeChangedError."""
        for top, before in (await self._workers.run(partial(by_top, found))).items():
            now = (await self._executor.scan(self._job, top)).found
            if now != tuple(before):
                raise TreeChangedError(f"{text_of(joined(top))!r} changed while it was read")

    def _older(self, step: int, is_beside: bool) -> tuple[OlderStep, ...]:
        """The steps before this one that stay, the newest first."""
        before = self._newest
        if before is None or not before.files or not before.files[0].tree:
            return ()
        keep = max(self.spec.keep, CHECKPOINTS_KEPT_MIN) - 1
        last = OlderStep(before.step, before.files[0], before.beside and is_beside)
        own = [last] if before.sure and before.step < step else []
        rest = [one for one in before.older if one.step < step]
        return (*own, *rest)[:keep]

    # -- turns

    def _pending(self) -> CheckpointTold | None:
        """What the task told and is not stored yet."""
        told = self._told
        return told if told is not None and told.step > self.stored_step else None

    async def _sleep_until_due(self) -> None:
        """Until the task tells something, or it is time to look at the folder again."""
        wake_s = self._look_s if self._folder else math.inf
        if self._is_new or self._pending() is not None:
            wake_s = 0.0
        with trio.move_on_at(max(wake_s, self._due_s)):
            await self._wake.wait()
        self._wake = trio.Event()
        await trio.lowlevel.checkpoint()

    async def _forget_older(self) -> None:
        if self._acknowledged_ms > self._forgotten_ms:
            async with self._storing:
                newest = self._newest
                if newest is not None and self._acknowledged_ms == newest.taken_ms:
                    self._forgotten_ms = self._acknowledged_ms
                    await forget_all_but(self._objects, self.spec.task, caps_of(newest))


def _above(found: tuple[Found, ...]) -> tuple[Found, ...]:
    """The folders above, down from the work folder: a tree knows where it is to be."""
    wanted = {one.parts[:depth] for one in found for depth in range(len(one.parts))}
    wanted -= {one.parts for one in found}
    return tuple(Found(parts, EntryKind.FOLDER, 0o755) for parts in sorted(wanted))


def _whole(found: tuple[Found, ...]) -> tuple[Found, ...]:
    """With the folders above, in order."""
    return tuple(sorted((*_above(found), *found), key=lambda one: one.parts))


def by_top(found: Sequence[Found]) -> dict[Parts, list[Found]]:
    """What was found, in order, by that of it which lies in nothing else of it."""
    groups: dict[Parts, list[Found]] = {}
    top: Parts | None = None
    for one in found:
        if top is None or one.parts[: len(top)] != top:
            top = one.parts
            groups[top] = []
        groups[top].append(one)
    return groups


def told_of(step: object, name: object) -> CheckpointTold:
    """What a `ctx.checkpoint` means. Raises CheckpointRefusedError."""
    if isinstance(step, bool) or not isinstance(step, int) or not 0 < step <= STEP_MAX:
        raise CheckpointRefusedError(f"a step is a whole number above 0, not {step!r}")
    if name not in ("", f"step-{step}"):
        raise CheckpointRefusedError(f"{name!r} is not the folder of step {step}")
    return CheckpointTold(step, str(name))
