"""A folder as the pool keeps it: an index, and packs with the contents of its files.

    index  MAGIC | length | head | hashes | body     an object of its own, encrypted as any
    pack   contents of files, one after another, nothing between them

Folders that have files in common may refer to the same packs: one of which little has changed is a
new index and one small pack. The index has the hash of each file: who reads it may have that
content already, and checks it in any case. docs/protocol.md has the format for others.
"""

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from blake3 import blake3

from p2p.errors import WireError
from p2p.wire.codec import Record, decode_as, encode
from storage.facade import ReadCap
from storage.ids import KEY_BYTES, Address, ObjectKey
from storage.manifests.capability import ADDRESS_BYTES
from swarmnode.errors import FolderNewerError, TreeRefusedError
from swarmnode.limits import TREE_ENTRIES_MAX
from swarmnode.tree.format import (
    HEAD_BYTES_MAX,
    LENGTH_BYTES,
    EntryKind,
    TreeEntry,
    read_index,
    write_index,
)
from swarmnode.tree.limits import FOLDER_PACKS_MAX, FOLDER_REPEATED_BYTES_MAX, TREE_INDEX_BYTES_MAX

FOLDER_MAGIC: Final = b"swarm folder 1\n"
_FAMILY: Final = b"swarm folder "
"""How the magic of every version begins."""
HASH_BYTES: Final = 32
_PACK_BYTES: Final = ADDRESS_BYTES + KEY_BYTES + 8
CONTENT_KEY_BYTES: Final = 16
"""A content is guessed by nobody who would have to guess 128 bits."""
_PLACE_BYTES: Final = 4 + 8 + CONTENT_KEY_BYTES
_SIZE_MAX: Final = 1 << 60
_NAMES_BYTES_MAX: Final = TREE_INDEX_BYTES_MAX + 2 * HEAD_BYTES_MAX
"""The index of a tree with its magic and head."""


class Pack(msgspec.Struct, frozen=True):
    """An object with contents of files."""

    cap: ReadCap
    size: int
    """In bytes."""


class PackPlace(msgspec.Struct, frozen=True, gc=False):
    """Where a content begins, and what opens it."""

    pack: int
    """Its number in the index."""
    offset: int
    key: bytes
    """Of this content alone (swarmnode.packs.veil)."""


class FileContent(msgspec.Struct, frozen=True, gc=False):
    """A file of a folder that has bytes."""

    path: bytes
    mode: int
    size: int
    hash: bytes
    """BLAKE3 of its content."""
    place: PackPlace


class FolderNames(msgspec.Struct, frozen=True):
    """A folder as who has it knows it: every name, and what is in each file."""

    entries: tuple[TreeEntry, ...]
    hashes: tuple[bytes, ...]
    """Of the files that have bytes, in their order."""

    def full(self) -> tuple[TreeEntry, ...]:
        """The files that have bytes."""
        return full_files(self.entries)


class FolderIndex(msgspec.Struct, frozen=True):
    """A folder and where its contents are."""

    names: FolderNames
    packs: tuple[Pack, ...]
    places: tuple[PackPlace, ...]
    """Of each hash."""

    def files(self) -> Iterator[FileContent]:
        """Those that have bytes, in the order of their names."""
        parts = zip(self.names.full(), self.names.hashes, self.places, strict=True)
        for entry, content, place in parts:
            yield FileContent(entry.path, entry.mode, entry.size, content, place)


class FolderHead(Record, frozen=True):
    """What follows, in numbers."""

    names_bytes: int
    """Of the tree's index, with which the body begins."""
    files: int
    """Those that have bytes."""
    packs: int
    body_bytes: int
    """As it comes: deflated (RFC 1950)."""

    @property
    def plain_bytes(self) -> int:
        """Of the body."""
        return self.names_bytes + self.packs * _PACK_BYTES + self.files * _PLACE_BYTES


def full_files(entries: Sequence[TreeEntry]) -> tuple[TreeEntry, ...]:
    """The files that have bytes."""
    return tuple(entry for entry in entries if entry.kind is EntryKind.FILE and entry.size)


def refuse_newer(data: bytes) -> None:
    """Raises FolderNewerError where bytes begin as an index of a version that is not known here."""
    version, ends, _ = data[len(_FAMILY) :].partition(b"\n")
    if data.startswith(_FAMILY) and ends and version.isdigit():
        raise FolderNewerError(
            f"it is a folder in format {version.decode()}, which a newer version of swarm wrote: "
            "this machine reads format 1; upgrade it"
        )


def digest_of(names: bytes) -> bytes:
    """By what a folder is found again: of what `write_names` gave."""
    return blake3(b"swarm folder\0" + names).digest()


def write_names(index: bytes, hashes: Sequence[bytes]) -> bytes:
    """For `read_names`: what `write_index` gave, and what is in each file that has bytes."""
    return len(index).to_bytes(LENGTH_BYTES) + index + b"".join(hashes)


def read_names(data: bytes) -> FolderNames:
    """What `write_names` gave. Raises TreeRefusedError."""
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES])
    index = read_index(data[LENGTH_BYTES:end])
    return _names(index.entries, data[end:])


def _names(entries: tuple[TreeEntry, ...], hashes: bytes) -> FolderNames:
    if len(hashes) != HASH_BYTES * len(full_files(entries)):
        raise TreeRefusedError("a folder has one hash for each file that is not empty")
    return FolderNames(entries, _cut(hashes, HASH_BYTES))


def write_folder(index: FolderIndex) -> bytes:
    """The bytes of an index. Raises TreeRefusedError."""
    check_places(index)
    names = write_index(index.names.entries)
    packs = b"".join(p.cap.address + p.cap.key + p.size.to_bytes(8) for p in index.packs)
    places = b"".join(map(_place_bytes, index.places))
    body = zlib.compress(names + packs + places)
    head = encode(FolderHead(len(names), len(index.places), len(index.packs), len(body)))
    hashes = b"".join(index.names.hashes)
    return FOLDER_MAGIC + len(head).to_bytes(LENGTH_BYTES) + head + hashes + body


def folder_bytes(data: bytes) -> int | None:
    """How long an index is that begins so; None: more is needed to say. Raises TreeRefusedError."""
    read = _head_in(data)
    if read is None:
        return None
    start, head = read
    return start + head.files * HASH_BYTES + head.body_bytes


def read_folder(data: bytes) -> FolderIndex:
    """What `write_folder` wrote. Raises TreeRefusedError for anything else."""
    start, head, body = _body_in(data)
    names_end = head.names_bytes
    packs_end = names_end + head.packs * _PACK_BYTES
    entries = read_index(body[:names_end]).entries
    hashes = data[start : start + head.files * HASH_BYTES]
    packs = tuple(map(_pack_of, _cut(body[names_end:packs_end], _PACK_BYTES)))
    places = tuple(map(_place_of, _cut(body[packs_end:], _PLACE_BYTES)))
    index = FolderIndex(_names(entries, hashes), packs, places)
    check_places(index)
    return index


def tree_index_in(data: bytes) -> bytes:
    """How the folder's tree begins, from an index that `read_folder` took."""
    _, head, body = _body_in(data)
    return body[: head.names_bytes]


def contents_in(data: bytes) -> tuple[tuple[Pack, ...], dict[bytes, PackPlace]]:
    """Of an index that we wrote: its packs, and where each content lies. No name is looked at.

    Raises TreeRefusedError.
    """
    start, head, body = _body_in(data)
    packs_end = head.names_bytes + head.packs * _PACK_BYTES
    hashes = _cut(data[start : start + head.files * HASH_BYTES], HASH_BYTES)
    places = map(_place_of, _cut(body[packs_end:], _PLACE_BYTES))
    packs = map(_pack_of, _cut(body[head.names_bytes : packs_end], _PACK_BYTES))
    return tuple(packs), dict(zip(hashes, places, strict=True))


def check_places(index: FolderIndex) -> None:
    """Each content lies within its pack, beside the others or just where an equal one lies.

    Raises TreeRefusedError.
    """
    if len(index.packs) > FOLDER_PACKS_MAX:
        raise TreeRefusedError(f"a folder in {len(index.packs)} packs, limit {FOLDER_PACKS_MAX}")
    if len({pack.cap.address for pack in index.packs}) != len(index.packs):
        raise TreeRefusedError("a pack of the folder is named twice")
    ranges: dict[tuple[int, int], tuple[int, bytes, bytes]] = {}
    repeated = 0
    for file in index.files():
        at = (file.place.pack, file.place.offset)
        known = (file.size, file.hash, file.place.key)
        _check_within(index.packs, file)
        if ranges.setdefault(at, known) != known:
            raise TreeRefusedError("two contents of the folder overlap")
        repeated += file.size
    repeated -= sum(size for size, _, _ in ranges.values())
    if repeated > FOLDER_REPEATED_BYTES_MAX:
        raise TreeRefusedError(f"a folder that repeats {repeated} bytes of its files")
    _check_apart(sorted((*at, size) for at, (size, _, _) in ranges.items()))


def _check_within(packs: Sequence[Pack], file: FileContent) -> None:
    number, offset = file.place.pack, file.place.offset
    if number >= len(packs) or offset + file.size > packs[number].size:
        raise TreeRefusedError("a content of the folder lies in none of its packs")


def _check_apart(ranges: Sequence[tuple[int, int, int]]) -> None:
    for (pack, offset, size), (other, begin, _) in pairwise(ranges):
        if pack == other and offset + size > begin:
            raise TreeRefusedError("two contents of the folder overlap")


def _head_in(data: bytes) -> tuple[int, FolderHead] | None:
    start = len(FOLDER_MAGIC) + LENGTH_BYTES
    if not data.startswith(FOLDER_MAGIC[: len(data)]):
        raise TreeRefusedError("these bytes are not the index of a folder")
    length = int.from_bytes(data[len(FOLDER_MAGIC) : start])
    if len(data) >= start and length > HEAD_BYTES_MAX:
        raise TreeRefusedError("the head of the folder is too long")
    if len(data) < start + length or len(data) < start:
        return None
    return start + length, _read_head(data[start : start + length])


def _read_head(data: bytes) -> FolderHead:
    try:
        head = decode_as(FolderHead, data, HEAD_BYTES_MAX)
    except WireError as error:
        raise TreeRefusedError(f"not a folder: {error}") from error
    is_possible = (
        0 < head.names_bytes <= _NAMES_BYTES_MAX
        and 0 <= head.files <= TREE_ENTRIES_MAX
        and 0 <= head.packs <= FOLDER_PACKS_MAX
        and 0 < head.body_bytes <= head.plain_bytes + HEAD_BYTES_MAX + head.plain_bytes // 1000
    )
    if not is_possible or encode(head) != data:
        raise TreeRefusedError(f"a folder of {head.files} files is not one we read")
    return head


def _body_in(data: bytes) -> tuple[int, FolderHead, bytes]:
    """Where the hashes begin, the head and the inflated body."""
    read = _head_in(data)
    if read is None or folder_bytes(data) != len(data):
        raise TreeRefusedError("the index of the folder is not as long as its head says")
    start, head = read
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data[start + head.files * HASH_BYTES :], head.plain_bytes + 1)
    except zlib.error as error:
        raise TreeRefusedError(f"the index of the folder cannot be inflated: {error}") from error
    if len(body) != head.plain_bytes or not inflater.eof or inflater.unused_data:
        raise TreeRefusedError("the index of the folder is not what its head says")
    return start, head, body


def _pack_of(data: bytes) -> Pack:
    key_end = ADDRESS_BYTES + KEY_BYTES
    cap = ReadCap(Address(data[:ADDRESS_BYTES]), ObjectKey(data[ADDRESS_BYTES:key_end]))
    size = int.from_bytes(data[key_end:])
    if size > _SIZE_MAX:
        raise TreeRefusedError(f"a pack of {size} bytes")
    return Pack(cap, size)


def _place_bytes(place: PackPlace) -> bytes:
    return place.pack.to_bytes(4) + place.offset.to_bytes(8) + place.key


def _place_of(data: bytes) -> PackPlace:
    return PackPlace(int.from_bytes(data[:4]), int.from_bytes(data[4:12]), data[12:])


def _cut(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[at : at + size] for at in range(0, len(data), size))
