"""The register across restarts, in the state tables."""

from collections.abc import Iterable, Mapping

from p2p.errors import WireError
from p2p.limits import REMOVALS_MAX, USES_MAX
from p2p.wire.codec import decode_as, encode
from p2p.wire.envelope import Signed
from storage.engine.port import Tables, WriteView
from storage.errors import StoreFullError

TABLE = "register"


class TableEntryStore:
    """`p2p.register.service.EntryStore` over Tables."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def load(self) -> list[Signed]:
        """Every entry; one that cannot be read is skipped: others tell it again."""
        entries: list[Signed] = []
        for _, value in self._tables.scan(TABLE, limit=REMOVALS_MAX + USES_MAX):
            try:
                entries.append(decode_as(Signed, value))
            except WireError:
                continue
        return entries

    async def keep(self, entries: Mapping[bytes, Signed]) -> bool:
        """Durable when it returns True; False when the disk is full."""

        def write(view: WriteView) -> None:
            for key, sealed in entries.items():
                view.put(TABLE, key, encode(sealed))

        try:
            await self._tables.transact(write)
        except StoreFullError:
            return False
        return True

    async def forget(self, keys: Iterable[bytes]) -> None:
        """Drop what is no longer needed; on a full disk it is dropped after the next start."""

        def write(view: WriteView) -> None:
            for key in keys:
                view.delete(TABLE, key)

        try:
            await self._tables.free(write)
        except StoreFullError:
            return
