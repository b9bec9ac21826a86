"""A dataset as files: what is in it, and which bytes of which object each file has."""

from collections.abc import Iterable
from typing import Final

import msgspec

from swarmnode.errors import TreeRefusedError
from swarmnode.fuse.inodes import ROOT, ContentPlace, Inode, Inodes, file_inode, folder_mode
from swarmnode.tree.folder import FOLDER_MAGIC, FolderIndex, Pack, read_folder
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
)

HEAD_READ_BYTES = len(FOLDER_MAGIC) + LENGTH_BYTES + HEAD_BYTES_MAX
"""As much of an object's beginning tells a folder from other bytes, and how long its index is."""


APART_BYTES: Final = 32 * 1024 * 1024
"""A file of so much is a content of its own: once it is here it is one file of this machine. Of a
smaller one the segments that it shares with others would be fetched twice too often."""
_OPEN_COST_BYTES: Final = 1024 * 1024
"""To open a file that programs then read without us takes as long as it saves on so many bytes."""


class LargeFile(msgspec.Struct, frozen=True):
    """A large file as it lies in an object."""

    part: int
    offset: int
    size: int
    key: bytes


class Laid(msgspec.Struct, frozen=True):
    """All names, and the bytes of all files."""

    inodes: Inodes
    size: int
    is_folder: bool
    apart: tuple[LargeFile, ...] = ()
    """ContentPlace.part has their numbers behind those of the objects."""
    is_opened: bool = False
    """It is worth while that whoever answers is asked at each opening of a file."""


class IndexPlace(msgspec.Struct, frozen=True):
    """Where the index of a folder lies in its object."""

    head: TreeHead
    offset: int


def index_place(begin: bytes) -> IndexPlace | None:
    """From the first HEAD_READ_BYTES of an object; None: it is no folder. TreeRefusedError."""
    if not begin.startswith(MAGIC):
        return None
    start = len(MAGIC) + LENGTH_BYTES
    length = int.from_bytes(begin[len(MAGIC) : start])
    if length > HEAD_BYTES_MAX or len(begin) < start + length:
        raise TreeRefusedError("the head of the folder is too long")
    return IndexPlace(read_head(begin[start : start + length]), start + length)


def lay_file(size: int) -> Laid:
    """An object that is no folder is one file."""
    inode = file_inode(0o644, size, ContentPlace(is_all=True))
    return Laid(Inodes(inode), size, is_folder=False, is_opened=size >= _OPEN_COST_BYTES)


def lay_folder(place: IndexPlace, pages: bytes, object_size: int) -> Laid:
    """A folder, from the bytes of its index. Raises TreeRefusedError."""
    index = read_pages(place.head, pages)
    begin = place.offset + place.head.index_bytes
    if begin + index.content_bytes != object_size:
        raise TreeRefusedError("the folder is not as long as its index says")
    return _laid(index, _in_order(index.entries, begin), 1)


def lay_packed(data: bytes) -> tuple[Laid, tuple[Pack, ...]]:
    """A folder from the whole of its index, and the packs it is in. Raises TreeRefusedError."""
    index = read_folder(data)
    tree = TreeIndex(index.names.entries)
    shown = _laid(tree, _in_packs(index), len(index.packs))
    return shown, index.packs


def _in_packs(index: FolderIndex) -> Iterable[ContentPlace]:
    """Files that have no bytes are nowhere."""
    files = index.files()
    for entry in index.names.entries:
        if entry.kind is EntryKind.FILE and entry.size:
            place = next(files).place
            yield ContentPlace(place.pack, place.offset, place.key)
        else:
            yield ContentPlace()


def _in_order(entries: Iterable[TreeEntry], begin: int) -> Iterable[ContentPlace]:
    """Contents follow one another."""
    for entry in entries:
        yield ContentPlace(0, begin)
        begin += entry.size if entry.kind is EntryKind.FILE else 0


def _laid(index: TreeIndex, places: Iterable[ContentPlace], objects: int) -> Laid:
    """`places`: of each entry, of use where it is a file. Raises TreeRefusedError."""
    apart: dict[LargeFile, int] = {}
    placed = [
        _place(entry, place, apart, objects)
        for entry, place in zip(index.entries, places, strict=True)
    ]
    if index.is_file:
        entry = index.entries[0]
        inodes = Inodes(file_inode(entry.mode, entry.size, placed[0]))
    else:
        inodes = Inodes(Inode(folder_mode(index.entries[0].mode), 0, ROOT))
        numbers = {b"": ROOT}
        for entry, place in zip(index.entries, placed, strict=True):
            if entry.path:
                numbers[entry.path] = _add(inodes, numbers, entry, place)
    files = sum(entry.kind is EntryKind.FILE for entry in index.entries)
    large = sum(one.size for one in apart)
    return Laid(
        inodes,
        index.content_bytes,
        is_folder=not index.is_file,
        apart=tuple(apart),
        is_opened=bool(apart) and large >= files * _OPEN_COST_BYTES,
    )


def _place(
    entry: TreeEntry, place: ContentPlace, apart: dict[LargeFile, int], objects: int
) -> ContentPlace:
    """Where its bytes are, if it has any; the first number of a content of its own is `objects`."""
    if entry.kind is not EntryKind.FILE or entry.size < APART_BYTES:
        return place
    one = LargeFile(place.part, place.offset, entry.size, place.key)
    return ContentPlace(apart.setdefault(one, objects + len(apart)), is_all=True)


def _add(inodes: Inodes, numbers: dict[bytes, int], entry: TreeEntry, place: ContentPlace) -> int:
    above, _, name = entry.path.rpartition(b"/")
    parent = numbers.get(above, 0)
    match entry.kind:
        case EntryKind.FOLDER:
            return inodes.add_folder(parent, name, entry.mode)
        case EntryKind.FILE:
            return inodes.add_file(parent, name, entry.mode, entry.size, place)
        case EntryKind.LINK:
            return inodes.add_link(parent, name, entry.target)
        case EntryKind.NAME:
            number = numbers.get(entry.target, 0)
            inodes.add_name(parent, name, number)
            return number
