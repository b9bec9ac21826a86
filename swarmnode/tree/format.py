"""The bytes of a tree, version 1. Written once and for all: docs/protocol.md has it for others.

    MAGIC, then head and pages, each as its length (4 bytes, big-endian) and its encoding,
    then the contents of all files in the order of their entries

Entries are in the order of their parts, the folder itself (an empty path) first, so every name
comes after the folder it lies in. There is one encoding for a tree: what is written in any other
way is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final

import msgspec

from p2p.errors import WireError
from p2p.wire.codec import Record, decode_as, encode
from swarmnode.errors import NameRefusedError, TreeRefusedError
from swarmnode.limits import LINK_BYTES_MAX, TREE_ENTRIES_MAX
from swarmnode.tree.limits import TREE_INDEX_BYTES_MAX, TREE_PAGE_BYTES_MAX, TREE_PAGE_ENTRIES_MAX
from swarmnode.tree.links import Links
from swarmnode.tree.names import Parts, check_parts, text_of

MAGIC: Final = b"swarm tree 1\n"
LENGTH_BYTES: Final = 4
HEAD_BYTES_MAX: Final = 64
RIGHTS: Final = 0o777
"""What is kept of a mode; the rest (set-user-id and the like) is nobody else's to give."""
_SIZE_MAX: Final = 1 << 60


class EntryKind(IntEnum):
    """What a name stands for."""

    FOLDER = 0
    FILE = 1
    LINK = 2  # symbolic
    NAME = 3  # one more name of a file that has come before (a hard link)


class TreeEntry(Record, frozen=True):
    """One name. What does not belong to its kind is 0 or empty."""

    path: bytes
    """Relative, with slashes; empty for the tree's own folder or file."""
    kind: EntryKind
    mode: int = 0
    """Rights of a folder or file."""
    size: int = 0
    """Bytes of a file."""
    target: bytes = b""
    """Where a link leads as it was written, or the path whose other name this is."""

    @property
    def parts(self) -> Parts:
        """The path, split."""
        return tuple(self.path.split(b"/")) if self.path else ()


class TreePage(Record, frozen=True):
    """Some entries of the index."""

    entries: tuple[TreeEntry, ...]


class TreeHead(Record, frozen=True):
    """What follows, in numbers."""

    entries: int
    pages: int
    index_bytes: int
    """Of all pages with their lengths."""
    content_bytes: int


class TreeIndex(msgspec.Struct, frozen=True):
    """A whole index, checked."""

    entries: tuple[TreeEntry, ...]

    @property
    def content_bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    @property
    def files(self) -> int:
        """Names that are not folders."""
        return sum(entry.kind is not EntryKind.FOLDER for entry in self.entries)

    @property
    def is_file(self) -> bool:
        """The tree is one file with its rights, and no folder."""
        return self.entries[0].kind is EntryKind.FILE


def write_index(entries: Sequence[TreeEntry]) -> bytes:
    """Everything that comes before the contents. Raises TreeRefusedError."""
    check(entries)
    cut = list(_pages(entries))
    pages = b"".join(_framed(encode(page)) for page in cut)
    if len(pages) > TREE_INDEX_BYTES_MAX:
        raise TreeRefusedError(
            f"the names take {len(pages)} bytes, limit {TREE_INDEX_BYTES_MAX}: split the folder"
        )
    content = sum(entry.size for entry in entries)
    head = TreeHead(len(entries), len(cut), len(pages), content)
    return MAGIC + _framed(encode(head)) + pages


def read_head(data: bytes) -> TreeHead:
    """The head's own encoding. Raises TreeRefusedError."""
    try:
        head = decode_as(TreeHead, data, HEAD_BYTES_MAX)
    except WireError as error:
        raise TreeRefusedError(f"not a tree: {error}") from error
    is_possible = (
        1 <= head.entries <= TREE_ENTRIES_MAX
        and 1 <= head.pages <= head.entries
        and 0 < head.index_bytes <= TREE_INDEX_BYTES_MAX
        and 0 <= head.content_bytes <= _SIZE_MAX
    )
    if not is_possible or encode(head) != data:
        raise TreeRefusedError(f"a tree of {head.entries} names is not one we read")
    return head


def read_pages(head: TreeHead, data: bytes) -> TreeIndex:
    """All pages. Raises TreeRefusedError for any tree that we would not write like this."""
    entries = _entries_in(head, data)
    check(entries)
    index = TreeIndex(tuple(entries))
    is_canonical = b"".join(_framed(encode(page)) for page in _pages(entries)) == data
    counts = (len(entries), index.content_bytes)
    if counts != (head.entries, head.content_bytes) or not is_canonical:
        raise TreeRefusedError("the tree's index is not what its head says")
    return index


def read_index(data: bytes) -> TreeIndex:
    """What `write_index` wrote, and nothing behind it. Raises TreeRefusedError."""
    start = len(MAGIC) + LENGTH_BYTES
    pages = start + int.from_bytes(data[len(MAGIC) : start])
    if not data.startswith(MAGIC) or pages - start > HEAD_BYTES_MAX:
        raise TreeRefusedError("these bytes are not a folder")
    head = read_head(data[start:pages])
    if len(data) != pages + head.index_bytes:
        raise TreeRefusedError("the index of the tree is not as long as its head says")
    return read_pages(head, data[pages:])


def _entries_in(head: TreeHead, data: bytes) -> list[TreeEntry]:
    """Those of all pages; of more than the head says no more than prove it."""
    entries: list[TreeEntry] = []
    at = 0
    for _ in range(head.pages):
        length = int.from_bytes(data[at : at + LENGTH_BYTES])
        at += LENGTH_BYTES
        try:
            entries += decode_as(TreePage, data[at : at + length]).entries
        except WireError as error:
            raise TreeRefusedError(f"not a page of a tree: {error}") from error
        at += length
        if len(entries) > head.entries:
            break
    return entries


def check(entries: Sequence[TreeEntry]) -> None:
    """Refuse whatever is no honest folder. Raises TreeRefusedError, which names the entry."""
    if not 1 <= len(entries) <= TREE_ENTRIES_MAX:
        raise TreeRefusedError(
            f"{len(entries)} names in one tree, limit {TREE_ENTRIES_MAX}: split the folder"
        )
    _check_places(entries)
    _check_links({entry.parts: entry.target for entry in entries if entry.kind is EntryKind.LINK})


def _check_places(entries: Sequence[TreeEntry]) -> None:
    """Each below a folder that came before, in order, and what its kind can be."""
    kinds: dict[Parts, EntryKind] = {}
    paths: dict[bytes, EntryKind] = {}
    before: Parts | None = None
    for entry in entries:
        parts = entry.parts
        _check_entry(entry, parts, paths)
        if before is not None and parts <= before:
            raise _refused(entry, "comes twice or out of order")
        if parts and kinds.get(parts[:-1]) is not EntryKind.FOLDER:
            raise _refused(entry, "lies in what is not a folder of the tree")
        kinds[parts], paths[entry.path], before = entry.kind, entry.kind, parts
    if before is None or kinds.get(()) not in (EntryKind.FOLDER, EntryKind.FILE):
        raise TreeRefusedError("a tree begins with its own folder or file")


def _check_links(targets: Mapping[Parts, bytes]) -> None:
    links = Links(targets)
    for place, target in targets.items():
        if links.leads_out(place):
            raise TreeRefusedError(
                f"{shown(place)} is a link that leads out of the folder, to "
                f"{text_of(target)!r}: put what it means inside, or leave it out"
            )


def shown(parts: Parts) -> str:
    """A path in words."""
    return repr(text_of(b"/".join(parts)) or ".")


def _check_entry(entry: TreeEntry, parts: Parts, paths: dict[bytes, EntryKind]) -> None:
    try:
        check_parts(parts)
    except NameRefusedError as error:
        raise TreeRefusedError(str(error)) from error
    if not _is_sound(entry, paths):
        raise _refused(entry, "is not what its kind can be")


def _is_sound(entry: TreeEntry, paths: dict[bytes, EntryKind]) -> bool:
    """Whether its mode, size and target are those of its kind."""
    is_rights = 0 <= entry.mode <= RIGHTS
    match entry.kind:
        case EntryKind.FOLDER:
            return is_rights and (entry.size, entry.target) == (0, b"")
        case EntryKind.FILE:
            return is_rights and 0 <= entry.size <= _SIZE_MAX and not entry.target
        case EntryKind.LINK:
            is_target = 0 < len(entry.target) <= LINK_BYTES_MAX and b"\0" not in entry.target
            return is_target and (entry.mode, entry.size) == (0, 0)
        case EntryKind.NAME:
            is_file = paths.get(entry.target) is EntryKind.FILE
            return is_file and (entry.mode, entry.size) == (0, 0)


def _refused(entry: TreeEntry, words: str) -> TreeRefusedError:
    return TreeRefusedError(f"{shown(entry.parts)} {words}")


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(LENGTH_BYTES) + data


def _pages(entries: Sequence[TreeEntry]) -> Iterable[TreePage]:
    """The one way to cut the entries into pages."""
    held: list[TreeEntry] = []
    size = 0
    for entry in entries:
        length = len(encode(entry))
        if held and (len(held) == TREE_PAGE_ENTRIES_MAX or size + length > TREE_PAGE_BYTES_MAX):
            yield TreePage(tuple(held))
            held, size = [], 0
        held.append(entry)
        size += length
    if held:
        yield TreePage(tuple(held))
