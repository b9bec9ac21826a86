"""Single files of a work folder, touched as if everything in it were a trap, because it may be.

Every folder is opened relative to its parent and never through a link: so a link, a pipe, a device
or a swap under our feet gives OutputUnsafeError and never a byte from elsewhere. Whole folders are
swarmnode.tree's.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from swarmnode.errors import OutputUnsafeError
from swarmnode.executor.disk.disk_use import PIN
from swarmnode.executor.port import FileStat
from swarmnode.limits import LISTED_FILES_MAX
from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import Parts, joined, parts_in, text_of
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import FOLDER_FLAGS, NEW_FILE_FLAGS, open_folder, scan

# O_NONBLOCK: a pipe must not make us wait for its other end
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def file_parts(name: str) -> Parts:
    """The name of a file beneath a folder, split. Raises NameRefusedError (OutputUnsafeError)."""
    parts = parts_in(name)
    if not parts:
        raise OutputUnsafeError(f"{name!r} names no file")
    return parts


def open_file(root: str, name: str) -> int:
    """A descriptor to read one regular file beneath `root`; the caller closes it."""
    parts = file_parts(name)
    try:
        fd = _opened(root, parts)
    except OSError as exc:
        raise OutputUnsafeError(f"{name!r} cannot be opened: {exc.strerror}") from exc
    info = os.fstat(fd)
    is_foreign = info.st_nlink > 1 and info.st_uid != os.stat(root).st_uid
    if not stat.S_ISREG(info.st_mode) or is_foreign:
        os.close(fd)
        raise OutputUnsafeError(f"{name!r} is not a regular file of the task")
    return fd


def _opened(root: str, parts: Parts) -> int:
    folder = open_folder(root, parts[:-1])
    try:
        return os.open(parts[-1], _READ, dir_fd=folder)
    finally:
        os.close(folder)


def create_file(root: str, name: str, owner: int) -> int:
    """A descriptor to write a new, empty file beneath `root`; an older one of that name goes.

    Parents are made. `owner` (0: ourselves) gets what is made here.
    """
    parts = file_parts(name)
    try:
        fd = _created(root, parts, owner)
    except OSError as exc:
        raise OutputUnsafeError(f"{name!r} cannot be written: {exc.strerror}") from exc
    if owner:
        os.fchown(fd, owner, owner)
    return fd


def _created(root: str, parts: Parts, owner: int) -> int:
    folder = _made_folder(root, parts[:-1], owner)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(parts[-1], dir_fd=folder)
        return os.open(parts[-1], NEW_FILE_FLAGS, 0o600, dir_fd=folder)
    finally:
        os.close(folder)


def make_place(root: str, name: str, *, is_folder: bool) -> None:
    """A folder or file beneath `root` for something to be mounted on; parents are made.

    What is there stays. Raises OutputUnsafeError, for a link on the way, too.
    """
    parts = file_parts(name)
    try:
        folder = _made_folder(root, parts if is_folder else parts[:-1], 0)
        try:
            if not is_folder:
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                os.close(os.open(parts[-1], flags, 0o600, dir_fd=folder))
        finally:
            os.close(folder)
    except OSError as exc:
        raise OutputUnsafeError(f"a dataset cannot be at {name!r}: {exc.strerror}") from exc


def remove_file(root: str, name: str) -> None:
    """Unlink one file beneath `root`. Raises OSError."""
    parts = file_parts(name)
    folder = open_folder(root, parts[:-1])
    try:
        os.unlink(parts[-1], dir_fd=folder)
    finally:
        os.close(folder)


def _made_folder(root: str, parts: Parts, owner: int) -> int:
    """Open the folder, step by step; what is missing is made for that owner."""
    for depth in range(len(parts)):
        above = open_folder(root, parts[:depth])
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(parts[depth], 0o700, dir_fd=above)
                if owner:
                    os.chown(parts[depth], owner, owner, dir_fd=above, follow_symlinks=False)
        finally:
            os.close(above)
    return open_folder(root, parts)


def list_files(root: str, pattern: str) -> tuple[FileStat, ...]:
    """Regular files beneath `root` whose name matches, in order of name.

    Raises OutputUnsafeError when there are too many to list or to look at.
    """
    meant = Pattern(f"{pattern}**" if pattern.endswith("/") else pattern)
    files = [
        FileStat(text_of(joined(name.parts)), name.size, name.modified_ns)
        for name in scan(root, owned_by=os.stat(root).st_uid).found
        if name.kind is EntryKind.FILE and meant.matches(name.parts)
    ]
    if len(files) > LISTED_FILES_MAX:
        raise OutputUnsafeError(f"more than {LISTED_FILES_MAX} files match {pattern!r}")
    return tuple(sorted(files, key=lambda file: file.name))


def remove_tree(path: str) -> None:
    """Remove a folder and all beneath it, of any depth, whatever the job made of it.

    Not recursive, and one folder open at a time: it goes down by names and up by `..`. Nothing is
    moved: a folder whose names are encrypted by a key that is gone can be emptied, not renamed.
    Raises OSError when something cannot be removed.
    """
    try:
        here = _open_locked(path, None)
    except FileNotFoundError:
        return
    above: list[tuple[str, tuple[int, int], Iterator[str]]] = []
    names = iter(os.listdir(here))
    try:
        while True:
            name = next(names, None)
            if name is None and not above:
                break
            if name is None:
                name, place, names = above.pop()
                here = _gone_to(here, _back(here, place))
                os.rmdir(name, dir_fd=here)
            elif not _unlink_unless_folder(name, here):
                above.append((name, _place_of(here), names))
                here = _gone_to(here, _open_locked(name, here))
                names = iter(os.listdir(here))
    finally:
        os.close(here)
    os.rmdir(path)


def _gone_to(left: int, folder: int) -> int:
    os.close(left)
    return folder


def _back(folder: int, place: tuple[int, int]) -> int:
    """The folder above, which must be the one that we came from: nobody moves it meanwhile."""
    above = os.open("..", FOLDER_FLAGS, dir_fd=folder)
    if _place_of(above) != place:
        os.close(above)
        raise OSError(errno.EXDEV, "a folder was moved while it was removed")
    return above


def _place_of(folder: int) -> tuple[int, int]:
    info = os.fstat(folder)
    return info.st_dev, info.st_ino


def _unlink_unless_folder(name: str, folder: int) -> bool:
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    os.unlink(name, dir_fd=folder)
    return True


def _open_locked(name: str, folder: int | None) -> int:
    """Open a folder even if the job took its owner's rights away."""
    _give_rights(name, folder)
    return os.open(name, FOLDER_FLAGS, dir_fd=folder)


def _give_rights(name: str, folder: int | None) -> None:
    pinned = os.open(name, PIN, dir_fd=folder)
    place = f"/proc/self/fd/{pinned}"
    try:
        if os.stat(place).st_uid != os.geteuid():
            # A task that is a user of its own: only an owner may change rights or empty a sticky
            # folder, unless CAP_FOWNER is held, which we do not ask for.
            os.chown(place, os.geteuid(), -1)
        os.chmod(place, 0o700)
    finally:
        os.close(pinned)
