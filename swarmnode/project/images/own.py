"""Folders and files of ours in a project, which somebody else's repository may have brought along.

Nothing is written through a link: it could lead to any file of whoever runs this. What is read may
be theirs as well: it is a plain file, and bounded.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import IO

from swarmnode.errors import ProjectError


def own_folder(above: Path, *names: str) -> Path:
    """Folders within each other, made where they lack. Raises ProjectError, OSError."""
    path = above
    for name in names:
        path = path / name
        with contextlib.suppress(FileExistsError):
            path.mkdir()
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise ProjectError(f"{path} is no folder of ours: remove it")
    return path


def own_file(path: Path, flags: int = os.O_APPEND) -> IO[bytes]:
    """To be written to, made where it lacks. Raises OSError (ELOOP for a link)."""
    wanted = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags
    return open(os.open(path, wanted, 0o666), "wb")


def read_own(path: Path, bytes_max: int) -> bytes:
    """So much of a plain file at most: what a repository brought may be a link to a device.

    Raises OSError.
    """
    wanted = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, wanted), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "no plain file", str(path))
        return file.read(bytes_max)


def write_own(path: Path, data: bytes) -> None:
    """Whole or not at all, in place of whatever has that name. Raises OSError."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    with own_file(part, os.O_EXCL) as file:
        file.write(data)
    part.rename(path)
