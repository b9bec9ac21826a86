"""The steps of one job that the pool keeps: put there, told of, and given up when they are old.

A checkpoint names the newest step, the few before it, and what lies beside them in the folder.
"""

from collections.abc import Callable

import trio

from p2p.wire.codec import encode
from storage.facade import Objects, trust_of
from storage.manifests.capability import text_of_cap
from swarmnode.limits import CHECKPOINT_BYTES_MAX, CHECKPOINTS_KEPT_MIN
from swarmnode.memory.folder import CheckpointFolder
from swarmnode.memory.kept import caps_of, forget_all_but, hand_over, object_name
from swarmnode.memory.stillness import Draft, Stillness
from swarmnode.memory.told import CheckpointRefusedError
from swarmnode.tasks.checkpoint import (
    CheckpointRecord,
    OlderStep,
    StoredFile,
    WatchSpec,
    resume_step,
)
from swarmnode.tree.format import EntryKind
from swarmnode.tree.scan import Found


class StoredSteps:
    """The newest checkpoint, and what becomes of those before it."""

    def __init__(
        self,
        spec: WatchSpec,
        folder: CheckpointFolder,
        objects: Objects,
        wall_ms: Callable[[], int],
    ) -> None:
        self._spec, self._folder, self._objects, self._wall_ms = spec, folder, objects, wall_ms
        self._newest = spec.last
        """What the pool keeps and the submitter will know."""
        self.storing = trio.Lock()
        """One checkpoint at a time is stored, and none is given up meanwhile."""
        self._left_out: dict[str, str] = {}
        """What the parts of the newest are without, in words."""
        self._acknowledged_ms = 0
        """`made_ms` of the newest checkpoint that the submitter has. Only grows."""
        self._forgotten_ms = 0
        """Of the newest whose older ones were given up; never above the one before."""

    @property
    def newest_step(self) -> int:
        """Newest step that the pool keeps and that can be gone on from."""
        newest, spec = self._newest, self._spec
        if newest is None:
            return spec.last_step
        return resume_step(newest) if newest is spec.last and spec.is_restored else newest.step

    @property
    def left_out(self) -> str:
        """What the newest was kept without, in words; empty: it is whole."""
        return "; ".join(filter(None, self._left_out.values()))

    def is_past(self, step: int) -> bool:
        """Whether a later one is stored already, and complete."""
        newest = self._newest
        return newest is not None and step < newest.step and newest.sure

    async def begin(self) -> None:
        """What an earlier attempt left in the pool is its submitter's."""
        last = self._spec.last
        if last is not None and not self._spec.is_restored:  # it may not have come so far
            await hand_over(self._objects, self._spec.task, caps_of(last))

    # -- into the pool

    async def put(self, draft: Draft, step: int, still: Stillness) -> CheckpointRecord:
        """Make a draft durable, but for what `still` knows to be there; while `storing` is held.

        Raises CheckpointRefusedError, TreeChangedError, and those of PUT_LATER.
        """
        before = self._newest
        main = self._same_main(draft, step, still)
        main = main or await self._put_part(step, "step", draft.entry.found)
        files = [main, *await self._put_beside(draft, step, still)]
        made_ms = max(self._wall_ms(), before.made_ms + 1 if before else 0)
        older = self._older(step, draft.entry.is_beside)
        made = CheckpointRecord(
            step, tuple(files), made_ms, older, draft.is_sure, draft.entry.is_beside
        )
        if len(encode(made)) > CHECKPOINT_BYTES_MAX:
            raise CheckpointRefusedError("its record is too long: keep fewer steps")
        return made

    async def stored(self, made: CheckpointRecord) -> None:
        """Its submitter is told of it: what it is made of is theirs."""
        self._newest = made
        await hand_over(self._objects, self._spec.task, caps_of(made))

    def _same_main(self, draft: Draft, step: int, still: Stillness) -> StoredFile | None:
        """The step's own object, when only what lies beside it has changed."""
        newest = self._newest
        if newest is None or newest.step != step or draft.entry.found != still.found:
            return None
        return newest.files[0] if newest.files and newest.files[0].tree else None

    async def _put_beside(self, draft: Draft, step: int, still: Stillness) -> list[StoredFile]:
        loose = tuple(path for path in draft.loose if path.kind is not EntryKind.FOLDER)
        if not loose:
            self._left_out["beside"] = ""
            return []
        before = () if self._newest is None else self._newest.files[1:]
        if before and {path.parts: path for path in draft.loose} == still.loose:
            return list(before)
        return [await self._put_part(step, "beside", draft.loose, may_grow=True)]

    async def _put_part(
        self, step: int, part: str, paths: tuple[Found, ...], *, may_grow: bool = False
    ) -> StoredFile:
        """What is put and then not used goes when a newer one is acknowledged."""
        spec = self._spec
        chunks, self._left_out[part] = await self._folder.pack(paths, may_grow=may_grow)
        name = object_name(spec.task, step, part)
        receipt = await self._objects.put(chunks, name=name, trust=trust_of(spec.right))
        if not may_grow:
            await self._folder.check_same(paths)
        return StoredFile(".", receipt.size, text_of_cap(receipt.cap), tree=True)

    def _older(self, step: int, is_beside: bool) -> tuple[OlderStep, ...]:
        """The steps before this one that stay, the newest first."""
        before = self._newest
        if before is None or not before.files or not before.files[0].tree:
            return ()
        keep = max(self._spec.keep, CHECKPOINTS_KEPT_MIN) - 1
        last = OlderStep(before.step, before.files[0], before.beside and is_beside)
        own = [last] if before.sure and before.step < step else []
        rest = [older for older in before.older if older.step < step]
        return (*own, *rest)[:keep]

    # -- out of it

    def acknowledge(self, made_ms: int) -> None:
        """The submitter has written down the checkpoint made then: what it replaced may go."""
        self._acknowledged_ms = max(self._acknowledged_ms, made_ms)

    async def forget_older(self) -> None:
        """Give up what the newest one has replaced, once that is acknowledged."""
        if self._acknowledged_ms > self._forgotten_ms:
            async with self.storing:
                newest = self._newest
                if newest is not None and self._acknowledged_ms == newest.made_ms:
                    self._forgotten_ms = self._acknowledged_ms
                    await forget_all_but(self._objects, self._spec.task, caps_of(newest))
