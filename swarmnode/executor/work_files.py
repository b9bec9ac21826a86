"""Files of jobs' work folders as the Executor's face has them: streams over safe_files.py."""

import contextlib
import os
from collections.abc import AsyncIterable, AsyncIterator
from functools import partial

from p2p.workers import Workers
from swarmnode.errors import ExecutorUnavailableError
from swarmnode.executor import safe_files
from swarmnode.executor.port import FileStat
from swarmnode.limits import FILE_CHUNK_BYTES


async def write_file(
    workers: Workers, root: str, name: str, owner: int, chunks: AsyncIterable[bytes]
) -> None:
    """Write a new file; nothing is left of a broken stream.

    Raises OutputUnsafeError, ExecutorUnavailableError (no room), and what the stream raises.
    """
    fd = await workers.run(partial(safe_files.create_file, root, name, owner))
    whole = False
    try:
        async for chunk in chunks:
            await workers.run(partial(_write_all, fd, chunk))
        whole = True
    finally:
        os.close(fd)
        if not whole:
            with contextlib.suppress(FileNotFoundError):
                safe_files.remove_file(root, name)


async def list_files(workers: Workers, root: str, pattern: str) -> tuple[FileStat, ...]:
    """Plain files that match, by name. Raises OutputUnsafeError."""
    return await workers.run(partial(safe_files.list_files, root, pattern))


async def read_file(workers: Workers, root: str, name: str) -> AsyncIterator[bytes]:
    """The bytes of one plain file. Raises OutputUnsafeError."""
    fd = await workers.run(partial(safe_files.open_file, root, name))
    try:
        while piece := await workers.run(partial(os.read, fd, FILE_CHUNK_BYTES)):
            yield piece
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as exc:
        raise ExecutorUnavailableError(f"writing into the work folder: {exc.strerror}") from exc
