"""What a mount shows: folders, files and links by number. Built once, then only looked at."""

import stat
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from swarmnode.errors import TreeRefusedError
from swarmnode.limits import LINK_BYTES_MAX, NAME_PART_BYTES_MAX, TREE_ENTRIES_MAX

ROOT: Final = 1
"""The number of the mount's own folder or file: the protocol says so."""
_READABLE, _EXECUTABLE = 0o444, 0o111
_SIZE_MAX: Final = (1 << 63) - 1


class ContentPlace(msgspec.Struct, frozen=True):
    """Where a file's bytes are: from `offset` on in that part of the dataset."""

    part: int = 0
    offset: int = 0
    key: bytes = b""
    """Under which they are there; empty: as they are."""
    within: int = 0
    """The same place in the file."""
    is_all: bool = False
    """That part is this file, and nothing else."""

    def after(self, count: int) -> "ContentPlace":
        """So many bytes on."""
        return ContentPlace(
            self.part, self.offset + count, self.key, self.within + count, self.is_all
        )


class Inode(msgspec.Struct, frozen=True):
    """One folder, file or link."""

    mode: int
    """Kind and rights, as stat(2) has it."""
    size: int
    """Bytes of a file, or of a link's target."""
    parent: int
    """Of a folder: the one it lies in; the root is its own."""
    place: ContentPlace = ContentPlace()
    target: bytes = b""
    """Where a link leads."""


class Inodes:
    """The whole of it, by number."""

    def __init__(self, root: Inode) -> None:
        self._nodes = [root, root]
        """By number; nobody has 0."""
        self._names: dict[int, dict[bytes, int]] = {ROOT: {}}
        """What is in each folder, in order."""
        self._listed: dict[int, tuple[tuple[bytes, int], ...]] = {}
        """The same as it is read by position; made when it is first asked for."""

    def get(self, number: int) -> Inode | None:
        """None for a number that nobody was told."""
        return self._nodes[number] if 0 < number < len(self._nodes) else None

    def names(self, folder: int) -> Mapping[bytes, int]:
        """Empty for what is no folder."""
        return self._names.get(folder, {})

    def listed(self, folder: int) -> Sequence[tuple[bytes, int]]:
        """All names of a folder with their numbers, `.` and `..` first."""
        if folder not in self._listed:
            around = ((b".", folder), (b"..", self._nodes[folder].parent))
            self._listed[folder] = (*around, *self._names[folder].items())
        return self._listed[folder]

    def __len__(self) -> int:
        return len(self._nodes) - 1

    def add_folder(self, parent: int, name: bytes, mode: int) -> int:
        """Its number. Raises TreeRefusedError, as the others do."""
        number = self._add(parent, name, Inode(folder_mode(mode), 0, parent))
        self._names[number] = {}
        return number

    def add_file(self, parent: int, name: bytes, mode: int, size: int, place: ContentPlace) -> int:
        """`mode`: its rights, of which everybody gets to read."""
        return self._add(parent, name, file_inode(mode, size, place, parent))

    def add_link(self, parent: int, name: bytes, target: bytes) -> int:
        """A symbolic link, which is followed inside the task alone."""
        if not 0 < len(target) <= LINK_BYTES_MAX or b"\0" in target:
            raise TreeRefusedError(f"a link leads to {len(target)} bytes that are no path")
        mode = stat.S_IFLNK | _READABLE | _EXECUTABLE
        return self._add(parent, name, Inode(mode, len(target), parent, target=target))

    def add_name(self, parent: int, name: bytes, number: int) -> None:
        """One more name of a file."""
        node = self.get(number)
        if node is None or not stat.S_ISREG(node.mode):
            raise TreeRefusedError("a second name is for a file")
        self._check(parent, name)
        self._names[parent][name] = number

    def _add(self, parent: int, name: bytes, node: Inode) -> int:
        self._check(parent, name)
        self._nodes.append(node)
        number = self._names[parent][name] = len(self._nodes) - 1
        return number

    def _check(self, parent: int, name: bytes) -> None:
        if parent not in self._names or not stat.S_ISDIR(self._nodes[parent].mode):
            raise TreeRefusedError("a name lies in what is no folder")
        if not 0 < len(name) <= NAME_PART_BYTES_MAX or name in (b".", b".."):
            raise TreeRefusedError(f"a name of {len(name)} bytes cannot be shown")
        if b"/" in name or b"\0" in name or name in self._names[parent]:
            raise TreeRefusedError(f"the name {name!r} cannot be shown, or is there twice")
        if len(self._nodes) > TREE_ENTRIES_MAX + 1:
            raise TreeRefusedError(f"more than {TREE_ENTRIES_MAX} names in one dataset")


def folder_mode(mode: int) -> int:
    """Everybody may look into it; nobody writes."""
    return stat.S_IFDIR | _READABLE | _EXECUTABLE | mode & 0o555


def file_inode(mode: int, size: int, place: ContentPlace, parent: int = ROOT) -> Inode:
    """A file; whoever has the data may read all of it, and run what somebody may run."""
    if not (0 <= size <= _SIZE_MAX and 0 <= place.offset <= _SIZE_MAX - size):
        raise TreeRefusedError(f"a file of {size} bytes from {place.offset} on")
    runs = _EXECUTABLE if mode & _EXECUTABLE else 0
    return Inode(stat.S_IFREG | _READABLE | runs, size, parent, place)
