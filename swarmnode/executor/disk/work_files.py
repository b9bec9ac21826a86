"""Files and folders of jobs' work folders as the Executor's face has them: streams over threads."""

import contextlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from p2p.workers import Workers
from swarmnode.errors import ExecutorUnavailableError, JobUnknownError, OutputUnsafeError
from swarmnode.executor.disk import safe_files
from swarmnode.executor.disk.given import Take
from swarmnode.executor.disk.work_disk import slack_bytes
from swarmnode.executor.port import FileStat, JobId
from swarmnode.limits import FILE_CHUNK_BYTES
from swarmnode.tree.holes import SparseFile
from swarmnode.tree.names import Parts, joined, text_of
from swarmnode.tree.pack import packed
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found, Scan, entries_of, inside_of, scan
from swarmnode.tree.select import Piece, Selection, bytes_in, closed, select, too_large, within
from swarmnode.tree.unpack import Unpacker

if TYPE_CHECKING:
    from swarmnode.executor.job_folder import CrashRecord

WORK = b"/work"
"""Where a task sees its work folder in most sandboxes (swarmnode.executor.sandbox.command)."""


class WorkFiles(ABC):
    """The part of an Executor that reads and writes work folders on disk."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    @abstractmethod
    def _work(self, job: JobId) -> str:
        """The job's work folder. Raises JobUnknownError."""

    @abstractmethod
    def _record(self, job: JobId) -> "CrashRecord | None":
        """Of a job that was started."""

    @abstractmethod
    def _taking(self, job: JobId) -> AbstractContextManager[Take]:
        """Asked for room before each piece that comes in; raises ExecutorUnavailableError."""

    def _owner(self, job: JobId) -> int:
        """Who gets what is made there; 0: ourselves."""
        record = self._record(job)
        return record.uid if record else 0

    def _leaves_max(self, job: JobId) -> int:
        """Bytes that what it leaves may be read as: no more than it could have written."""
        record = self._record(job)
        if record is None:
            return sys.maxsize
        disk = record.spec.disk_bytes
        return disk + slack_bytes(disk) + record.given_bytes

    async def put_file(self, job: JobId, name: str, chunks: AsyncIterable[bytes]) -> None:
        """Write a file into the work folder, parents made; nothing is left of a broken stream.

        Raises OutputUnsafeError, ExecutorUnavailableError (no room), and what the stream raises.
        """
        root, owner = self._work(job), self._owner(job)
        fd = await self._workers.run(partial(safe_files.create_file, root, name, owner))
        whole = False
        try:
            with self._taking(job) as take:
                await self._pour(chunks, take, partial(_write_all, SparseFile(fd)))
            whole = True
        finally:
            os.close(fd)
            if not whole:
                _remove_if_there(root, name)

    async def _pour(
        self,
        chunks: AsyncIterable[bytes],
        take: Take,
        write: Callable[[bytes], None],
    ) -> None:
        async for chunk in chunks:
            await take(len(chunk))
            await self._workers.run(partial(write, chunk))

    async def list_files(self, job: JobId, pattern: str) -> tuple[FileStat, ...]:
        """Regular files of the work folder that match, by name. Raises OutputUnsafeError."""
        try:
            return await self._workers.run(partial(safe_files.list_files, self._work(job), pattern))
        except OSError as exc:
            raise OutputUnsafeError(f"the work folder cannot be read: {exc.strerror}") from exc

    def read_file(self, job: JobId, name: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a regular file beneath the work folder. Raises OutputUnsafeError."""
        return self._read(self._work(job), name)

    async def _read(self, root: str, name: str) -> AsyncGenerator[bytes, None]:
        fd = await self._workers.run(partial(safe_files.open_file, root, name))
        try:
            while piece := await self._workers.run(partial(os.read, fd, FILE_CHUNK_BYTES)):
                yield piece
        finally:
            os.close(fd)

    async def scan(self, job: JobId, base: Parts = ()) -> Scan:
        """Everything in a folder of the work folder, or one file. Raises OutputUnsafeError."""
        root = self._work(job)

        def look() -> Scan:
            try:
                owner = os.stat(root).st_uid
            except FileNotFoundError as exc:
                raise JobUnknownError(f"job {job!r} was forgotten while it was looked at") from exc
            return scan(root, base, owned_by=owner)

        try:
            return await self._workers.run(look)
        except OSError as exc:
            raise OutputUnsafeError(f"the work folder cannot be read: {exc.strerror}") from exc

    async def select(self, job: JobId, patterns: Sequence[Pattern]) -> tuple[Scan, Selection]:
        """The same of the whole work folder, and what the patterns mean in it.

        In a thread: of many names and patterns it takes long, and the task chose both.
        """
        looked = await self.scan(job)
        chosen = await self._workers.run(partial(select, looked.found, patterns, self._roots(job)))
        return looked, await self._workers.run(partial(within, chosen, self._leaves_max(job)))

    def _roots(self, job: JobId) -> tuple[bytes, bytes]:
        """The names of the work folder, in the sandbox and outside of it."""
        return (WORK, os.fsencode(self._work(job)))

    async def closed(self, job: JobId, seen: Sequence[Found]) -> tuple[tuple[Found, ...], str]:
        """Without the links that lead out of the work folder, and in words which those are."""
        piece = Piece((), (), tuple(seen), True)
        kept, words = await self._workers.run(partial(closed, piece, self._roots(job)))
        return kept.found, words

    def pack(
        self, job: JobId, base: Parts, seen: Sequence[Found], *, may_grow: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """The tree of what was found in `base`. Raises OutputUnsafeError."""
        return self._pack(self._work(job), job, base, seen, may_grow=may_grow)

    async def _pack(
        self, root: str, job: JobId, base: Parts, seen: Sequence[Found], *, may_grow: bool
    ) -> AsyncGenerator[bytes, None]:
        names = [b"/".join([top, *base]) for top in self._roots(job)]
        inside = inside_of(*names)
        if (size := bytes_in(seen)) > self._leaves_max(job):
            raise OutputUnsafeError(too_large(base, size, self._leaves_max(job)))
        try:
            entries = await self._workers.run(partial(entries_of, seen, base, inside=inside))
            pieces = packed(root, seen, entries, may_grow=may_grow)
            while (piece := await self._workers.run(partial(next, pieces, None))) is not None:
                yield piece
        except OSError as exc:
            shown = text_of(joined(base)) or "the work folder"
            raise OutputUnsafeError(f"{shown} cannot be read: {exc.strerror}") from exc

    async def unpack(self, job: JobId, base: Parts, chunks: AsyncIterable[bytes]) -> None:
        """Make a tree's folder. Raises OutputUnsafeError, ExecutorUnavailableError (no room)."""
        unpacker = Unpacker(self._work(job), base, self._owner(job))
        try:
            with self._taking(job) as take:
                await self._pour(chunks, take, unpacker.feed)
                await self._workers.run(unpacker.finish)
        except OSError as exc:
            raise ExecutorUnavailableError(f"writing into the work folder: {exc.strerror}") from exc
        finally:
            unpacker.close()


def _remove_if_there(root: str, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        safe_files.remove_file(root, name)


def _write_all(file: SparseFile, data: bytes) -> None:
    try:
        file.write(data)
        file.end()  # this may be the last piece
    except OSError as exc:
        raise ExecutorUnavailableError(f"writing into the work folder: {exc.strerror}") from exc
