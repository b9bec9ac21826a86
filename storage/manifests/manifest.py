"""The manifest of an object: what it is made of. Its BLAKE3 is the object's address.

An object of more than PAGE_SEGMENTS segments has its segments in pages, which are named in the
manifest by their own BLAKE3. A manifest is public to those who know the address: it holds no key.
"""

import msgspec
from blake3 import blake3

from p2p.errors import WireError
from p2p.ids import LabId, PersonId
from p2p.wire.codec import Record, decode_as, encode
from storage.coding.merkle import HASH_BYTES
from storage.errors import ManifestError
from storage.ids import Address, LeaseId, ShardRoot
from storage.limits import (
    LEASE_ID_BYTES,
    MANIFEST_BYTES_MAX,
    PAGE_SEGMENTS,
    SEGMENT_BYTES,
    SHARDS_MAX,
)

VERSION = 1
TAG_BYTES = 16
"""What sealing adds to a segment (storage.coding.cipher)."""


class SegmentRef(Record, frozen=True):
    """One segment: its sealed length and the Merkle roots of its shards, one after another."""

    length: int
    roots: bytes
    """n roots of 32 bytes, or a single one when k = 1: all shards are the same copy."""


class ManifestPage(Record, frozen=True):
    """PAGE_SEGMENTS segments of a big object; the last page may have fewer."""

    segments: tuple[SegmentRef, ...]


class Manifest(Record, frozen=True):
    """What an object is made of, without its key."""

    version: int
    size: int
    """Plaintext bytes."""
    segment_bytes: int
    """Plaintext bytes of every segment but the last."""
    k: int
    n: int
    cipher: int
    lease: LeaseId
    owner: PersonId
    lab: LabId
    storage_class: int
    until_ms: int
    """Class archive: kept until then. Otherwise 0: as long as its leases are renewed."""
    segments: tuple[SegmentRef, ...] = ()
    """The segments themselves, or none when there are pages."""
    pages: bytes = b""
    """BLAKE3 of each page, one after another."""
    is_guests: bool = False
    """It is of another person of the machine that put it, not of that machine's owner."""

    @property
    def segment_count(self) -> int:
        """Segments of the object; an empty object has one."""
        return max(1, -(-self.size // self.segment_bytes))

    @property
    def page_count(self) -> int:
        """Pages, which are also the units of holder records; at least one."""
        return -(-self.segment_count // PAGE_SEGMENTS)

    @property
    def is_paged(self) -> bool:
        return bool(self.pages)

    def page_addresses(self) -> tuple[Address, ...]:
        """The addresses of the pages; none when the segments are in here."""
        return tuple(Address(part) for part in _split(self.pages))

    def plain_length(self, index: int) -> int:
        """Plaintext bytes of a segment."""
        return min(self.segment_bytes, self.size - index * self.segment_bytes)

    def roots_of(self, segment: SegmentRef) -> tuple[ShardRoot, ...]:
        """The n roots of a segment's shards; n times the same for copies."""
        roots = tuple(ShardRoot(part) for part in _split(segment.roots))
        return roots * self.n if self.k == 1 else roots


class Written(msgspec.Struct, frozen=True):
    """A manifest ready to be stored: its bytes, and those of its pages, by address."""

    manifest: Manifest
    address: Address
    data: bytes
    pages: tuple[tuple[Address, bytes], ...]


def address_of(data: bytes) -> Address:
    """The address of a manifest's or a page's canonical bytes."""
    return Address(blake3(data).digest())


def write_manifest(manifest: Manifest, segments: tuple[SegmentRef, ...]) -> Written:
    """Put the segments into `manifest`, in pages where they are many."""
    pages: tuple[tuple[Address, bytes], ...] = ()
    inside, names = segments, b""
    if len(segments) > PAGE_SEGMENTS:
        cuts = range(0, len(segments), PAGE_SEGMENTS)
        packed = [encode(ManifestPage(segments[at : at + PAGE_SEGMENTS])) for at in cuts]
        pages = tuple((address_of(data), data) for data in packed)
        inside, names = (), b"".join(address for address, _ in pages)
    m = manifest
    whole = Manifest(
        m.version, m.size, m.segment_bytes, m.k, m.n, m.cipher, m.lease, m.owner, m.lab,
        m.storage_class, m.until_ms, inside, names, m.is_guests,
    )  # fmt: skip
    data = encode(whole)
    return Written(whole, address_of(data), data, pages)


def read_manifest(address: Address, data: bytes) -> Manifest:
    """Check and unpack. ManifestError when the bytes are not that manifest."""
    _check_address(address, data)
    try:
        manifest = decode_as(Manifest, data, MANIFEST_BYTES_MAX)
    except WireError as error:
        raise ManifestError(f"not a manifest: {error}") from error
    _check(manifest)
    return manifest


def read_page(manifest: Manifest, page: int, data: bytes) -> tuple[SegmentRef, ...]:
    """The segments of a page. ManifestError when the bytes are not that page."""
    _check_address(manifest.page_addresses()[page], data)
    try:
        segments = decode_as(ManifestPage, data, MANIFEST_BYTES_MAX).segments
    except WireError as error:
        raise ManifestError(f"not a manifest page: {error}") from error
    first = page * PAGE_SEGMENTS
    _check_segments(manifest, first, segments)
    if len(segments) != min(PAGE_SEGMENTS, manifest.segment_count - first):
        raise ManifestError(f"page {page} has {len(segments)} segments")
    return segments


def _check_address(address: Address, data: bytes) -> None:
    if address_of(data) != address:
        raise ManifestError("the bytes do not hash to the address asked for")


def _check(manifest: Manifest) -> None:
    m = manifest
    if m.version != VERSION:
        raise ManifestError(f"manifest of version {m.version}: a newer node wrote it, upgrade")
    if not (m.size >= 0 and 1 <= m.segment_bytes <= SEGMENT_BYTES):
        raise ManifestError(f"size {m.size} in segments of {m.segment_bytes}")
    if not 1 <= m.k <= m.n <= SHARDS_MAX or len(m.lease) != LEASE_ID_BYTES:
        raise ManifestError(f"no code {m.k} of {m.n}, or a lease of {len(m.lease)} bytes")
    if m.segment_count <= PAGE_SEGMENTS:
        if m.pages or len(m.segments) != m.segment_count:
            raise ManifestError(f"{len(m.segments)} segments for {m.segment_count}")
        _check_segments(m, 0, m.segments)
    elif m.segments or len(m.pages) != m.page_count * HASH_BYTES:
        raise ManifestError(f"pages of {len(m.pages)} bytes for {m.page_count}")


def _check_segments(manifest: Manifest, first: int, segments: tuple[SegmentRef, ...]) -> None:
    roots_bytes = HASH_BYTES * (1 if manifest.k == 1 else manifest.n)
    for index, segment in enumerate(segments, first):
        if segment.length != manifest.plain_length(index) + TAG_BYTES:
            raise ManifestError(f"segment {index} of {segment.length} bytes")
        if len(segment.roots) != roots_bytes:
            raise ManifestError(f"segment {index} has {len(segment.roots)} bytes of roots")


def _split(joined: bytes) -> list[bytes]:
    return [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]
