"""Objects of ours that were given up: their names and when, for whoever still asks for one.

    removed   address -> RemovedRow

A capability outlives its object in scripts and mails: without this it would be an unknown address.
"""

from collections.abc import Sequence
from typing import Final

from p2p.wire.codec import Record, encode
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from storage.errors import StoreFullError
from storage.facade import Gone
from storage.ids import Address
from storage.limits import REMOVED_KEPT, REMOVED_NAME_CHARS_MAX

TABLE: Final = "removed"
_PRUNED_EVERY: Final = 256


class RemovedRow(Record, frozen=True):
    """One object that was given up."""

    name: str
    at_ms: int
    person: str = ""


class RemovedBook:
    """The newest REMOVED_KEPT of them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._written = 0
        """How many were noted since the start: the oldest go now and then."""

    def get(self, address: Address) -> Gone | None:
        """What was under that address, if we gave it up."""
        data = self._tables.get(TABLE, address)
        if data is None:
            return None
        row = stored(RemovedRow, data, "store.lmdb")
        return Gone(row.name, row.at_ms, row.person)

    def write(self, view: WriteView, address: Address, gone: Gone) -> None:
        """Note one, inside the transaction that gives it up."""
        row = RemovedRow(gone.name[:REMOVED_NAME_CHARS_MAX], gone.at_ms, gone.person)
        view.put(TABLE, address, encode(row))

    async def add(self, address: Address, gone: Gone) -> None:
        """Note one by itself. Raises StoreFullError."""
        await self._tables.free(lambda view: self.write(view, address, gone))
        await self.prune()

    async def prune(self) -> None:
        """Forget the oldest where there are too many; to be called after each that was written."""
        self._written += 1
        if self._written % _PRUNED_EVERY != 1:
            return
        pairs: list[tuple[bytes, bytes]] = []
        while more := self._tables.scan(TABLE, after=pairs[-1][0] if pairs else None):
            pairs += more
        rows = [(stored(RemovedRow, value, "store.lmdb").at_ms, key) for key, value in pairs]
        try:
            await self._forget([key for _, key in sorted(rows)[: max(0, len(rows) - REMOVED_KEPT)]])
        except StoreFullError:
            return  # there is room again before the next time, or not even for this

    async def _forget(self, keys: Sequence[bytes]) -> None:
        def apply(view: WriteView) -> None:
            for key in keys:
                view.delete(TABLE, key)

        if keys:
            await self._tables.free(apply)
