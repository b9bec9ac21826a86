"""What was found in archives and folders, so that none is read again while nothing in it changes.

Blocking.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.project.images.own import read_own, write_own

_NOTES_MAX: Final = 64
_BYTES_MAX: Final = 1 << 20
_FILE: Final = "images.json"


class Note(msgspec.Struct, frozen=True):
    """Of one archive or folder."""

    is_conda: bool
    digest: str
    machine: str


class ImageNotes:
    """In a folder of ours."""

    def __init__(self, folder: Path, make: Callable[[], Path]) -> None:
        """`make` makes the folder where it lacks, once there is something to be noted."""
        self._folder, self._make = folder, make

    def find(self, mark: str) -> Note | None:
        """What was noted under that mark."""
        return self._all().get(mark)

    def keep(self, mark: str, note: Note) -> None:
        """Have it next time. Raises OSError."""
        newest = dict([*self._all().items(), (mark, note)][-_NOTES_MAX:])
        write_own(self._make() / _FILE, msgspec.json.encode(newest))

    def _all(self) -> dict[str, Note]:
        try:
            data = read_own(self._folder / _FILE, _BYTES_MAX)
            return msgspec.json.decode(data, type=dict[str, Note])
        except (OSError, msgspec.MsgspecError, RecursionError):
            return {}  # then all of it is read once more


def mark_of(path: Path) -> str:
    """The same as long as nothing in it has changed, by times and sizes. Raises OSError."""
    digest = hashlib.sha256()
    for name, info in files_in(path) if path.is_dir() else [(b"", path.stat())]:
        told = (name, info.st_mode, info.st_size, info.st_mtime_ns, info.st_ino)
        digest.update(repr(told).encode())
    return f"{os.path.realpath(path)} {digest.hexdigest()}"


def files_in(folder: Path) -> Iterator[tuple[bytes, os.stat_result]]:
    """Names and what they are, in one order; folders before what is in them. Raises OSError."""
    root = os.fsencode(folder)
    todo = [b""]
    while todo:
        below = todo.pop()
        with os.scandir(os.path.join(root, below)) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = os.path.join(below, entry.name)
            yield name, entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                todo.append(name)
