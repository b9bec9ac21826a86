from dataclasses import dataclass

import msgspec
import pytest

from p2p.ids import LabId, PersonId
from p2p.wire.codec import encode
from storage.errors import ManifestError
from storage.ids import LeaseId
from storage.limits import PAGE_SEGMENTS, SEGMENT_BYTES
from storage.manifests.manifest import (
    TAG_BYTES,
    Manifest,
    SegmentRef,
    Written,
    address_of,
    read_manifest,
    read_page,
    write_manifest,
)


@dataclass
class Shape:
    size: int
    segment_bytes: int = 1000
    k: int = 3
    n: int = 6


def written(shape: Shape) -> Written:
    bare = Manifest(
        1, shape.size, shape.segment_bytes, shape.k, shape.n, 1, LeaseId(bytes(16)),
        PersonId("member"), LabId("lab"), 1, 0,
    )  # fmt: skip
    roots = 1 if shape.k == 1 else shape.n
    refs = tuple(
        SegmentRef(bare.plain_length(index) + TAG_BYTES, bytes([index % 256]) * 32 * roots)
        for index in range(bare.segment_count)
    )
    return write_manifest(bare, refs)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 256_000])
def test_a_manifest_reads_as_it_was_written(size: int) -> None:
    made = written(Shape(size))
    read = read_manifest(made.address, made.data)
    assert read == made.manifest
    assert read.segment_count == max(1, -(-size // 1000)) == len(read.segments)
    assert made.pages == ()


def test_many_segments_go_into_pages_that_hash_to_their_names() -> None:
    made = written(Shape(600_500))
    read = read_manifest(made.address, made.data)
    assert (read.segment_count, read.page_count, read.segments) == (601, 3, ())
    assert tuple(address for address, _ in made.pages) == read.page_addresses()
    segments = [
        ref for page, (_, data) in enumerate(made.pages) for ref in read_page(read, page, data)
    ]
    assert len(segments) == 601
    assert segments[600].length == 500 + TAG_BYTES


def test_a_page_of_the_biggest_segments_and_code_stays_small() -> None:
    made = written(Shape(SEGMENT_BYTES * PAGE_SEGMENTS, SEGMENT_BYTES, 8, 16))
    assert len(made.data) < 256 * 1024
    assert read_manifest(made.address, made.data).segment_count == PAGE_SEGMENTS


def test_copies_have_one_root_for_all() -> None:
    made = written(Shape(500, k=1, n=3))
    assert made.manifest.roots_of(made.manifest.segments[0]) == (bytes(32),) * 3


def test_other_bytes_than_those_asked_for_are_refused() -> None:
    made, other = written(Shape(5000)), written(Shape(5001))
    with pytest.raises(ManifestError, match="hash"):
        read_manifest(made.address, other.data)
    paged = written(Shape(600_500))
    with pytest.raises(ManifestError, match="hash"):
        read_page(paged.manifest, 0, paged.pages[2][1])


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"size": -1},
        {"size": 9000},
        {"segment_bytes": 0},
        {"segment_bytes": SEGMENT_BYTES + 1},
        {"k": 0},
        {"k": 7},
        {"n": 65},
        {"lease": b"short"},
        {"segments": ()},
        {"segments": (SegmentRef(5, bytes(192)),) * 5},
        {"segments": (SegmentRef(1016, bytes(31)),) * 5},
        {"pages": bytes(32)},
    ],
)
def test_senseless_manifests_are_refused(change: dict[str, object]) -> None:
    bad = encode(msgspec.structs.replace(written(Shape(5000)).manifest, **change))
    with pytest.raises(ManifestError):
        read_manifest(address_of(bad), bad)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x91\x01", bytes(100)])
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        read_manifest(address_of(data), data)
