"""Files only their owner may read: written once or replaced whole, and on the disk when we return.

A folder is 0700, a file 0600, both ours; anything looser is refused with the command that mends it.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from p2p.errors import DISK_FULL, IdentityError, UnsafeFileError, UnwritableFileError
from p2p.limits import PRIVATE_FILE_BYTES_MAX

_DRAFT: Final = re.compile(r"\..+\.([0-9]+)")
"""`.NAME.PROCESS`: what is being written, until it has its name."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private_folder(folder: Path) -> bool:
    """Create `folder` with mode 0700 where it is missing, and check it; True if it was created.

    Raises IdentityError when it is not ours alone, or cannot be made.
    """
    created = not folder.exists()
    try:
        for missing in reversed([parent for parent in folder.parents if not parent.exists()]):
            missing.mkdir(mode=0o755, exist_ok=True)  # `parents=True` would obey the umask alone
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise UnwritableFileError(f"cannot create the folder {folder}: {_why(exc)}") from exc
    check_private_folder(folder)
    return created


def check_private_folder(folder: Path) -> None:
    """Raise IdentityError unless `folder` is a real folder, ours, and closed to everybody else."""
    try:
        status = folder.lstat()
    except OSError as exc:
        raise IdentityError(f"cannot use the folder {folder}: {exc.strerror}") from exc
    if not stat.S_ISDIR(status.st_mode):
        raise IdentityError(f"{folder} is not a folder (a link is not accepted): remove it")
    _check_ours(folder, status, "700")


def _opened(path: Path) -> int:
    """A handle to read it by; a link is not followed, and a pipe is not waited for."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise IdentityError(f"cannot read {path}: {exc.strerror}") from exc


def read_private_file(path: Path) -> bytes:
    """The content of a private file.

    Raises IdentityError when it is missing, too long, not ours, or open to others.
    """
    check_private_folder(path.parent)
    handle = _opened(path)
    with open(handle, "rb") as file:
        _check_plain(path, os.fstat(handle))
        data = file.read(PRIVATE_FILE_BYTES_MAX + 1)
    if len(data) > PRIVATE_FILE_BYTES_MAX:
        raise IdentityError(
            f"{path} is longer than {PRIVATE_FILE_BYTES_MAX} bytes: not one of ours"
        )
    return data


def create_private_file(path: Path, data: bytes) -> None:
    """Write a new private file; it appears whole or not at all, and is never overwritten.

    Raises IdentityError, also when the file is already there.
    """
    with _draft(path, data) as draft:
        try:
            os.link(draft, path)
        except FileExistsError as exc:
            raise IdentityError(f"{path} exists already: it is left as it is") from exc
        except OSError as exc:
            raise UnwritableFileError(f"cannot create {path}: {_why(exc)}") from exc
    _flush_folder(path.parent)


def replace_private_file(path: Path, data: bytes) -> None:
    """Write a private file over its older version; a crash leaves one of the two, whole.

    Raises IdentityError when it cannot be written.
    """
    with _draft(path, data) as draft:
        try:
            draft.replace(path)
        except OSError as exc:
            raise UnwritableFileError(f"cannot replace {path}: {_why(exc)}") from exc
    _flush_folder(path.parent)


def remove_drafts(folder: Path) -> None:
    """Remove what processes that are no more have left half done there: it may hold keys.

    A folder that is only to be read is left alone.
    """
    with suppress(OSError):
        for file in folder.iterdir():
            draft = _DRAFT.fullmatch(file.name)
            if draft and not _lives(int(draft[1])):
                file.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Whether another process has that number now; we ourselves have just begun."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextmanager
def _draft(path: Path, data: bytes) -> Iterator[Path]:
    """The data on the disk beside its place; gone when the block ends, however that comes about."""
    check_private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            draft.unlink(missing_ok=True)
            handle = os.open(draft, flags, 0o600)
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
        except OSError as exc:
            raise UnwritableFileError(f"cannot write {path}: {_why(exc)}") from exc
        yield draft
    finally:
        with suppress(OSError):  # it was not written, and the reason is told
            draft.unlink(missing_ok=True)


def _why(error: OSError) -> str:
    if error.errno in DISK_FULL:
        return f"{error.strerror}: free some space there"
    return f"{error.strerror}: choose another folder (SWARM_HOME)"


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_plain(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise IdentityError(f"{path} is not a plain file: remove it")
    _check_ours(path, status, "600")


def _check_ours(path: Path, status: os.stat_result, mode: str) -> None:
    if status.st_uid != os.geteuid():
        raise UnsafeFileError(
            f"{path} belongs to user {status.st_uid}, we are {os.geteuid()}: "
            f"run as its owner, or: chown {os.geteuid()} {path}"
        )
    if status.st_mode & _OTHERS:
        raise UnsafeFileError(
            f"{path} has mode {stat.S_IMODE(status.st_mode):o}, others may use it: "
            f"chmod {mode} {path}"
        )
