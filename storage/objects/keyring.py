"""The keyring: the objects of a person on this machine, with the keys to read them.

A second table of the same form holds what this machine put in the name of others, until their own
keyring has it.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec
import trio

from p2p.ids import PeerId
from p2p.wire.codec import Record, encode
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from storage.facade import Mark, ObjectEntry, ObjectKind, ReadCap
from storage.ids import Address, LeaseId, ObjectKey

TABLE: Final = "keyring"
"""address -> KeyRow: ours. Other machines never see it in clear."""

ENTRUSTED: Final = "entrusted"
"""address -> KeyRow: put here for others, and not handed over yet."""

LEASES_OF: Final = "keyring_leases"
"""lease -> address of ours: one lease is never two objects, whoever says so."""

DIGESTS: Final = "keyring_digests"
"""digest + address -> "": ours by their plaintext."""

REMOVED_BY_LAB: Final = "keyring_removed"
"""address -> "": ours that the lab's key removed, of which there are few."""

NEEDED: Final = "keyring_needed"
"""pack + address of ours that needs it -> ""."""

PACKS: Final = "keyring_packs"
"""address of ours that is a pack -> ""."""

RESTORED_AT_ONCE: Final = 512
"""Rows taken in by one commit: each costs its fsync, and fsyncs are slow."""

PUTS: Final = "puts"
"""lease -> a put that has begun (storage.objects.put_list)."""


class KeyRow(Record, frozen=True):
    """One object."""

    key: ObjectKey
    """Sealed where `person` has a key of their own."""
    lease: LeaseId
    name: str
    size: int
    """Bytes of plaintext."""
    storage_class: int
    put_ms: int
    """When it was put, or taken over, here (wall clock)."""
    until_ms: int
    """When its leases end unless they are renewed."""
    kind: str = ""
    """What a task makes of it (storage.facade.Mark); empty for what a person put."""
    task: str = ""
    person: str = ""
    """Whose it is, of several people of one machine; empty for the machine's owner."""
    digest: bytes = b""
    """BLAKE3 of the plaintext, where it was put here: the same bytes are found again."""
    stored: int = 0
    """Bytes on all its holders together when it was put; 0 where nobody counted."""
    holders: tuple[PeerId, ...] = ()
    """Machines that may have got something of it when it was put."""
    removed_ms: int = 0
    """When the lab's key removed it; it stays here until its owner takes it off."""
    removed_why: str = ""
    """What was said with that, as one line."""
    needs: tuple[Address, ...] = ()
    """Packs that it cannot be read without."""
    whole_size: int = 0
    """Bytes of all that it stands for; 0: it stands for itself."""


SealKey: TypeAlias = Callable[[str, Address, ObjectKey], ObjectKey]
"""A person's key of an object as it is to rest."""


class Keyring:
    """A durable table of objects."""

    def __init__(self, tables: Tables, table: str = TABLE) -> None:
        self._tables = tables
        self._table = table
        """TABLE or ENTRUSTED: only what stands in the first is found by lease and digest."""
        self._told_of_changes: list[Callable[[], None]] = []
        self._seal: SealKey = _in_clear
        """See `rest_by`; until then all keys rest in clear."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Be told after each change that is durable, but for copies of the keyring itself."""
        self._told_of_changes.append(listener)

    def rest_by(self, seal: SealKey) -> None:
        """From now on a person's keys rest as `seal` says; what is sealed already stays so."""
        self._seal = seal

    def tell_changed(self) -> None:
        """A change is durable."""
        for tell in self._told_of_changes:
            tell()

    def get(self, address: Address) -> KeyRow | None:
        """The object of that address, if it is here."""
        data = self._tables.get(self._table, address)
        return None if data is None else stored(KeyRow, data, "store.lmdb")

    def holder_of(self, lease: LeaseId) -> Address | None:
        """Which object of ours has that lease."""
        address = self._tables.get(LEASES_OF, lease)
        return None if address is None else Address(address)

    def same(self, digest: bytes) -> list[ObjectEntry]:
        """Objects of ours with that plaintext."""
        entries = []
        for key, _ in self._tables.scan(DIGESTS, digest):
            address = Address(key[len(digest) :])
            row = self.get(address)
            if row is not None and not row.removed_ms:
                entries.append(_entry(address, row))
        return entries

    def is_needed(self, pack: Address) -> bool:
        """Whether an object of ours that is kept cannot be read without that one."""
        return bool(self._tables.scan(NEEDED, pack, limit=1))

    def packs(self) -> list[Address]:
        """Those of ours."""
        keys: list[bytes] = []
        while more := self._tables.scan(PACKS, after=keys[-1] if keys else None):
            keys += [key for key, _ in more]
        return [Address(key) for key in keys]

    def dump(self) -> list[tuple[bytes, bytes]]:
        """Every row as it lies here, without copies of the keyring and what nothing needs yet."""
        return [
            (address, encode(row))
            for address, row in self.rows()
            if row.kind != ObjectKind.KEYRING
            and (row.kind != ObjectKind.PACK or self.is_needed(address))
        ]

    async def restore(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Take in rows of `dump`; those that are here stay. Raises StoreFullError.

        What needs packs comes before them: a crash between the two must not find any unneeded.
        """
        pairs = sorted(pairs, key=lambda pair: _is_pack(pair[1]))
        for at in range(0, len(pairs), RESTORED_AT_ONCE):
            await self._tables.transact(self._restoring(pairs[at : at + RESTORED_AT_ONCE]))
        if pairs:
            self.tell_changed()

    def _restoring(self, pairs: Sequence[tuple[bytes, bytes]]) -> Callable[[WriteView], None]:
        read = [(Address(key), stored(KeyRow, value, "store.lmdb")) for key, value in pairs]
        rows = [(address, self._at_rest(address, _brought(row))) for address, row in read]

        def write(view: WriteView) -> None:
            for address, row in rows:
                if view.get(self._table, address) is None:
                    self._put(view, address, row)

        return write

    def rows(self) -> list[tuple[Address, KeyRow]]:
        """All objects by address."""
        pairs: list[tuple[bytes, bytes]] = []
        while more := self._tables.scan(self._table, after=pairs[-1][0] if pairs else None):
            pairs += more
        return [(Address(key), stored(KeyRow, value, "store.lmdb")) for key, value in pairs]

    async def rows_in_steps(self) -> list[tuple[Address, KeyRow]]:
        """The same, with a pause after each thousand; what comes meanwhile may be missed."""
        rows: list[tuple[Address, KeyRow]] = []
        while pairs := self._tables.scan(self._table, after=rows[-1][0] if rows else None):
            rows += [(Address(key), stored(KeyRow, value, "store.lmdb")) for key, value in pairs]
            await trio.lowlevel.checkpoint()
        return rows

    def entries(self) -> Sequence[ObjectEntry]:
        """All objects, the oldest first."""
        entries = [_entry(address, row) for address, row in self.rows()]
        return sorted(entries, key=lambda entry: (entry.put_ms, entry.cap.address))

    def newest_removed(self, person: str = "") -> ObjectEntry | None:
        """The newest of a person's that the lab's key removed; asked for every second."""
        keys = (Address(key) for key, _ in self._tables.scan(REMOVED_BY_LAB))
        removed = ((key, self.get(key)) for key in keys)
        rows = [(key, row) for key, row in removed if row is not None and row.person == person]
        newest = max(rows, key=lambda pair: pair[1].removed_ms, default=None)
        return None if newest is None else _entry(*newest)

    async def add(self, address: Address, row: KeyRow) -> None:
        """Durable on return. Raises StoreFullError."""
        row = self._at_rest(address, row)
        await self._tables.transact(lambda view: self._put(view, address, row))
        if row.kind != ObjectKind.KEYRING:
            self.tell_changed()

    def _put(self, view: WriteView, address: Address, row: KeyRow) -> None:
        view.put(self._table, address, encode(row))
        view.delete(PUTS, row.lease)
        if self._table == TABLE:
            view.put(LEASES_OF, row.lease, address)
            if row.digest:
                view.put(DIGESTS, row.digest + address, b"")
            if row.removed_ms:
                view.put(REMOVED_BY_LAB, address, b"")
            if row.kind == ObjectKind.PACK:
                view.put(PACKS, address, b"")
            for pack in () if row.removed_ms else row.needs:
                view.put(NEEDED, pack + address, b"")

    async def seal_all(self, person: str) -> int:
        """Seal what rests in clear of a person; how many were. Raises StoreFullError."""
        rows = [(address, row) for address, row in self.rows() if row.person == person]
        sealed = {
            address: now.key
            for address, row in rows
            if (now := self._at_rest(address, row)).key != row.key
        }

        def write(view: WriteView) -> None:
            for address, key in sealed.items():
                data = view.get(self._table, address)
                if data is not None:  # it may have been forgotten meanwhile
                    row = stored(KeyRow, data, "store.lmdb")
                    view.put(self._table, address, encode(msgspec.structs.replace(row, key=key)))

        if sealed:
            await self._tables.transact(write)
        return len(sealed)

    def _at_rest(self, address: Address, row: KeyRow) -> KeyRow:
        if not row.person:
            return row
        return msgspec.structs.replace(row, key=self._seal(row.person, address, row.key))

    async def remove(self, address: Address) -> bool:
        """Forget an object; False when it was not there. Raises StoreFullError."""
        return await self._tables.free(lambda view: self.take_out(view, address))

    async def mark_removed(self, address: Address, at_ms: int, why: str) -> bool:
        """It is gone, and not by its owner's wish; False when that was known. StoreFullError."""

        def write(view: WriteView) -> bool:
            data = view.get(self._table, address)
            row = None if data is None else stored(KeyRow, data, "store.lmdb")
            if row is None or row.removed_ms:
                return False
            marked = msgspec.structs.replace(row, removed_ms=max(1, at_ms), removed_why=why)
            view.put(self._table, address, encode(marked))
            view.put(REMOVED_BY_LAB, address, b"")
            _need_no_more(view, address, row)
            return True

        return await self._tables.free(write)

    def take_out(self, view: WriteView, address: Address) -> bool:
        """The same inside somebody else's transaction."""
        data = view.get(self._table, address)
        if data is None:
            return False
        if self._table == TABLE:
            row = stored(KeyRow, data, "store.lmdb")
            view.delete(LEASES_OF, row.lease)
            if row.digest:
                view.delete(DIGESTS, row.digest + address)
            view.delete(REMOVED_BY_LAB, address)
            view.delete(PACKS, address)
            _need_no_more(view, address, row)
        return view.delete(self._table, address)

    async def renewed(self, addresses: Sequence[Address], until_ms: int) -> None:
        """Note that the leases of these now end at `until_ms`. Raises StoreFullError."""

        def write(view: WriteView) -> None:
            for address in addresses:
                data = view.get(self._table, address)
                if data is not None:  # it may have been forgotten meanwhile
                    row = msgspec.structs.replace(
                        stored(KeyRow, data, "store.lmdb"), until_ms=until_ms
                    )
                    view.put(self._table, address, encode(row))

        await self._tables.transact(write)


def keyrings_in(tables: Tables) -> tuple[Keyring, Keyring]:
    """Ours, and what was entrusted to us."""
    return Keyring(tables), Keyring(tables, ENTRUSTED)


def _in_clear(person: str, address: Address, key: ObjectKey) -> ObjectKey:
    return key


def _need_no_more(view: WriteView, address: Address, row: KeyRow) -> None:
    for pack in row.needs:
        view.delete(NEEDED, pack + address)


def _is_pack(data: bytes) -> bool:
    return stored(KeyRow, data, "store.lmdb").kind == ObjectKind.PACK


def _brought(row: KeyRow) -> KeyRow:
    """A pack of another machine without its digest: that one may free it, so that no new folder is
    to count on it (swarmnode.packs.bases)."""
    is_pack = row.kind == ObjectKind.PACK
    return msgspec.structs.replace(row, digest=b"") if is_pack else row


def _entry(address: Address, row: KeyRow) -> ObjectEntry:
    mark = Mark(row.kind, row.task, row.person)
    cap = ReadCap(address, row.key)
    return ObjectEntry(
        cap, row.name, row.whole_size or row.size, row.put_ms, mark, row.until_ms, row.digest,
        row.stored, row.removed_ms, row.removed_why, row.needs,
    )  # fmt: skip
