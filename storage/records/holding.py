"""Who holds the shards of an object: signed records, one per page of its manifest.

The first is signed by the machine that put the object, later ones by whoever repaired it. A higher
sequence replaces a lower one, if its signer had a say in the old one: its signer, or a holder.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from p2p.errors import WireError
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed, Signer, open_signed, seal
from storage.coding.merkle import HASH_BYTES
from storage.ids import Address
from storage.limits import (
    HOLDER_ID_CHARS_MAX,
    HOLDERS_BYTES_MAX,
    HOLDERS_LEAP_MAX,
    HOLDERS_MAX,
    HOLDERS_SEQUENCE_MAX,
    SHARDS_MAX,
)
from storage.manifests.manifest import Manifest

HOLDERS_DOMAIN: Final = "swarm/holders"
PAGES_MAX: Final = 1 << 32
"""A page number is kept in 4 bytes."""

NO_MORE: Final = Address(b"")
"""No shards were added, or only copies."""

_NOBODY: Final = 0xFFFF
_SLOT_BYTES: Final = 2

Rows: TypeAlias = tuple[tuple[PeerId | None, ...], ...]
"""Per segment of the page, per shard: its holder, or None where it has none."""


class HolderRecord(Record, frozen=True):
    """Who holds which shard of one page. The envelope's `sequence` orders them; no expiry."""

    address: Address
    page: int
    width: int
    """Shards per segment: the manifest's n, more when some were added (storage.records.wider)."""
    peers: tuple[PeerId, ...]
    slots: bytes
    """Segment by segment, shard by shard: two bytes, an index into `peers` or 0xFFFF."""
    more: bytes = b""
    """Address of the roots of added shards; empty for none, and for copies, which have one root."""


class Holding(msgspec.Struct, frozen=True):
    """A verified holder record, unpacked."""

    address: Address
    page: int
    sequence: int
    signer: PeerId
    rows: Rows
    sealed: Signed
    more: Address = NO_MORE

    def peers(self) -> tuple[PeerId, ...]:
        """Everybody in it, each once, in order of appearance."""
        return tuple(dict.fromkeys(peer for row in self.rows for peer in row if peer is not None))


def seal_holders(
    signer: Signer,
    network: NetworkId,
    address: Address,
    page: int,
    rows: Rows,
    sequence: int,
    more: bytes = b"",
) -> Signed:
    """Sign a holder record. ValueError for more than HOLDERS_MAX different holders."""
    peers = tuple(dict.fromkeys(peer for row in rows for peer in row if peer is not None))
    if len(peers) > HOLDERS_MAX:
        raise ValueError(f"{len(peers)} holders in one record, limit {HOLDERS_MAX}")
    index = {peer: at for at, peer in enumerate(peers)}
    slots = b"".join(
        (_NOBODY if peer is None else index[peer]).to_bytes(_SLOT_BYTES)
        for row in rows
        for peer in row
    )
    width = len(rows[0]) if rows else 0
    record = HolderRecord(address, page, width, peers, slots, more)
    return seal(signer, network, HOLDERS_DOMAIN, record, sequence=sequence, expires_ms=0)


def open_holders(signer: Signer, network: NetworkId, sealed: Signed) -> Holding:
    """Verify and unpack. WireError for a wrong signature or senseless content."""
    record = open_signed(signer, network, HOLDERS_DOMAIN, HolderRecord, sealed)
    if len(sealed.payload) > HOLDERS_BYTES_MAX:
        raise WireError(f"holder record of {len(sealed.payload)} bytes")
    if not 0 <= sealed.sequence <= HOLDERS_SEQUENCE_MAX:
        raise WireError(f"holder record of number {sealed.sequence}")
    return Holding(
        record.address, record.page, sealed.sequence, sealed.sender, _rows_of(record), sealed,
        Address(record.more),
    )  # fmt: skip


def _rows_of(record: HolderRecord) -> Rows:
    row_bytes = record.width * _SLOT_BYTES
    if len(record.more) not in (0, HASH_BYTES):
        raise WireError(f"holder record names roots by {len(record.more)} bytes")
    if len(record.address) != HASH_BYTES or not 0 <= record.page < PAGES_MAX:
        raise WireError(f"holder record of page {record.page}")
    if not 1 <= record.width <= SHARDS_MAX or len(record.slots) % row_bytes:
        raise WireError(f"holder record of width {record.width}, {len(record.slots)} bytes")
    longest = max(map(len, record.peers), default=0)
    if len(record.peers) > HOLDERS_MAX or longest > HOLDER_ID_CHARS_MAX:
        raise WireError(f"holder record names {len(record.peers)} peers, by {longest} characters")
    slots = record.slots
    numbers = [int.from_bytes(slots[at : at + _SLOT_BYTES]) for at in range(0, len(slots), 2)]
    if any(number != _NOBODY and number >= len(record.peers) for number in numbers):
        raise WireError("holder record points at a peer it does not name")
    peers = [None if number == _NOBODY else record.peers[number] for number in numbers]
    return tuple(tuple(peers[at : at + record.width]) for at in range(0, len(peers), record.width))


def replaces(new: Holding, old: Holding | None) -> bool:
    """Whether `new` takes the place of `old`: newer, and signed by one who had a say in it.

    Two repairers may write the same sequence; then the greater id wins everywhere.
    """
    if old is None:
        return True
    if new.signer != old.signer and new.signer not in old.peers():
        return False
    return is_near(new, old) and (new.sequence, new.signer) > (old.sequence, old.signer)


def is_near(new: Holding, old: Holding) -> bool:
    """Whether so many mendings may lie between: nobody writes a record that no other can follow."""
    return new.sequence - old.sequence <= HOLDERS_LEAP_MAX


def fits(holding: Holding, manifest: Manifest, segments: int) -> bool:
    """Whether the record has a row for each of so many segments and a slot for each shard."""
    return len(holding.rows) == segments and all(len(row) >= manifest.n for row in holding.rows)


def newest(records: Sequence[Holding]) -> Holding | None:
    """The one with the highest sequence, of several the one with the greatest signer."""
    return max(records, key=lambda record: (record.sequence, record.signer), default=None)


def latest(records: Sequence[Holding]) -> list[Holding]:
    """All that have the highest sequence."""
    sequence = max((record.sequence for record in records), default=0)
    return [record for record in records if record.sequence == sequence]


def prevailing(records: Sequence[Holding]) -> Holding | None:
    """Of the latest the one that most keep, one entry each, then that of the greatest signer."""
    keepers = Counter(record.signer for record in latest(records))
    return max(
        latest(records), key=lambda record: (keepers[record.signer], record.signer), default=None
    )
