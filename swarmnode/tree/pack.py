"""From a folder to the bytes of its tree: one file open at a time, never a whole one in memory.

What is read must be what was found: a file that changes meanwhile breaks the stream. Blocking.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Self

from swarmnode.errors import TreeChangedError, TreeRefusedError
from swarmnode.limits import FILE_CHUNK_BYTES
from swarmnode.tree.format import Entry, Kind, shown, write_index
from swarmnode.tree.names import Parts
from swarmnode.tree.scan import Found, changed, open_folder, same_file

_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def packed(root: str | int, found: Sequence[Found], entries: Sequence[Entry]) -> Iterator[bytes]:
    """The bytes of a tree, in pieces of about 256 KiB. `found` and `entries` belong together.

    Raises TreeRefusedError before the first piece, TreeChangedError and OSError later.
    """
    yield write_index(entries)
    files = [
        one
        for one, entry in zip(found, entries, strict=True)
        if entry.kind is Kind.FILE and entry.size
    ]
    held = bytearray()
    with _Opener(root) as opener:
        for one in files:
            for piece in _contents(opener, one):
                held += piece
                if len(held) >= FILE_CHUNK_BYTES:
                    yield bytes(held)
                    held = bytearray()
    if held:
        yield bytes(held)


def _contents(opener: "_Opener", found: Found) -> Iterator[bytes]:
    fd = opener.open(found)
    try:
        if not same_file(found, os.fstat(fd)):
            raise changed(found)
        left = found.size
        while left:
            piece = os.read(fd, min(left, FILE_CHUNK_BYTES))
            if not piece:
                raise changed(found)
            left -= len(piece)
            yield piece
        if not same_file(found, os.fstat(fd)):
            raise changed(found)
    finally:
        os.close(fd)


class _Opener:
    """Opens files in the order of a tree: neighbours share the descriptor of their folder."""

    def __init__(self, root: str | int) -> None:
        self._root = root
        self._parts: Parts | None = None
        self._folder = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._parts is not None:
            os.close(self._folder)

    def open(self, found: Found) -> int:
        """A descriptor to read the file. Raises TreeChangedError when it is gone, OSError."""
        try:
            if found.parts[:-1] != self._parts:
                folder = open_folder(self._root, found.parts[:-1])
                if self._parts is not None:
                    os.close(self._folder)
                self._folder, self._parts = folder, found.parts[:-1]
            return os.open(found.parts[-1], _FILE_FLAGS, dir_fd=self._folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise TreeChangedError(f"{changed(found)}: it is gone") from error
        except PermissionError as error:
            raise TreeRefusedError(
                f"{shown(found.parts)} cannot be read: {error.strerror}"
            ) from error
