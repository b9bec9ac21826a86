"""The keyring: what this owner put from this machine, with the keys to read it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from p2p.wire.codec import Record, decode_as, encode
from storage.engine.port import Tables, WriteView
from storage.facade import ObjectEntry, ReadCap
from storage.ids import Address, LeaseId, ObjectKey

TABLE: Final = "keyring"
"""address -> KeyRow. It never leaves this machine."""


class KeyRow(Record, frozen=True):
    """One object of ours."""

    key: ObjectKey
    lease: LeaseId
    name: str
    size: int
    storage_class: int
    put_ms: int
    until_ms: int
    """When its leases end unless they are renewed."""


class Keyring:
    """A durable table of our objects."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get(self, address: Address) -> KeyRow | None:
        """Our object of that address, if it is ours."""
        data = self._tables.get(TABLE, address)
        return None if data is None else decode_as(KeyRow, data)

    def rows(self) -> list[tuple[Address, KeyRow]]:
        """All our objects by address."""
        pairs: list[tuple[bytes, bytes]] = []
        while more := self._tables.scan(TABLE, after=pairs[-1][0] if pairs else None):
            pairs += more
        return [(Address(key), decode_as(KeyRow, value)) for key, value in pairs]

    def entries(self) -> Sequence[ObjectEntry]:
        """All our objects, the oldest first."""
        found = [
            ObjectEntry(ReadCap(address, row.key), row.name, row.size, row.put_ms)
            for address, row in self.rows()
        ]
        return sorted(found, key=lambda entry: (entry.put_ms, entry.cap.address))

    async def add(self, address: Address, row: KeyRow) -> None:
        """Durable on return. Raises StoreFullError."""
        await self._tables.transact(lambda view: view.put(TABLE, address, encode(row)))

    async def remove(self, address: Address) -> bool:
        """Forget an object; False when it was not there. Raises StoreFullError."""
        return await self._tables.transact(lambda view: view.delete(TABLE, address))

    async def renewed(self, addresses: Sequence[Address], until_ms: int) -> None:
        """Note that the leases of these now end at `until_ms`. Raises StoreFullError."""
        await self._tables.transact(lambda view: _renew(view, addresses, until_ms))


def _renew(view: WriteView, addresses: Sequence[Address], until_ms: int) -> None:
    for address in addresses:
        data = view.get(TABLE, address)
        if data is not None:  # it may have been forgotten meanwhile
            row = decode_as(KeyRow, data)
            view.put(TABLE, address, encode(msgspec.structs.replace(row, until_ms=until_ms)))
