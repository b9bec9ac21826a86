"""What is in a folder now, looked at as if everything in it were a trap, because it may be.

Every folder is opened relative to its parent and never through a link, so nothing outside is
ever touched, whatever somebody swaps under our feet. Blocking.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from swarmnode.errors import NameRefusedError, TreeChangedError, TreeRefusedError
from swarmnode.limits import TREE_ENTRIES_MAX, WALKED_ENTRIES_MAX, WALKED_NAME_BYTES
from swarmnode.tree.format import RIGHTS, EntryKind, TreeEntry, shown
from swarmnode.tree.limits import PATH_PARTS_MAX, TREE_INDEX_BYTES_MAX
from swarmnode.tree.names import Parts, check_parts, joined

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""Opens what was not there: no file of somebody else, and nothing through a link."""
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Found(msgspec.Struct, frozen=True):
    """One name beneath a folder, as it was at the look."""

    parts: Parts
    kind: EntryKind
    mode: int
    size: int = 0
    modified_ns: int = 0
    changed_ns: int = 0
    """When anything about it changed last: a rename counts, and cannot be set back."""
    inode: tuple[int, int] = (0, 0)
    links: int = 1
    target: bytes = b""

    @property
    def was_placed(self) -> bool:
        """It got its name when it was complete already, as a rename does it."""
        return self.changed_ns > self.modified_ns


class Special(msgspec.Struct, frozen=True):
    """What no tree can hold: a socket, pipe or device."""

    parts: Parts
    kind: str

    def __str__(self) -> str:
        return f"{shown(self.parts)} is a {self.kind}"


class Scan(msgspec.Struct, frozen=True):
    """A look at a folder, in the order of a tree."""

    found: tuple[Found, ...]
    left_out: tuple[Special, ...] = ()
    passed_over: tuple[Parts, ...] = ()
    """What was not taken, folders by their own names only."""


class Choosing(Protocol):
    """Which names a look takes; what it does not enter is not looked at."""

    def enters(self, parts: Parts) -> bool: ...
    def takes(self, parts: Parts) -> bool: ...


NamedT = TypeVar("NamedT", Found, Special)


def open_folder(root: str | int, parts: Parts) -> int:
    """A descriptor of a folder beneath `root`, step by step; the caller closes it.

    Raises OSError: ELOOP or ENOTDIR where a part is a link or a file.
    """
    folder = os.open(root, FOLDER_FLAGS) if isinstance(root, str) else os.dup(root)
    for part in parts:
        try:
            below = os.open(part, FOLDER_FLAGS, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def scan(
    root: str | int,
    base: Parts = (),
    *,
    owned_by: int | None = None,
    entries_max: int = WALKED_ENTRIES_MAX,
    choosing: Choosing | None = None,
) -> Scan:
    """Look at `base` beneath `root` and all that is in it; nothing is found where nothing is.

    With `choosing` only at what that takes. With `owned_by`, a file with several names must be that
    user's: its other names may be anywhere.
    Raises TreeRefusedError when there is too much, or a name that cannot be kept.
    """
    look = _Look(owned_by, entries_max, choosing)
    look.top(root, base)
    while look.folders:
        look.inside(root, look.folders.pop())
    passed_over = tuple(sorted(look.passed_over))
    return Scan(_in_order(look.found), _in_order(look.left_out), passed_over)


def _in_order(names: Iterable[NamedT]) -> tuple[NamedT, ...]:
    return tuple(sorted(names, key=lambda name: name.parts))


class _Look:
    """What a scan has come to."""

    def __init__(self, owned_by: int | None, entries_max: int, choosing: Choosing | None) -> None:
        self.found: list[Found] = []
        self.left_out: list[Special] = []
        self.passed_over: list[Parts] = []
        self.folders: list[Parts] = []
        self._owned_by, self._entries_max, self._choosing = owned_by, entries_max, choosing
        self._bytes_left = entries_max * WALKED_NAME_BYTES
        """Of names and of where links lead: a link of many names needs a disk for one."""

    def top(self, root: str | int, base: Parts) -> None:
        """The folder (or file) itself."""
        above = _opened(root, base[:-1])
        if above is None:
            return
        try:
            if base:
                self._take(base, base[-1], above)
            else:
                self._note(base, os.fstat(above), b"")
        finally:
            os.close(above)

    def inside(self, root: str | int, parts: Parts) -> None:
        """Everything directly in a folder."""
        folder = _opened(root, parts)
        if folder is None:
            return
        try:
            # One after another: a list of all, before they are counted, may be larger than memory.
            with os.scandir(folder) as names:
                for number, entry in enumerate(names):
                    if number > self._entries_max:  # those gone again count: others may come
                        raise self._too_many()
                    name = os.fsencode(entry.name)
                    self._take((*parts, name), name, folder)
        finally:
            os.close(folder)

    def _take(self, parts: Parts, name: bytes, folder: int) -> None:
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            is_link = stat.S_ISLNK(info.st_mode)
            target = os.readlink(name, dir_fd=folder) if is_link else b""
        except FileNotFoundError:
            return  # gone again: a program is at work
        except PermissionError as error:
            raise TreeRefusedError(f"{shown(parts)} cannot be read: {error.strerror}") from error
        if self._is_chosen(parts, info.st_mode):
            self._note(parts, info, target)
        elif len(self.passed_over) < self._entries_max:
            self.passed_over.append(parts)

    def _is_chosen(self, parts: Parts, mode: int) -> bool:
        if self._choosing is None:
            return True
        is_folder = stat.S_ISDIR(mode)
        return self._choosing.enters(parts) if is_folder else self._choosing.takes(parts)

    def _note(self, parts: Parts, info: os.stat_result, target: bytes) -> None:
        seen = len(self.found) + len(self.left_out) + len(self.passed_over)
        if seen >= self._entries_max:
            raise self._too_many()
        kind = _kind_of(info.st_mode)
        if kind is None:
            self.left_out.append(Special(parts, _special(info.st_mode)))
            return
        self._bytes_left -= len(parts[-1] if parts else b"") + len(target)
        if self._bytes_left < 0:
            raise TreeRefusedError("the names and links are too long: pack them into fewer files")
        self._check(parts, kind, info)
        if kind is EntryKind.FOLDER and len(parts) <= PATH_PARTS_MAX:
            self.folders.append(parts)
        self.found.append(_found_as(parts, kind, info, target))

    def _too_many(self) -> TreeRefusedError:
        return TreeRefusedError(f"more than {self._entries_max} names: pack them into fewer files")

    def _check(self, parts: Parts, kind: EntryKind, info: os.stat_result) -> None:
        """Raises TreeRefusedError for a name that cannot be kept."""
        try:
            check_parts(parts)
        except NameRefusedError as error:
            raise TreeRefusedError(str(error)) from error
        is_shared = kind is EntryKind.FILE and info.st_nlink > 1
        if is_shared and self._owned_by is not None and info.st_uid != self._owned_by:
            raise TreeRefusedError(f"{shown(parts)} is another user's file under one more name")


def _found_as(parts: Parts, kind: EntryKind, info: os.stat_result, target: bytes) -> Found:
    return Found(
        parts,
        kind,
        0 if kind is EntryKind.LINK else stat.S_IMODE(info.st_mode) & RIGHTS,
        info.st_size if kind is EntryKind.FILE else 0,
        info.st_mtime_ns,
        info.st_ctime_ns,
        (info.st_dev, info.st_ino),
        info.st_nlink,
        target,
    )


def _opened(root: str | int, parts: Parts) -> int | None:
    """The folder; None when it is not there, or no folder (any more). Raises TreeRefusedError."""
    try:
        return open_folder(root, parts)
    except PermissionError as error:
        raise TreeRefusedError(f"{shown(parts)} cannot be read: {error.strerror}") from error
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return None


def inside_of(*folders: bytes) -> Callable[[bytes], bytes]:
    """Turns an absolute path into one from a tree's own folder, which goes by these names."""

    def rest(target: bytes) -> bytes:
        for folder in folders:
            if target.rstrip(b"/") == folder:
                return b"."
            if target.startswith(folder + b"/"):
                return target[len(folder) + 1 :]
        return target

    return rest


def _kind_of(mode: int) -> EntryKind | None:
    if stat.S_ISREG(mode):
        return EntryKind.FILE
    if stat.S_ISDIR(mode):
        return EntryKind.FOLDER
    return EntryKind.LINK if stat.S_ISLNK(mode) else None


def _special(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "socket"
    return "pipe" if stat.S_ISFIFO(mode) else "device"


def entries_of(
    seen: Sequence[Found], base: Parts, *, inside: Callable[[bytes], bytes] = bytes
) -> tuple[TreeEntry, ...]:
    """The entries of a tree whose own folder is `base`; what is found must be in order.

    A second name of a file becomes one here too. `inside` (see `inside_of`) makes links
    relative that lead into the folder by its absolute name; other absolute ones lead out.
    Raises TreeRefusedError.
    """
    _check_size(seen, base)
    first: dict[tuple[int, int], bytes] = {}
    entries: list[TreeEntry] = []
    for name in seen:
        parts = name.parts[len(base) :]
        path = joined(parts)
        if name.kind is EntryKind.FILE and name.links > 1 and name.inode in first:
            entries.append(TreeEntry(path, EntryKind.NAME, target=first[name.inode]))
            continue
        if name.kind is EntryKind.FILE:
            first[name.inode] = path
        target = relative(name.target, len(parts) - 1, inside)
        entries.append(TreeEntry(path, name.kind, name.mode, name.size, target))
    return tuple(entries)


def _check_size(seen: Sequence[Found], base: Parts) -> None:
    """Before any whole name is made: each may be as long as all folders above it together."""
    if len(seen) > TREE_ENTRIES_MAX:
        raise TreeRefusedError(
            f"{len(seen)} names in one tree, limit {TREE_ENTRIES_MAX}: split the folder"
        )
    size = sum(sum(map(len, name.parts[len(base) :])) + len(name.target) for name in seen)
    if size > TREE_INDEX_BYTES_MAX:
        raise TreeRefusedError(
            f"the names take {size} bytes, limit {TREE_INDEX_BYTES_MAX}: split the folder"
        )


def relative(target: bytes, depth: int, inside: Callable[[bytes], bytes]) -> bytes:
    """Of a link that lies so many folders deep; one that leads out stays absolute."""
    if not target.startswith(b"/") or (within := inside(target)).startswith(b"/"):
        return target
    return b"/".join([b".."] * depth + [within])


def same_file(file: Found, info: os.stat_result, *, may_grow: bool = False) -> bool:
    """Whether an opened file is the one that was found, with not a byte changed since."""
    if may_grow and info.st_size > file.size:
        return file.inode == (info.st_dev, info.st_ino)
    was = (file.inode, file.size, file.modified_ns)
    return was == ((info.st_dev, info.st_ino), info.st_size, info.st_mtime_ns)


def changed(file: Found) -> TreeChangedError:
    """The error that says which file did not rest."""
    return TreeChangedError(f"{shown(file.parts)} changed while it was read")
