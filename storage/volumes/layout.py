"""What a shard takes on a disk, and where it lies. Pure."""

import struct

import msgspec

from storage.coding.merkle import HASH_BYTES
from storage.limits import BLOCK_BYTES, INLINE_SHARD_BYTES, LEAF_BYTES

INDEX_TABLE = "shards"
"""root -> Location; the only truth about which shards exist."""

INLINE_TABLE = "inline-shards"
"""root -> bytes of a shard that lives in the tables."""

INLINE_OVERHEAD_BYTES = 128
"""Keys, hashes and page headers of the two records of an inline shard."""


class Location(msgspec.Struct, frozen=True):
    """Where a shard of `length` bytes lies; file 0 is the tables themselves."""

    file: int
    offset: int
    length: int


_PACKED = struct.Struct(">III")


def pack_location(where: Location) -> bytes:
    """The record of the index table: 12 bytes."""
    return _PACKED.pack(where.file, where.offset, where.length)


def unpack_location(record: bytes) -> Location:
    """Read a record of the index table."""
    return Location(*_PACKED.unpack(record))


def leaves_of(length: int) -> int:
    """Number of Merkle leaves of a shard of that length."""
    return max(1, -(-length // LEAF_BYTES))


def is_inline(length: int) -> bool:
    """True for shards that live in the tables."""
    return length <= INLINE_SHARD_BYTES


def extent_bytes(length: int) -> int:
    """Room in a volume: the shard, its leaf hashes, and the rest of the last block."""
    used = length + leaves_of(length) * HASH_BYTES
    return -(-used // BLOCK_BYTES) * BLOCK_BYTES


def footprint(length: int) -> int:
    """What a shard of that length counts against the quota."""
    return length + INLINE_OVERHEAD_BYTES if is_inline(length) else extent_bytes(length)


def leaf_range(length: int, start: int, count: int) -> range:
    """The leaves that cover `count` bytes from `start`; empty when they lie past the end."""
    if start < 0 or count <= 0 or (start >= length and length):
        return range(0)
    last = min(start + count, length) - 1 if length else 0
    return range(start // LEAF_BYTES if length else 0, last // LEAF_BYTES + 1)
