"""The index of a folder: what is written is read, and whatever no honest index says is refused."""

import random
import zlib
from collections.abc import Callable

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2p.wire.codec import encode
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from swarmnode.errors import TreeRefusedError
from swarmnode.tree.folder import (
    FOLDER_MAGIC,
    FolderHead,
    FolderIndex,
    FolderNames,
    Pack,
    PackPlace,
    contents_in,
    folder_bytes,
    read_folder,
    read_names,
    write_folder,
    write_names,
)
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from swarmnode.tree.limits import FOLDER_PACKS_MAX, FOLDER_REPEATED_BYTES_MAX

KEY = bytes(range(16))
ROOT = TreeEntry(b"", EntryKind.FOLDER, 0o755)


def file(path: bytes, size: int) -> TreeEntry:
    return TreeEntry(path, EntryKind.FILE, 0o644, size)


def pack(number: int, size: int) -> Pack:
    return Pack(ReadCap(Address(bytes([number] * 32)), ObjectKey(bytes([255 - number] * 32))), size)


def hashed(number: int) -> bytes:
    return blake3(b"%d" % number).digest()


NAMES = FolderNames(
    (ROOT, file(b"a", 3), file(b"b", 5), file(b"empty", 0), file(b"same", 3)),
    (hashed(0), hashed(1), hashed(0)),
)
GOOD = FolderIndex(
    NAMES,
    (pack(1, 10), pack(2, 5)),
    (PackPlace(0, 7, KEY), PackPlace(1, 0, KEY), PackPlace(0, 7, KEY)),
)


def forged(index: FolderIndex, change: Callable[[FolderHead], FolderHead] = lambda h: h) -> bytes:
    """As somebody writes it who does not check."""
    names = write_index(index.names.entries)
    packs = b"".join(p.cap.address + p.cap.key + p.size.to_bytes(8) for p in index.packs)
    places = b"".join(p.pack.to_bytes(4) + p.offset.to_bytes(8) + p.key for p in index.places)
    body = zlib.compress(names + packs + places)
    head = encode(change(FolderHead(len(names), len(index.places), len(index.packs), len(body))))
    hashes = b"".join(index.names.hashes)
    return FOLDER_MAGIC + len(head).to_bytes(4) + head + hashes + body


def test_what_is_written_is_read() -> None:
    data = write_folder(GOOD)
    assert read_folder(data) == GOOD
    assert folder_bytes(data[:60]) == len(data)
    assert folder_bytes(data[:10]) is None
    assert forged(GOOD) == data
    assert [(one.path, one.size, one.mode, one.hash) for one in GOOD.files()] == [
        (b"a", 3, 0o644, hashed(0)),
        (b"b", 5, 0o644, hashed(1)),
        (b"same", 3, 0o644, hashed(0)),
    ]


def test_where_contents_lie_is_known_without_a_look_at_the_names() -> None:
    packs, places = contents_in(write_folder(GOOD))
    assert packs == GOOD.packs
    assert places == {hashed(0): PackPlace(0, 7, KEY), hashed(1): PackPlace(1, 0, KEY)}


def test_the_index_of_ten_thousand_files_is_well_below_a_megabyte() -> None:
    dice = random.Random(1)
    paths = sorted(b"src/%d/module_%d.py" % (n % 100, n) for n in range(10_000))
    tops = [ROOT, TreeEntry(b"src", EntryKind.FOLDER, 0o755)]
    folders = sorted({path.rpartition(b"/")[0] for path in paths})
    entries = sorted(
        (
            *tops,
            *(TreeEntry(one, EntryKind.FOLDER, 0o755) for one in folders),
            *(file(path, dice.randrange(1, 30_000)) for path in paths),
        ),
        key=lambda entry: entry.parts,
    )
    names = FolderNames(tuple(entries), tuple(dice.randbytes(32) for _ in paths))
    places, offset = [], 0
    for entry in names.full():
        places.append(PackPlace(0, offset, dice.randbytes(16)))
        offset += entry.size
    data = write_folder(FolderIndex(names, (pack(1, offset),), tuple(places)))
    assert len(data) < 700_000


def test_names_and_hashes_go_up_as_they_are() -> None:
    data = write_names(write_index(NAMES.entries), NAMES.hashes)
    assert read_names(data) == NAMES
    for other in (data[:-32], data[:-1], data + bytes(32), b"", data[:4], b"\xff" * 8):
        with pytest.raises(TreeRefusedError):
            read_names(other)


def moved(*places: tuple[int, int]) -> FolderIndex:
    return replace(GOOD, places=tuple(PackPlace(*one, KEY) for one in places))


BIG = FOLDER_REPEATED_BYTES_MAX // 2 + 1
HOSTILE = {
    "beyond its pack": moved((0, 8), (1, 0), (0, 8)),
    "far beyond its pack": moved((0, (1 << 64) - 2), (1, 0), (0, 7)),
    "in no pack": moved((2, 0), (1, 0), (2, 0)),
    "overlapping": moved((0, 0), (0, 2), (0, 7)),
    "overlapping, the same begin": moved((0, 0), (0, 0), (0, 0)),
    "one place, two hashes": replace(
        GOOD, names=replace(NAMES, hashes=(hashed(0), hashed(1), hashed(2)))
    ),
    "one place, two keys": replace(GOOD, places=(*GOOD.places[:2], PackPlace(0, 7, bytes(16)))),
    "a pack twice": replace(GOOD, packs=(pack(1, 10), pack(1, 10))),
    "a pack of any size": replace(GOOD, packs=(pack(1, 1 << 62), pack(2, 5))),
    "a bomb": FolderIndex(
        FolderNames((ROOT, *(file(b"%d" % n, BIG) for n in range(3))), (hashed(1),) * 3),
        (pack(1, BIG),),
        (PackPlace(0, 0, KEY),) * 3,
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_contents_that_cannot_be_where_they_are_said_to_be_are_refused(what: str) -> None:
    with pytest.raises(TreeRefusedError):
        read_folder(forged(HOSTILE[what]))


HEADS: dict[str, Callable[[FolderHead], FolderHead]] = {
    "more files": lambda head: replace(head, files=head.files + 1),
    "a million files": lambda head: replace(head, files=1_000_000),
    "a million packs": lambda head: replace(head, packs=1_000_000),
    "one pack too many": lambda head: replace(head, packs=FOLDER_PACKS_MAX + 1),
    "fewer packs": lambda head: replace(head, packs=1),
    "negative": lambda head: replace(head, files=-1),
    "other names": lambda head: replace(head, names_bytes=head.names_bytes - 12),
    "no end of names": lambda head: replace(head, names_bytes=1 << 40),
    "a longer body": lambda head: replace(head, body_bytes=head.body_bytes + 1),
    "a shorter body": lambda head: replace(head, body_bytes=head.body_bytes - 1),
    "a body without end": lambda head: replace(head, body_bytes=1 << 40),
}


@pytest.mark.parametrize("what", HEADS)
def test_a_head_that_lies_is_refused(what: str) -> None:
    with pytest.raises(TreeRefusedError):
        read_folder(forged(GOOD, HEADS[what]))


def test_a_body_that_inflates_beyond_what_was_said_is_not_inflated() -> None:
    names = write_index(NAMES.entries)
    body = zlib.compress(bytes(100_000_000))
    head = encode(FolderHead(len(names), 3, 2, len(body)))
    data = FOLDER_MAGIC + len(head).to_bytes(4) + head + bytes(96) + body
    with pytest.raises(TreeRefusedError):
        read_folder(data)


def test_hostile_names_are_refused_as_in_any_tree() -> None:
    data = write_folder(GOOD)
    body = zlib.decompress(data[-(len(data) - data.index(b"\x78\x9c")) :])
    forged_body = zlib.compress(body.replace(b"\xc4\x01b", b"\xc4\x01/"))
    head = encode(FolderHead(len(write_index(NAMES.entries)), 3, 2, len(forged_body)))
    hashes = b"".join(NAMES.hashes)
    with pytest.raises(TreeRefusedError):
        read_folder(FOLDER_MAGIC + len(head).to_bytes(4) + head + hashes + forged_body)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_an_index_or_refused(data: bytes, kept: int) -> None:
    good = write_folder(GOOD)
    for bytes_ in (data, FOLDER_MAGIC + data, good[:kept] + data, good[:kept] + good[kept + 1 :]):
        try:
            assert write_folder(read_folder(bytes_)) == bytes_ or bytes_ != good
        except TreeRefusedError:
            continue
