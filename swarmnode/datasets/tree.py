"""A dataset as files: what is in it, and which bytes of which object each file has."""

from collections.abc import Iterable

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


class Laid(msgspec.Struct, frozen=True):
    """All names, and the bytes of all files."""

    inodes: Inodes
    size: int
    is_folder: bool


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
    return Laid(Inodes(file_inode(0o644, size, ContentPlace())), size, is_folder=False)


def lay_folder(place: IndexPlace, pages: bytes, object_size: int) -> Laid:
    """A folder, from the bytes of its index. Raises TreeRefusedError."""
    index = read_pages(place.head, pages)
    begin = place.offset + place.head.index_bytes
    if begin + index.content_bytes != object_size:
        raise TreeRefusedError("the folder is not as long as its index says")
    return laid(index, _in_order(index.entries, begin))


def lay_packed(data: bytes) -> tuple[Laid, tuple[Pack, ...]]:
    """A folder from the whole of its index, and the packs it is in. Raises TreeRefusedError."""
    index = read_folder(data)
    tree = TreeIndex(index.names.entries)
    shown = laid(tree, _in_packs(index))
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


def laid(index: TreeIndex, places: Iterable[ContentPlace]) -> Laid:
    """`places`: of each entry, of use where it is a file. Raises TreeRefusedError."""
    if index.is_file:
        entry, place = index.entries[0], next(iter(places))
        inodes = Inodes(file_inode(entry.mode, entry.size, place))
        return Laid(inodes, entry.size, is_folder=False)
    inodes = Inodes(Inode(folder_mode(index.entries[0].mode), 0, ROOT))
    numbers = {b"": ROOT}
    for entry, place in zip(index.entries, places, strict=True):
        if entry.path:
            numbers[entry.path] = _add(inodes, numbers, entry, place)
    return Laid(inodes, index.content_bytes, is_folder=True)


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
