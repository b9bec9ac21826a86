"""From a folder of results into the project: never through a link, never over what only we have.

Every folder of the project is opened step by step from its root, so nothing lands elsewhere,
whatever a task or an earlier one has left there. What cannot be placed is named, and the rest is
placed. Blocking.
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.limits import NAME_PART_BYTES_MAX
from swarmnode.project.landing import FileMark, Landing, landing_of
from swarmnode.project.rules import NEVER
from swarmnode.tree.format import EntryKind
from swarmnode.tree.names import Parts, joined, text_of
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import FOLDER_FLAGS, Found, open_folder, scan

_SHORT_NAME: Final = re.compile(rb"(?:git|hg|svn|jj|swarm)~[0-9]+", re.IGNORECASE)
"""What a file system of eight letters calls them."""
_REPOSITORY: Final = frozenset({b"head", b"objects", b"refs"})
_SUFFIX_ROOM: Final = 24
"""Kept free at the end of a name that gets a suffix."""
_NO_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})
"""A file system that has no second names, or none from there."""
_COPIED_BYTES: Final = 1 << 20


def is_history(name: bytes) -> bool:
    """Whether that is, on some file system, the folder of a repository or ours in a project."""
    plain = name.rstrip(b". ").lower()
    return plain in NEVER or _SHORT_NAME.fullmatch(plain) is not None


class Brought(msgspec.Struct):
    """What became of the results."""

    files: int = 0
    beside: list[str] = msgspec.field(default_factory=list)
    """Places that were taken otherwise than their own, which a file of ours has."""
    refused: list[str] = msgspec.field(default_factory=list)
    """What was not placed, each with why."""
    marks: dict[Parts, FileMark] = msgspec.field(default_factory=dict)
    """Every file that was placed, as it lies now."""

    def add(self, other: "Brought") -> None:
        """What became of more of them."""
        self.files += other.files
        self.beside += other.beside
        self.refused += other.refused
        self.marks |= other.marks


class Placer:
    """The results of one task on their way from `source` to the folder behind `root`."""

    def __init__(
        self,
        source: Path,
        root: int,
        known: Mapping[Parts, FileMark],
        patterns: Sequence[str],
        suffix: bytes,
        *,
        passes_over: bool = False,
    ) -> None:
        """`known` may give way; `patterns` say what was asked for; `suffix` ends other names.

        `passes_over`: nobody need hear of what was not asked for.
        """
        self._passes_over = passes_over
        self._source, self._root, self._known, self._suffix = source, root, known, suffix
        self._patterns = [Pattern(pattern) for pattern in patterns]
        self.placed = Brought()
        """What became of them until now."""
        self._places: dict[Parts, Parts] = {(): ()}
        """By folder of the results, where it is in the project; none for one that is refused."""
        self._names_in: dict[Parts, set[bytes]] = {}
        """By folder of the results, what lies in it, in small letters."""
        self._rights = 0o777
        """Those that whoever brings them gives to files."""
        self._made: list[tuple[Parts, int]] = []
        """Folders that were made, with the rights they get in the end."""
        self._histories = set(filter(None, (self._inode((name,)) for name in NEVER)))

    def place(self) -> Brought:
        """All of them; what fails is told by `refused`."""
        os.umask(umask := os.umask(0o077))
        self._rights = ~umask & 0o777
        os.chmod(self._source, stat.S_IRWXU)
        modes = _opened_up(self._source)
        found = [name for name in scan(str(self._source)).found if name.parts]
        asked = [name for name in found if self._is_asked(name)]
        for name in found:
            self._names_in.setdefault(name.parts[:-1], set()).add(name.parts[-1].lower())
        if self._is_repository((), self._root):
            return self._refused_whole()
        wanted = {name.parts[:depth] for name in asked for depth in range(len(name.parts) + 1)}
        for name in found:
            above = self._places.get(name.parts[:-1])
            if above is None:
                continue
            if name.parts not in wanted:
                if not self._passes_over:
                    self._refuse(name, "was not asked for")
                continue
            try:
                self._one(name, above, modes.get(name.parts, name.mode))
            except OSError as error:
                self._refuse(name, error.strerror or str(error))
        self._give_rights()
        return self.placed

    def _refused_whole(self) -> Brought:
        self.placed.refused.append("the results: with what is there they would be a repository")
        return self.placed

    def _is_repository(self, parts: Parts, folder: int) -> bool:
        """Whether the folder, with what would come to it, is one as git makes them for servers.

        Its configuration names programs that git runs, whoever looks at it.
        """
        here = {os.fsencode(name).lower() for name in os.listdir(folder)}
        return self._names_in.get(parts, set()) | here >= _REPOSITORY

    def _is_asked(self, name: Found) -> bool:
        """Whether a pattern means it, or a folder that it lies in."""
        for depth in range(len(name.parts) + 1):
            is_folder = depth < len(name.parts) or name.kind is EntryKind.FOLDER
            for pattern in self._patterns:
                if (is_folder or not pattern.is_folder) and pattern.matches(name.parts[:depth]):
                    return True
        return False

    def _one(self, name: Found, above: Parts, mode: int) -> None:
        into_history = any(map(is_history, name.target.split(b"/")))
        if is_history(name.parts[-1]) or into_history:
            self._refuse(name, "is, or leads into, what a repository runs by itself")
        elif name.kind is EntryKind.FOLDER:
            self._folder(name, above, mode)
        else:
            self._file(name, above)

    def _refuse(self, name: Found, why: str) -> None:
        self.placed.refused.append(f"{text_of(joined(name.parts))}: {why}")

    # -- folders

    def _folder(self, name: Found, above: Parts, mode: int) -> None:
        place = (*above, name.parts[-1])
        folder = open_folder(self._root, above)
        try:
            if not self._made_at(folder, place, mode) and not _is_folder(place[-1], folder):
                place = self._made_beside(folder, place, mode)
        finally:
            os.close(folder)
        inner = open_folder(self._root, place)
        try:
            info = os.fstat(inner)
            is_history = (info.st_dev, info.st_ino) in self._histories
            if is_history or self._is_repository(name.parts, inner):
                self._refuse(name, "is a repository, or would be one")
                return
        finally:
            os.close(inner)
        self._places[name.parts] = place

    def _made_at(self, folder: int, place: Parts, mode: int) -> bool:
        try:
            os.mkdir(place[-1], 0o700, dir_fd=folder)
        except FileExistsError:
            return False
        self._made.append((place, mode))
        return True

    def _made_beside(self, folder: int, place: Parts, mode: int) -> Parts:
        """A file or link of ours has its name."""
        number = 1
        while not self._made_at(folder, beside := _beside(place, self._suffix, number), mode):
            number += 1
        self.placed.beside.append(text_of(joined(beside)))
        return beside

    def _give_rights(self) -> None:
        for place, mode in reversed(self._made):
            with suppress(OSError):  # it was moved away meanwhile
                folder = open_folder(self._root, place)
                os.fchmod(folder, mode & self._rights)
                os.close(folder)

    # -- files and links

    def _file(self, name: Found, above: Parts) -> None:
        source = self._source.joinpath(*map(os.fsdecode, name.parts))
        if name.kind is not EntryKind.LINK:
            os.chmod(source, name.mode & self._rights)
        folder = open_folder(self._root, above)
        try:
            landing = self._landed(source, (*above, name.parts[-1]), folder)
            mark = _mark_at(landing.place[-1], folder)
        finally:
            os.close(folder)
        self.placed.files += 1
        if mark is not None:
            self.placed.marks[landing.place] = mark
        if landing.is_beside:
            self.placed.beside.append(text_of(joined(landing.place)))

    def _landed(self, source: Path, name: Parts, folder: int) -> Landing:
        """Where it lies now; what comes there meanwhile is not lost."""
        while True:
            landing = landing_of(
                name,
                lambda place: _mark_at(place[-1], folder),
                self._known,
                lambda place, number: _beside(place, self._suffix, number),
            )
            is_free = _mark_at(landing.place[-1], folder) is None
            try:
                _move(source, landing.place[-1], folder, is_free=is_free)
            except FileExistsError:
                continue
            return landing

    def _inode(self, place: Parts) -> tuple[int, int] | None:
        """Which folder lies there, whatever it is called; None: none."""
        try:
            folder = open_folder(self._root, place)
        except OSError:
            return None
        info = os.fstat(folder)
        os.close(folder)
        return info.st_dev, info.st_ino


def _beside(place: Parts, suffix: bytes, number: int) -> Parts:
    more = b"" if number == 1 else b"-%d" % number
    return (*place[:-1], place[-1][: NAME_PART_BYTES_MAX - _SUFFIX_ROOM] + suffix + more)


def _opened_up(source: Path) -> dict[Parts, int]:
    """Let us into every folder of the results; their rights as they were."""
    modes: dict[Parts, int] = {}
    waiting: list[Parts] = [()]
    while waiting:
        parts = waiting.pop()
        with os.scandir(source.joinpath(*map(os.fsdecode, parts))) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    inner = (*parts, os.fsencode(entry.name))
                    modes[inner] = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                    os.chmod(entry.path, modes[inner] | stat.S_IRWXU)
                    waiting.append(inner)
    return modes


def _is_folder(name: bytes, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _mark_at(name: bytes, folder: int) -> FileMark | None:
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return FileMark(info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)


def _move(source: Path, name: bytes, folder: int, *, is_free: bool) -> None:
    """In one step, also to another file system. Raises FileExistsError: it is not free."""
    if is_free:
        try:
            os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)
            os.unlink(source)  # now: it changes the time by which we know the file again
            return
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
    try:
        os.rename(source, name, dst_dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = name[: NAME_PART_BYTES_MAX - _SUFFIX_ROOM] + b".part%d" % os.getpid()
        _copy(source, part, folder)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)


def _copy(source: Path, name: bytes, folder: int) -> None:
    if source.is_symlink():
        os.symlink(os.readlink(source), name, dir_fd=folder)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    mode = stat.S_IMODE(source.lstat().st_mode)
    with source.open("rb") as read, open(os.open(name, flags, mode, dir_fd=folder), "wb") as write:
        is_whole = False
        try:
            shutil.copyfileobj(read, write, _COPIED_BYTES)
            os.fchmod(write.fileno(), mode)
            is_whole = True
        finally:
            if not is_whole:  # a full disk, or Ctrl-C
                os.unlink(name, dir_fd=folder)


def root_folder(root: Path) -> int:
    """A descriptor of the project's folder, for a Placer; the caller closes it."""
    return os.open(root, FOLDER_FLAGS & ~os.O_NOFOLLOW)
