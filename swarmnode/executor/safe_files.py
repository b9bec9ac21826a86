"""Files of a work folder, touched as if everything in it were a trap, because it may be.

Names are checked, every directory is opened relative to its parent and never through a link, and
only plain files with one name are read: so a link, a pipe, a device, a second name of some other
file, or a swap under our feet gives OutputUnsafeError and never a byte from elsewhere.
"""

import contextlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

from swarmnode.errors import OutputUnsafeError
from swarmnode.executor.port import FileStat
from swarmnode.limits import (
    FILE_NAME_BYTES_MAX,
    LISTED_FILES_MAX,
    PATH_PARTS_MAX,
    WALKED_ENTRIES_MAX,
)

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIN: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PART_BYTES_MAX: Final = 255  # NAME_MAX of Linux


def parts_of(name: str) -> tuple[str, ...]:
    """A relative name as its parts, or OutputUnsafeError for one no honest task would use.

    Refused: absolute, `..`, hidden, empty or overlong parts, backslashes, control characters,
    other spellings of the same text (not NFC), and bytes that are no text.
    """
    parts = tuple(name.split("/"))
    if not 1 <= len(parts) <= PATH_PARTS_MAX:
        raise OutputUnsafeError(f"{name!r} lies more than {PATH_PARTS_MAX} folders deep")
    if len(name.encode(errors="replace")) > FILE_NAME_BYTES_MAX:
        raise OutputUnsafeError(f"a name of more than {FILE_NAME_BYTES_MAX} bytes")
    for part in parts:
        if not _is_plain(part):
            raise OutputUnsafeError(f"{name!r} is not a plain relative name")
    return parts


def _is_plain(part: str) -> bool:
    if not part or part.startswith((".", "-")) or "\\" in part or part != part.strip():
        return False
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for char in part):
        return False
    return unicodedata.is_normalized("NFC", part) and len(part.encode()) <= _PART_BYTES_MAX


def open_file(root: str, name: str) -> int:
    """A descriptor to read one plain file beneath `root`; the caller closes it."""
    *folders, last = parts_of(name)
    try:
        folder = _descend(root, folders)
        try:
            # O_NONBLOCK: a pipe must not make us wait for its other end
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            fd = os.open(last, flags, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise OutputUnsafeError(f"{name!r} cannot be opened: {exc.strerror}") from exc
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        os.close(fd)
        raise OutputUnsafeError(f"{name!r} is not a plain file with one name")
    return fd


def create_file(root: str, name: str, owner: int) -> int:
    """A descriptor to write a new, empty file beneath `root`; an older one of that name goes.

    Parents are made. `owner` (0: ourselves) gets what is made here.
    """
    *folders, last = parts_of(name)
    try:
        folder = _descend(root, folders, make_for=owner)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(last, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(last, flags, 0o600, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise OutputUnsafeError(f"{name!r} cannot be written: {exc.strerror}") from exc
    if owner:
        os.fchown(fd, owner, owner)
    return fd


def remove_file(root: str, name: str) -> None:
    """Unlink one file beneath `root`. Raises OSError."""
    *folders, last = parts_of(name)
    folder = _descend(root, folders)
    try:
        os.unlink(last, dir_fd=folder)
    finally:
        os.close(folder)


def _descend(root: str, folders: list[str], make_for: int | None = None) -> int:
    """Open the folder, step by step. With `make_for` missing ones are made for that owner."""
    folder = os.open(root, _FOLDER)
    for part in folders:
        try:
            if make_for is not None:
                _make_folder(part, folder, make_for)
            below = os.open(part, _FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def _make_folder(part: str, folder: int, owner: int) -> None:
    try:
        os.mkdir(part, 0o700, dir_fd=folder)
    except FileExistsError:
        return
    if owner:
        os.chown(part, owner, owner, dir_fd=folder, follow_symlinks=False)


def list_files(root: str, pattern: str) -> tuple[FileStat, ...]:
    """Plain files beneath `root` whose name matches, in order of name.

    `*` and `?` stay within one part, `**` spans parts, a pattern that ends in `/` means all
    beneath. Files with names or of kinds that could not be read are not listed. Raises
    OutputUnsafeError when there are too many to list or to look at.
    """
    matches = matcher(pattern)
    found: list[FileStat] = []
    for name, info in _walk(root):
        if not matches(name):
            continue
        found.append(FileStat(name, info.st_size, info.st_mtime_ns))
        if len(found) > LISTED_FILES_MAX:
            raise OutputUnsafeError(
                f"more than {LISTED_FILES_MAX} files match {pattern!r}: pack them into one"
            )
    return tuple(sorted(found, key=lambda file: file.name))


def matcher(pattern: str) -> Callable[[str], object]:
    """Whether a relative name matches a glob, as `list_files` has it."""
    if pattern.endswith("/"):
        pattern += "**"
    out = ""
    for piece in re.findall(r"\*\*/?|\*|\?|[^*?]+", pattern.removeprefix("./")):
        out += {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(
            piece, re.escape(piece)
        )
    return re.compile(out).fullmatch


def _walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every plain file that could be read, with its name."""
    seen = 0
    stack: list[tuple[str, ...]] = [()]
    while stack:
        parts = stack.pop()
        folder = _open_folder(root, parts)
        if folder is None:
            continue
        try:
            for name in os.listdir(folder):
                seen += 1
                if seen > WALKED_ENTRIES_MAX:
                    raise OutputUnsafeError(f"more than {WALKED_ENTRIES_MAX} entries")
                info = _look(name, folder) if _is_plain(name) else None
                if info is None:
                    continue
                if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
                    yield "/".join((*parts, name)), info
                elif stat.S_ISDIR(info.st_mode) and len(parts) < PATH_PARTS_MAX - 1:
                    stack.append((*parts, name))
        finally:
            os.close(folder)


def _look(part: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(part, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None  # gone again: the task is at work


def _open_folder(root: str, parts: tuple[str, ...]) -> int | None:
    try:
        return _descend(root, list(parts))
    except OSError:
        return None


def remove_tree(path: str) -> None:
    """Remove a folder and all beneath it, of any depth, whatever the job made of it.

    Not recursive: subfolders are pulled up to the top one by one, so neither the stack nor the
    number of open files grows with depth. Raises OSError when something cannot be removed.
    """
    try:
        top = _open_locked(path, None)
    except FileNotFoundError:
        return
    try:
        counter, token = 0, os.urandom(8).hex()  # the job cannot have made these names
        while names := os.listdir(top):
            for name in names:
                if _unlink_unless_folder(name, top):
                    continue
                below = _open_locked(name, top)
                try:
                    for inner in os.listdir(below):
                        if not _unlink_unless_folder(inner, below):
                            counter += 1
                            _give_rights(inner, below)  # a folder's `..` changes with the move
                            os.rename(inner, f"{token}{counter}", src_dir_fd=below, dst_dir_fd=top)
                finally:
                    os.close(below)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _unlink_unless_folder(name: str, folder: int) -> bool:
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    os.unlink(name, dir_fd=folder)
    return True


def _open_locked(name: str, folder: int | None) -> int:
    """Open a folder even if the job took its owner's rights away."""
    _give_rights(name, folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def _give_rights(name: str, folder: int | None) -> None:
    pinned = os.open(name, _PIN, dir_fd=folder)
    place = f"/proc/self/fd/{pinned}"
    try:
        if os.stat(place).st_uid != os.geteuid():
            # A task that is a user of its own: only an owner may change rights or empty a sticky
            # folder, unless CAP_FOWNER is held, which we do not ask for.
            os.chown(place, os.geteuid(), -1)
        os.chmod(place, 0o700)
    finally:
        os.close(pinned)
