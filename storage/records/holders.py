"""Who holds the shards of an object: signed records, one per page of its manifest.

The first is signed by the machine that put the object, later ones by whoever repaired it. A higher
sequence replaces a lower one, if its signer had a say in the old one: its signer, or a holder.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from p2p.errors import WireError
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import Record, encode
from p2p.wire.envelope import Signed, Signer, open_signed, seal
from storage.engine.port import ReadView, Tables, WriteView
from storage.engine.stored import stored
from storage.ids import Address
from storage.limits import (
    HOLDER_ID_CHARS_MAX,
    HOLDERS_BYTES_MAX,
    HOLDERS_LEAP_MAX,
    HOLDERS_MAX,
    HOLDERS_SEQUENCE_MAX,
    MANIFESTS_KEPT,
    SHARDS_MAX,
    TOUCHED_PAGES_MAX,
)
from storage.manifest import HASH_BYTES, Manifest

HOLDERS_DOMAIN: Final = "swarm/holders"
TABLE: Final = "holders"
"""address + page (4 bytes) -> Signed."""

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


@dataclass(frozen=True, slots=True)
class Holding:
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


class HolderBook:
    """The holder records kept on this machine."""

    def __init__(self, tables: Tables, signer: Signer, network: NetworkId) -> None:
        self._tables = tables
        self._signer = signer
        self._network = network
        self._opened: dict[bytes, tuple[bytes, Holding]] = {}
        self.touched: deque[tuple[Address, int]] = deque(maxlen=TOUCHED_PAGES_MAX)
        """Pages whose record was (or is just being) written here: for repair, which empties it."""

    def open(self, sealed: Signed) -> Holding:
        """Verify and unpack a record from anywhere. Raises WireError."""
        return open_holders(self._signer, self._network, sealed)

    def seal(
        self,
        address: Address,
        page: int,
        rows: Rows,
        sequence: int,
        more: Address = NO_MORE,
    ) -> Holding:
        """A new record in our own name; it is not kept until `accept`."""
        sequence = min(sequence, HOLDERS_SEQUENCE_MAX)
        sealed = seal_holders(self._signer, self._network, address, page, rows, sequence, more)
        me = self._signer.peer_id
        return Holding(address, page, sequence, me, rows, sealed, more)

    def get(self, address: Address, page: int = 0) -> Holding | None:
        """The newest record known here; verified once for as long as it is in use."""
        key = _key(address, page)
        data = self._tables.get(TABLE, key)
        if data is None:
            return None
        opened = self._opened.pop(key, None)
        if opened is None or opened[0] != data:
            opened = (data, self.open(stored(Signed, data, "store.lmdb")))
        self._opened[key] = opened
        if len(self._opened) > MANIFESTS_KEPT:
            del self._opened[next(iter(self._opened))]
        return opened[1]

    def scan(self, after: bytes | None = None, limit: int = 100) -> list[tuple[bytes, Holding]]:
        """Records by key (address + page), for whoever walks over all of them in steps."""
        pairs = self._tables.scan(TABLE, after=after, limit=limit)
        return [(key, self.open(stored(Signed, value, "store.lmdb"))) for key, value in pairs]

    async def accept(self, holding: Holding) -> Holding:
        """Keep it durably if it replaces ours; the record that holds afterwards."""
        return await self._tables.transact(lambda view: self.write(view, holding))

    async def adopt(self, holding: Holding) -> Holding:
        """Keep what others agree on unless ours is newer; the record that holds afterwards.

        For a machine that was away while the object was mended more than once, or by two at once:
        those who had a say in the records between are unknown to it. What it is told by the
        holders and homes it asked must do.
        """

        def apply(view: WriteView) -> Holding:
            old = self._read(view, holding.address, holding.page)
            if old is not None and old.sequence <= holding.sequence and is_near(holding, old):
                view.delete(TABLE, _key(holding.address, holding.page))
            return self.write(view, holding)

        return await self._tables.transact(apply)

    def write(self, view: WriteView, holding: Holding) -> Holding:
        """The same inside somebody else's transaction."""
        old = self._read(view, holding.address, holding.page)
        if old is not None and not replaces(holding, old):
            return old
        view.put(TABLE, _key(holding.address, holding.page), encode(holding.sealed))
        self.touched.append((holding.address, holding.page))
        return holding

    async def forget(self, address: Address) -> None:
        """Forget all pages of an object. Raises StoreFullError."""
        await self._tables.transact(lambda view: self.remove(view, address))

    def remove(self, view: WriteView, address: Address) -> None:
        """Forget all pages of an object, inside somebody else's transaction."""
        for key, _ in view.scan(TABLE, address):
            view.delete(TABLE, key)
            self.touched.append((address, int.from_bytes(key[len(address) :])))

    def _read(self, view: ReadView, address: Address, page: int) -> Holding | None:
        data = view.get(TABLE, _key(address, page))
        return None if data is None else self.open(stored(Signed, data, "store.lmdb"))


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


def _key(address: Address, page: int) -> bytes:
    return address + page.to_bytes(4)
