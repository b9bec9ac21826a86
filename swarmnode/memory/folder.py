"""The work folder of one job, as far as its checkpoints are concerned: what lies there, and bytes.

Two places in it: the watched folder, whose name the task's owner gave, and the one in which
`ctx.checkpoint` stages. Both may hold many names, so workers look through them.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from p2p.workers import Workers
from swarmnode.errors import TreeChangedError
from swarmnode.memory.entries import MARKER, CheckpointEntry, FolderLook, look_at, marked_step
from swarmnode.memory.stillness import Draft
from swarmnode.memory.told import CheckpointRefusedError, CheckpointTold
from swarmnode.sdk.ctx import FOLDER
from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import Parts, joined, parts_in, text_of
from swarmnode.tree.scan import Found

if TYPE_CHECKING:
    from swarmnode.executor.port import Executor, JobId

MARKER_BYTES_MAX: Final = 4096
"""A step.json names a step; what is longer is something else."""
_TOLD_FOLDER: Final = (FOLDER.encode(),)


class CheckpointFolder:
    """Every method raises JobUnknownError once the folder is gone."""

    def __init__(self, job: "JobId", executor: "Executor", workers: Workers, watched: str) -> None:
        """`watched`: the name of the watched folder; empty: only what the task tells counts."""
        self._job, self._executor, self._workers = job, executor, workers
        self._watched: Parts = parts_in(watched) if watched else ()

    @property
    def is_watched(self) -> bool:
        """Whether anything but what the task tells counts."""
        return bool(self._watched)

    async def look(self) -> FolderLook:
        """What is in the watched folder now; nothing where none is watched."""
        if not self._watched:
            return FolderLook()
        paths = (await self._executor.scan(self._job, self._watched)).found
        step = await self._marked(paths)
        return await self._workers.run(partial(look_at, self._watched, paths, step))

    async def _marked(self, paths: Sequence[Found]) -> int:
        """The step that the folder's marker names; 0 without one."""
        marker = next((path for path in paths if path.parts == (*self._watched, MARKER)), None)
        if marker is None or marker.kind is not EntryKind.FILE or marker.size > MARKER_BYTES_MAX:
            return 0
        chunks = self._executor.read_file(self._job, text_of(joined(marker.parts)))
        return marked_step(await _marker_in(chunks))

    async def staged(self) -> list[CheckpointTold]:
        """What lies where tasks stage, as they would have told it, the lowest step first."""
        looked = await self._executor.scan(self._job, _TOLD_FOLDER)
        look = await self._workers.run(partial(look_at, _TOLD_FOLDER, looked.found, 0))
        named = [(entry, f"step-{entry.step}") for entry in look.entries]
        return [
            CheckpointTold(entry.step, name)
            for entry, name in named
            if entry.found[0].parts[1:] == (name.encode(),)
        ]

    async def draft_of(self, told: CheckpointTold) -> Draft:
        """Raises CheckpointRefusedError when nothing is there."""
        base = (*_TOLD_FOLDER, told.name.encode()) if told.name else _TOLD_FOLDER
        paths = (await self._executor.scan(self._job, base)).found
        if not any(path.kind is EntryKind.FILE for path in paths):
            raise CheckpointRefusedError(f"no file is in {text_of(joined(base))}")
        beside = (await self.look()).loose if told.name else ()
        entry = CheckpointEntry(told.step, paths, is_marked=True, is_beside=bool(told.name))
        return Draft(entry, beside, is_sure=True)

    async def pack(
        self, paths: tuple[Found, ...], *, may_grow: bool
    ) -> tuple[AsyncIterator[bytes], str]:
        """The bytes of a tree of these, and in words what is left out of it.

        The bytes raise TreeChangedError when the files are that no more.
        """
        whole = await self._workers.run(partial(_whole, paths))
        kept, left_out = await self._executor.closed(self._job, whole)
        return self._executor.pack(self._job, (), kept, may_grow=may_grow), left_out

    async def check_same(self, paths: tuple[Found, ...]) -> None:
        """Nothing came or went in the meantime. Raises TreeChangedError."""
        for top, before in (await self._workers.run(partial(by_top, paths))).items():
            now = (await self._executor.scan(self._job, top)).found
            if now != tuple(before):
                raise TreeChangedError(f"{text_of(joined(top))!r} changed while it was read")


async def _marker_in(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """Empty for what has grown since it was looked at: a program may go on without end."""
    held = b""
    async with aclosing(chunks) as pieces:
        async for part in pieces:
            held += part
            if len(held) > MARKER_BYTES_MAX:
                return b""
    return held


def _above(paths: tuple[Found, ...]) -> tuple[Found, ...]:
    """The folders above, down from the work folder: a tree knows where it is to be."""
    wanted = {path.parts[:depth] for path in paths for depth in range(len(path.parts))}
    wanted -= {path.parts for path in paths}
    return tuple(Found(parts, EntryKind.FOLDER, 0o755) for parts in sorted(wanted))


def _whole(paths: tuple[Found, ...]) -> tuple[Found, ...]:
    """With the folders above, in order."""
    return tuple(sorted((*_above(paths), *paths), key=lambda path: path.parts))


def by_top(paths: Sequence[Found]) -> dict[Parts, list[Found]]:
    """What was found, in order, by that of it which lies in nothing else of it."""
    groups: dict[Parts, list[Found]] = {}
    top: Parts | None = None
    for path in paths:
        if top is None or path.parts[: len(top)] != top:
            top = path.parts
            groups[top] = []
        groups[top].append(path)
    return groups
