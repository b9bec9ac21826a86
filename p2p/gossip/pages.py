"""Tables as messages: digests of keys and sequences, and items in pushes of bounded size."""

import struct
from collections.abc import Iterable, Iterator, Sequence

from p2p.errors import WireError
from p2p.gossip.messages import Carried, Digest, Want
from p2p.gossip.table import KEY_BYTES, KEY_MAX, ItemRow
from p2p.limits import GOSSIP_DIGEST_ENTRIES_MAX, GOSSIP_PUSH_ITEMS_MAX, NEWS_BYTES_MAX

_ENTRY = struct.Struct(">QQ")
_KEY = struct.Struct(">Q")
_ENVELOPE_BYTES = 256
"""A sealed item without its payload: ids, numbers and a signature."""


def digest_of(rows: Sequence[ItemRow], page: int) -> Digest:
    """Part `page` of all live rows, by key; together the parts cover every key there is."""
    start = page * GOSSIP_DIGEST_ENTRIES_MAX
    end = start + GOSSIP_DIGEST_ENTRIES_MAX
    low = rows[start - 1].key + 1 if start > 0 else 0
    high = rows[end - 1].key if end < len(rows) else KEY_MAX
    entries = (_ENTRY.pack(row.key, row.item.sequence) for row in rows[start:end])
    return Digest(low, high, b"".join(entries))


def pages_in(rows: Sequence[ItemRow]) -> int:
    """Digests that these rows take: at least one."""
    return max(1, -(-len(rows) // GOSSIP_DIGEST_ENTRIES_MAX))


def read_digest(digest: Digest) -> dict[int, int]:
    """Sequences by key. Raises WireError when it is malformed."""
    _check_length(digest.entries, _ENTRY.size)
    told = dict(_ENTRY.iter_unpack(digest.entries))
    if not all(digest.low <= key <= digest.high <= KEY_MAX for key in told):
        raise WireError("digest with keys outside of its range")
    return told


def want_of(keys: Iterable[int]) -> Want:
    """Ask for these keys."""
    return Want(b"".join(_KEY.pack(key) for key in keys))


def read_want(want: Want) -> list[int]:
    """Keys asked for. Raises WireError when it is malformed."""
    _check_length(want.keys, KEY_BYTES)
    return [key for (key,) in _KEY.iter_unpack(want.keys)]


def batches(rows: Iterable[ItemRow], now_s: float) -> Iterator[tuple[Carried, ...]]:
    """Live rows as they travel, as many at once as a message holds."""
    batch: list[Carried] = []
    size = 0
    for row in rows:
        left_ms = int((row.ends_s - now_s) * 1000)
        if left_ms <= 0:
            continue
        row_bytes = _ENVELOPE_BYTES + len(row.sealed.payload)
        if batch and (size + row_bytes > NEWS_BYTES_MAX or len(batch) >= GOSSIP_PUSH_ITEMS_MAX):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(Carried(left_ms, row.sealed))
        size += row_bytes
    if batch:
        yield tuple(batch)


def _check_length(data: bytes, step: int) -> None:
    if len(data) % step or len(data) > step * GOSSIP_DIGEST_ENTRIES_MAX:
        raise WireError(f"digest or want of {len(data)} bytes")
