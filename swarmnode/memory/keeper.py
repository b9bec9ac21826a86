"""Keeps the checkpoints of one running job: finds them, has them stored, lets old ones go.

the folder is looked at, or ctx.checkpoint tells -> what is new becomes a tree in the pool
-> on_checkpoint (written down, told to the submitter) -> acknowledged -> what it replaced may go
"""

import math
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from storage.errors import PUT_LATER
from storage.facade import Objects
from swarmnode.errors import JobUnknownError, OutputUnsafeError, TreeChangedError
from swarmnode.limits import STEP_MAX
from swarmnode.memory.entries import FolderLook
from swarmnode.memory.folder import CheckpointFolder
from swarmnode.memory.steps import StoredSteps
from swarmnode.memory.stillness import Draft, Stillness, StillnessConfig
from swarmnode.memory.told import CheckpointRefusedError, CheckpointTold
from swarmnode.tasks.checkpoint import CheckpointRecord, WatchSpec

_LOOK_COST_PARTS: Final = 20
"""Looking at a big folder takes at most this part of a core."""
KEPT: Final = "kept, but not all of it: "
NOT_KEPT: Final = "not kept: "


class KeeperConfig(msgspec.Struct, frozen=True):
    """Times in seconds."""

    look_s: float = 1.0
    """How often a watched folder is looked at; a second of work is what a loss may cost more."""
    look_min_s: float = 0.1
    again_s: float = 5.0
    """Pause after the pool could not take a checkpoint, or one could not be kept."""
    restless_s: float = 120.0
    """Longer than any pause between two files of a checkpoint: then somebody should know."""
    stillness: StillnessConfig = msgspec.field(default_factory=StillnessConfig)


class KeeperEars(msgspec.Struct, frozen=True):
    """Who is told what becomes of a job's checkpoints."""

    on_checkpoint: Callable[[CheckpointRecord], Awaitable[None]]
    on_trouble: Callable[[str], Awaitable[None]]
    """Why the newest one is not kept, or what it is kept without; empty once one is kept whole."""


class CheckpointKeeper:
    """One job under watch; `run` it until the job has ended, then `flush`."""

    def __init__(
        self,
        spec: WatchSpec,
        folder: CheckpointFolder,
        objects: Objects,
        ears: KeeperEars,
        wall_ms: Callable[[], int],
        config: KeeperConfig,
    ) -> None:
        self.spec = spec
        self._folder, self._ears, self._wall_ms, self._config = folder, ears, wall_ms, config
        self._steps = StoredSteps(spec, folder, objects, wall_ms)
        self._still = Stillness(config.stillness, step=self._steps.newest_step)
        if spec.last is not None:
            self._still.is_sure = spec.last.sure
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
        self._trouble = ""
        """What is the matter with the newest, as was told last; empty: it is kept."""

    @property
    def stored_step(self) -> int:
        """Newest step that the pool keeps and that can be gone on from."""
        return self._steps.newest_step

    async def run(self) -> None:
        """Look, store and forget until cancelled, or until the job's folder is gone."""
        while True:
            await self._sleep_until_due()
            await self._steps.forget_older()
            if trio.current_time() < self._due_s:
                continue
            told = None
            try:
                if self._is_new:
                    await self._begin()
                told = self._pending()
                draft = await self._folder.draft_of(told) if told else await self._find()
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
        await self._say(f"{NOT_KEPT}{words}")

    async def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            await self._ears.on_trouble(trouble)

    def tell(self, told: CheckpointTold) -> None:
        """The task has staged a checkpoint: store it when its turn comes, or a newer one."""
        if self._told is None or told.step > self._told.step:
            self._told = told
        self._wake.set()

    def acknowledge(self, made_ms: int) -> None:
        """The submitter has written down the checkpoint made then: what it replaced may go."""
        self._steps.acknowledge(made_ms)
        self._wake.set()

    async def flush(self, *, is_orderly: bool) -> None:
        """After the end of the job: store the newest checkpoint it left, if it is a newer one.

        A job that was killed may have been in the middle of writing: of what it filled in place
        only what had rested for a while counts. Raises what `store` raises.
        """
        if self._is_new:
            await self._begin()
        told, now_ns = self._pending(), self._wall_ms() * 1_000_000
        look = await self._folder.look()
        draft = self._still.last_words(look, now_ns, is_orderly=is_orderly)
        if told is not None and (draft is None or draft.entry.step <= told.step):
            await self.store(told)
        elif draft is not None:
            await self._store_last(draft, look, now_ns, is_orderly=is_orderly)

    async def _store_last(
        self, draft: Draft, look: FolderLook, now_ns: int, *, is_orderly: bool
    ) -> None:
        """The newest one, or, where that cannot be kept, the one before it and say why."""
        try:
            await self._store(draft, draft.entry.step)
        except (CheckpointRefusedError, OutputUnsafeError):
            older = self._still.last_words(look, now_ns, is_orderly=is_orderly)
            if older is not None and not self._still.is_refused(older.entry):
                await self._store(older, older.entry.step)
            raise

    async def store(self, told: CheckpointTold) -> None:
        """Make what the task staged durable and tell; nothing is done when it is kept already.

        Raises CheckpointRefusedError, OutputUnsafeError (TreeChangedError among them),
        and those of PUT_LATER.
        """
        if told.step > self.stored_step:
            await self._store(await self._folder.draft_of(told), told.step)

    async def _store(self, draft: Draft, step: int) -> None:
        async with self._steps.storing:
            if step and (self._steps.is_past(step) or not self._still.is_new(draft)):
                return  # while it waited for its turn
            step = step or self.stored_step + 1
            began_s = trio.current_time()
            made = await self._put(draft, step)
            await self._ears.on_checkpoint(made)
            self._still.stored(draft, step)
            await self._steps.stored(made)
            self._due_s = began_s + self.spec.every_ms / 1000
        lacking = self._steps.left_out
        await self._say(f"{KEPT}{lacking}" if lacking else "")

    async def _put(self, draft: Draft, step: int) -> CheckpointRecord:
        try:
            if step > STEP_MAX:  # a step.json can name any number
                raise CheckpointRefusedError(f"steps end at {STEP_MAX}: number them anew")
            return await self._steps.put(draft, step, self._still)
        except TreeChangedError:  # it is being written: another look will tell
            raise
        except (CheckpointRefusedError, OutputUnsafeError):
            self._still.refused(draft.entry)
            raise

    # -- what there is

    async def _begin(self) -> None:
        """Once: what was restored is no news, what an earlier life of this node was told is."""
        self._is_new = False
        await self._steps.begin()
        if self._folder.is_watched and self.spec.is_restored:
            self._still.resumed(await self._folder.look())
        for told in await self._folder.staged():
            if told.step > self.stored_step:
                self.tell(told)

    async def _find(self) -> Draft | None:
        """What should be stored now of what has come to rest in the folder."""
        now_s = trio.current_time()
        if not self._folder.is_watched or now_s < self._look_s:
            return None
        draft = self._still.look(await self._look(now_s), now_s)
        restless_s = self._config.restless_s
        if self._still.restless_s(now_s) >= restless_s:
            await self._say(
                f"{NOT_KEPT}what is new in {self.spec.folder} has not rested for "
                f"{restless_s / 60:.0f} min: write under another name and rename, or keep "
                "logs elsewhere"
            )
        return draft

    async def _look(self, now_s: float) -> FolderLook:
        """Look at the folder, and see when to look again."""
        every_s = min(self._config.look_s, self.spec.every_ms / 1000)
        self._look_s = now_s + max(self._config.look_min_s, every_s)
        look = await self._folder.look()
        took_s = trio.current_time() - now_s
        self._look_s = max(self._look_s, now_s + _LOOK_COST_PARTS * took_s)
        return look

    # -- turns

    def _pending(self) -> CheckpointTold | None:
        """What the task told and is not stored yet."""
        told = self._told
        return told if told is not None and told.step > self.stored_step else None

    async def _sleep_until_due(self) -> None:
        """Until the task tells something, or it is time to look at the folder again."""
        wake_s = self._look_s if self._folder.is_watched else math.inf
        if self._is_new or self._pending() is not None:
            wake_s = 0.0
        with trio.move_on_at(max(wake_s, self._due_s)):
            await self._wake.wait()
        self._wake = trio.Event()
        await trio.lowlevel.checkpoint()
