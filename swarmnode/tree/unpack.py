"""From the bytes of a tree to a folder: checked before anything is made, nothing made outside.

Folders come first, then contents as they arrive, links last: nothing is ever written through a
link, neither one of the tree nor one that somebody put there meanwhile. Blocking.
"""

import contextlib
import os
import stat
from typing import Final

from swarmnode.errors import TreeRefusedError
from swarmnode.tree.format import (
    HEAD_BYTES_MAX,
    LENGTH_BYTES,
    MAGIC,
    EntryKind,
    TreeEntry,
    TreeHead,
    TreeIndex,
    read_head,
    read_pages,
    shown,
)
from swarmnode.tree.holes import SparseFile
from swarmnode.tree.names import Parts
from swarmnode.tree.scan import FOLDER_FLAGS, NEW_FILE_FLAGS, open_folder

NAMELESS: Final = "it is one file and no folder: give it a name, such as NAME=swarm:..."


class IndexReader:
    """Takes the first bytes of a tree, however they are cut, until its index is whole."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._head: TreeHead | None = None

    def feed(self, data: bytes) -> tuple[TreeIndex, bytes] | None:
        """The index and the bytes that follow it, once it is there. Raises TreeRefusedError."""
        self._held += data
        if not self._held.startswith(MAGIC[: len(self._held)]):
            raise TreeRefusedError("these bytes are not a folder")
        start = len(MAGIC) + LENGTH_BYTES
        if len(self._held) < start:
            return None
        length = int.from_bytes(self._held[len(MAGIC) : start])
        if length > HEAD_BYTES_MAX:
            raise TreeRefusedError("the head of the tree is too long")
        return self._read(start, start + length)

    def _read(self, start: int, pages: int) -> tuple[TreeIndex, bytes] | None:
        """The head is from `start` to where the pages begin."""
        if self._head is None and len(self._held) >= pages:
            self._head = read_head(bytes(self._held[start:pages]))
        if self._head is None or len(self._held) < pages + self._head.index_bytes:
            return None
        end = pages + self._head.index_bytes
        index = read_pages(self._head, bytes(self._held[pages:end]))
        return index, bytes(self._held[end:])


class Unpacker:
    """One tree on its way into `base` beneath `root`; parents are made, older files replaced.

    Feed it all bytes, then `finish`; `close` in any case. `owner` (0: ourselves) gets all of it.
    Raises TreeRefusedError for the tree's fault and OSError for the machine's.
    """

    def __init__(self, root: str | int, base: Parts, owner: int = 0) -> None:
        self._root, self._base, self._owner = root, base, owner
        self._reader = IndexReader()
        self.index: TreeIndex | None = None
        self._files: list[TreeEntry] = []
        self._next = 0
        self._left = 0
        self._file: SparseFile | None = None
        """The file whose bytes come now."""
        self._made: set[tuple[int, int]] = set()
        """Inodes of this tree: a file system that takes two names for one shows here."""
        self._above: tuple[Parts, int] | None = None
        """The folder of the file that came last, and its descriptor."""

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        if self.index is None:
            whole = self._reader.feed(data)
            if whole is None:
                return
            self.index, data = whole
            self._begin(self.index)
        view = memoryview(data)
        while view:
            if self._file is None:
                raise TreeRefusedError("bytes follow the end of the tree")
            piece = view[: self._left]
            self._file.write(piece)
            view = view[len(piece) :]
            self._left -= len(piece)
            if not self._left:
                self._file.end()
                self._open_next()

    def finish(self) -> TreeIndex:
        """All bytes were fed: links and rights follow."""
        if self.index is None or self._file is not None:
            raise TreeRefusedError("the tree ends early")
        for entry in self.index.entries:
            if entry.kind in (EntryKind.LINK, EntryKind.NAME):
                self._link(entry)
        for entry in reversed(self.index.entries):
            if entry.kind is EntryKind.FOLDER and (entry.parts or self._base):
                self._set_rights(entry)
        return self.index

    def close(self) -> None:
        """Let go of what is open."""
        self._end_file()
        self._let_go()

    def _end_file(self) -> None:
        if self._file is not None:
            os.close(self._file.fd)
            self._file = None

    # -- inside

    def _begin(self, index: TreeIndex) -> None:
        if index.is_file and not self._base:
            raise TreeRefusedError(NAMELESS)
        self._make_folders(index)
        self._files = [entry for entry in index.entries if entry.kind is EntryKind.FILE]
        self._open_next()

    def _make_folders(self, index: TreeIndex) -> None:
        above = self._base[:-1] if index.is_file else self._base
        for depth in range(1, len(above) + 1):
            is_own = depth == len(self._base) and not index.is_file
            self._make_folder(above[:depth], is_tree=is_own)
        for entry in index.entries:
            if entry.kind is EntryKind.FOLDER and entry.parts:
                self._make_folder((*self._base, *entry.parts), is_tree=True)

    def _make_folder(self, parts: Parts, *, is_tree: bool) -> None:
        """Rights come last: a folder that may not be written must be filled first."""
        folder, is_new = self._folder_at(parts)
        try:
            info = os.fstat(folder)
            if is_new and self._owner:
                os.fchown(folder, self._owner, self._owner)
            elif is_tree and not is_new:
                os.fchmod(folder, 0o700)
            if is_tree:
                self._note(info, parts)
        finally:
            os.close(folder)

    def _folder_at(self, parts: Parts) -> tuple[int, bool]:
        """A descriptor of the folder, and whether it was made now."""
        above = open_folder(self._root, parts[:-1])
        try:
            is_new = _mkdir(parts[-1], above)
            return os.open(parts[-1], FOLDER_FLAGS, dir_fd=above), is_new
        except OSError as error:
            raise _in_the_way(parts, error) from error
        finally:
            os.close(above)

    def _note(self, info: os.stat_result, parts: Parts) -> None:
        inode = (info.st_dev, info.st_ino)
        if inode in self._made:
            raise TreeRefusedError(f"{shown(parts)} and another name are one to this file system")
        self._made.add(inode)

    def _open_next(self) -> None:
        """The next file that has bytes; those without are made on the way."""
        self._end_file()
        while self._next < len(self._files):
            entry = self._files[self._next]
            self._next += 1
            fd = self._create(entry)
            if entry.size:
                self._file, self._left = SparseFile(fd), entry.size
                return
            os.close(fd)

    def _create(self, entry: TreeEntry) -> int:
        parts = (*self._base, *entry.parts)
        fd = self._open_new(parts)
        try:
            self._note(os.fstat(fd), parts)
            if self._owner:
                os.fchown(fd, self._owner, self._owner)
            os.fchmod(fd, entry.mode)
        except (OSError, TreeRefusedError):
            os.close(fd)
            raise
        return fd

    def _open_new(self, parts: Parts) -> int:
        above = self._folder_of(parts)
        try:
            self._clear(parts, above)
            return os.open(parts[-1], NEW_FILE_FLAGS, 0o600, dir_fd=above)
        except OSError as error:
            raise _in_the_way(parts, error) from error

    def _folder_of(self, parts: Parts) -> int:
        """The folder a file is to be in; neighbours share its descriptor."""
        if self._above is None or self._above[0] != parts[:-1]:
            folder = open_folder(self._root, parts[:-1])
            self._let_go()
            self._above = (parts[:-1], folder)
        return self._above[1]

    def _let_go(self) -> None:
        if self._above is not None:
            os.close(self._above[1])
            self._above = None

    def _clear(self, parts: Parts, above: int) -> None:
        """Take away an older file or link of that name; one of this very tree is a clash."""
        with contextlib.suppress(FileNotFoundError):
            info = os.stat(parts[-1], dir_fd=above, follow_symlinks=False)
            if (info.st_dev, info.st_ino) in self._made:
                raise TreeRefusedError(
                    f"{shown(parts)} and another name are one to this file system"
                )
            if stat.S_ISDIR(info.st_mode):
                raise TreeRefusedError(f"{shown(parts)} is a folder here already")
            os.unlink(parts[-1], dir_fd=above)

    def _link(self, entry: TreeEntry) -> None:
        parts = (*self._base, *entry.parts)
        above = open_folder(self._root, parts[:-1])
        try:
            self._clear(parts, above)
            if entry.kind is EntryKind.LINK:
                self._make_link(parts[-1], above, entry.target)
            else:
                self._name_again((*self._base, *entry.target.split(b"/")), parts[-1], above)
        finally:
            os.close(above)

    def _make_link(self, name: bytes, above: int, target: bytes) -> None:
        os.symlink(target, name, dir_fd=above)
        if self._owner:
            os.chown(name, self._owner, self._owner, dir_fd=above, follow_symlinks=False)

    def _name_again(self, first: Parts, name: bytes, above: int) -> None:
        """One more name for a file of this tree."""
        source = open_folder(self._root, first[:-1])
        try:
            os.link(first[-1], name, src_dir_fd=source, dst_dir_fd=above, follow_symlinks=False)
        finally:
            os.close(source)

    def _set_rights(self, entry: TreeEntry) -> None:
        folder = open_folder(self._root, (*self._base, *entry.parts))
        try:
            os.fchmod(folder, entry.mode)
        finally:
            os.close(folder)


def _mkdir(name: bytes, above: int) -> bool:
    """Whether it was not there."""
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        return False
    return True


def _in_the_way(parts: Parts, error: OSError) -> TreeRefusedError | OSError:
    """A clash of names is the tree's fault, a full disk the machine's."""
    if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
        return TreeRefusedError(f"{shown(parts)} cannot be made: {error.strerror}")
    return error
