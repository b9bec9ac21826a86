"""Objects put in a smaller pool: more shards of their code than their manifest names.

A shard of a Reed-Solomon code of k does not depend on n, so an object that is k of n becomes k of
n + m by m more shards: nothing it has changes, nor its address, nor the capability. The holder
record gets wider rows. Copies (k = 1) have one root; the roots of other added shards are in a body
of their own, kept like a page of the manifest and named by the signed record.
"""

from collections.abc import Sequence

import msgspec

from p2p.errors import WireError
from p2p.ids import PeerId
from p2p.wire.codec import Record, decode_as, encode
from storage.coding.merkle import HASH_BYTES
from storage.errors import ManifestError
from storage.ids import Address, ShardRoot
from storage.limits import MANIFEST_BYTES_MAX, SHARDS_MAX
from storage.manifests.manifest import Manifest, SegmentRef, address_of
from storage.records.holding import Holding

UNMADE = ShardRoot(bytes(HASH_BYTES))
"""In place of the root of a shard that nobody has made yet."""


class MoreRoots(Record, frozen=True):
    """Per segment of a page: the roots of the shards n, n + 1, ... one after another."""

    segments: tuple[bytes, ...]


class Placed(msgspec.Struct, frozen=True):
    """One segment: its shards by root, and who holds each."""

    ref: SegmentRef
    roots: tuple[ShardRoot, ...]
    row: tuple[PeerId | None, ...]


def placed(
    manifest: Manifest,
    refs: Sequence[SegmentRef],
    holding: Holding | None,
    more: Sequence[tuple[ShardRoot, ...]] | None = None,
) -> list[Placed]:
    """The segments of a page; without `more` only the shards the manifest itself can name."""
    places = []
    for at, ref in enumerate(refs):
        roots = manifest.roots_of(ref)
        row = holding.rows[at] if holding is not None else (None,) * manifest.n
        if manifest.k == 1:
            roots = roots[:1] * len(row)
        elif more is not None:
            roots = (*roots, *more[at])
        places.append(Placed(ref, roots, row[: len(roots)]))
    return places


def write_more(roots: Sequence[tuple[ShardRoot, ...]]) -> tuple[Address, bytes]:
    """The body for the roots beyond the manifest's n, and its address."""
    data = encode(MoreRoots(tuple(b"".join(of_segment) for of_segment in roots)))
    return address_of(data), data


def read_more(holding: Holding, n: int, data: bytes) -> list[tuple[ShardRoot, ...]]:
    """Check and unpack. ManifestError when the bytes are not what the record names."""
    if address_of(data) != holding.more:
        raise ManifestError("the roots of added shards do not hash to what the record names")
    try:
        segments = decode_as(MoreRoots, data, MANIFEST_BYTES_MAX).segments
    except WireError as error:
        raise ManifestError(f"not the roots of added shards: {error}") from error
    added = len(holding.rows[0]) - n if holding.rows else 0
    is_whole = all(len(joined) == added * HASH_BYTES for joined in segments)
    if not 0 < added <= SHARDS_MAX or len(segments) != len(holding.rows) or not is_whole:
        raise ManifestError("roots of added shards for another record")
    cuts = range(0, added * HASH_BYTES, HASH_BYTES)
    return [tuple(ShardRoot(joined[at : at + HASH_BYTES]) for at in cuts) for joined in segments]
