"""From a folder to the bytes of its tree: one file open at a time, never a whole one in memory.

What is read must be what was found: a file that changes meanwhile breaks the stream. Blocking.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from blake3 import blake3

from swarmnode.errors import TreeChangedError, TreeRefusedError
from swarmnode.limits import FILE_CHUNK_BYTES
from swarmnode.tree.format import RIGHTS, EntryKind, TreeEntry, shown, write_index
from swarmnode.tree.names import Parts
from swarmnode.tree.scan import Found, changed, entries_of, open_folder, same_file

_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FILE_FLAGS = _OPEN_FLAGS | os.O_NOFOLLOW


def packed(
    root: str | int,
    seen: Sequence[Found],
    entries: Sequence[TreeEntry],
    *,
    may_grow: bool = False,
) -> Iterator[bytes]:
    """The bytes of a tree, in pieces of about 256 KiB. `seen` and `entries` belong together.

    With `may_grow` a file that has become longer meanwhile is taken as long as it was.
    Raises TreeRefusedError before the first piece, TreeChangedError and OSError later.
    """
    yield write_index(entries)
    pairs = zip(seen, entries, strict=True)
    files = [name for name, entry in pairs if entry.kind is EntryKind.FILE and entry.size]
    with _Opener(root) as opener:
        yield from _gather(files, opener.open, may_grow=may_grow)


def contents_of(
    root: str | int, files: Sequence[Found], *, may_grow: bool = False
) -> Iterator[bytes]:
    """What is in these files, one after another, `may_grow` as of `packed`.

    Raises TreeChangedError and OSError.
    """
    with _Opener(root) as opener:
        yield from _gather(files, opener.open, may_grow=may_grow)


def hashes_of(
    root: str | int, files: Sequence[Found], *, may_grow: bool = False
) -> Iterator[bytes]:
    """BLAKE3 of each of these files, `may_grow` as of `packed`.

    Raises TreeChangedError and OSError.
    """
    with _Opener(root) as opener:
        for file in files:
            hashed = blake3()
            for piece in _contents(file, opener.open(file), may_grow=may_grow):
                hashed.update(piece)
            yield hashed.digest()


def gathered(files: Mapping[Parts, Path]) -> Iterator[bytes]:
    """The bytes of a tree of single files, each with its place in it, from wherever they are.

    Links are followed. Raises as `packed` does.
    """
    names: dict[Parts, Found] = {(): Found((), EntryKind.FOLDER, 0o755)}
    for parts, path in files.items():
        for depth in range(1, len(parts)):
            names.setdefault(parts[:depth], Found(parts[:depth], EntryKind.FOLDER, 0o755))
        names[parts] = _file_seen(parts, path.stat())
    ordered = sorted(names.values(), key=lambda name: name.parts)
    yield write_index(entries_of(ordered, ()))
    full = [name for name in ordered if name.size]
    yield from _gather(full, lambda name: os.open(files[name.parts], _OPEN_FLAGS))


def _file_seen(parts: Parts, info: os.stat_result) -> Found:
    return Found(
        parts,
        EntryKind.FILE,
        stat.S_IMODE(info.st_mode) & RIGHTS,
        info.st_size,
        info.st_mtime_ns,
        info.st_ctime_ns,
        (info.st_dev, info.st_ino),
    )


def _gather(
    files: Sequence[Found], opened: Callable[[Found], int], *, may_grow: bool = False
) -> Iterator[bytes]:
    """All contents, in pieces of about 256 KiB however small the files are."""
    held, length = list[bytes](), 0
    for file in files:
        for piece in _contents(file, opened(file), may_grow=may_grow):
            held.append(piece)
            length += len(piece)
            if length >= FILE_CHUNK_BYTES:
                yield b"".join(held)
                held, length = [], 0
    if held:
        yield b"".join(held)


def _contents(file: Found, fd: int, *, may_grow: bool) -> Iterator[bytes]:
    try:
        if not same_file(file, os.fstat(fd), may_grow=may_grow):
            raise changed(file)
        left = file.size
        while left:
            piece = os.read(fd, min(left, FILE_CHUNK_BYTES))
            if not piece:
                raise changed(file)
            left -= len(piece)
            yield piece
        if not same_file(file, os.fstat(fd), may_grow=may_grow):
            raise changed(file)
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

    def open(self, file: Found) -> int:
        """A descriptor to read the file. Raises TreeChangedError when it is gone, OSError."""
        try:
            if file.parts[:-1] != self._parts:
                folder = open_folder(self._root, file.parts[:-1])
                if self._parts is not None:
                    os.close(self._folder)
                self._folder, self._parts = folder, file.parts[:-1]
            return os.open(file.parts[-1], _FILE_FLAGS, dir_fd=self._folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise TreeChangedError(f"{changed(file)}: it is gone") from error
        except PermissionError as error:
            raise TreeRefusedError(
                f"{shown(file.parts)} cannot be read: {error.strerror}"
            ) from error
