"""The holder records that are kept on this machine, one row a page."""

from collections import deque
from typing import Final

from p2p.ids import NetworkId
from p2p.wire.codec import encode
from p2p.wire.envelope import Signed, Signer
from storage.engine.port import ReadView, Tables, WriteView
from storage.engine.stored import stored
from storage.ids import Address
from storage.limits import HOLDERS_SEQUENCE_MAX, MANIFESTS_KEPT, TOUCHED_PAGES_MAX
from storage.records.holding import (
    NO_MORE,
    Holding,
    Rows,
    is_near,
    open_holders,
    replaces,
    seal_holders,
)

TABLE: Final = "holders"
"""address + page (4 bytes) -> Signed."""


class HolderBook:
    """The holder records kept on this machine."""

    def __init__(self, tables: Tables, signer: Signer, network: NetworkId) -> None:
        self._tables = tables
        self._signer = signer
        self._network = network
        self._opened: dict[bytes, tuple[bytes, Holding]] = {}
        """By key: what lay in the table, and the record it was found to be; the last used last."""
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


def _key(address: Address, page: int) -> bytes:
    return address + page.to_bytes(4)
