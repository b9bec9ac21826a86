"""Records as they lie in LMDB, which has no checksums: each value carries a hash of its own.

The hash also binds table and key, so that a page in the wrong place is noticed as well.
"""

from typing import Any, TypeAlias

import lmdb
from blake3 import blake3

from storage.errors import TABLES_REMEDY, RecordCorruptError, StoreFailedError
from storage.limits import KEY_BYTES_MAX

RECORD_HASH_BYTES = 8
"""Against decay, not against people: whoever can write the file can write the hash."""

Transaction: TypeAlias = Any
"""lmdb.Transaction with buffers=True; the library has no types."""

Handle: TypeAlias = Any
"""An lmdb database handle."""


def _hash(table: str, key: bytes, value: bytes | memoryview) -> bytes:
    head = table.encode() + b"\0" + len(key).to_bytes(2) + key
    return blake3(head).update(value).digest(RECORD_HASH_BYTES)


def seal(table: str, key: bytes, value: bytes) -> bytes:
    """The value with its hash in front."""
    return _hash(table, key, value) + value


def unseal(where: str, table: str, key: bytes, sealed: memoryview) -> bytes:
    """The value as it was written to the tables in folder `where`. Raises RecordCorruptError."""
    value = sealed[RECORD_HASH_BYTES:]
    if len(sealed) < RECORD_HASH_BYTES or sealed[:RECORD_HASH_BYTES] != _hash(table, key, value):
        raise RecordCorruptError(table, key, where)
    return bytes(value)


def get_record(
    txn: Transaction, handle: Handle, where: str, table: str, key: bytes
) -> bytes | None:
    """One value. Raises RecordCorruptError, StoreFailedError."""
    try:
        sealed = txn.get(key, db=handle)
    except lmdb.Error as error:
        raise unreadable(where, table, error) from error
    return None if sealed is None else unseal(where, table, key, sealed)


def scan_records(
    txn: Transaction,
    handle: Handle,
    where: str,
    table: str,
    prefix: bytes,
    after: bytes | None,
    limit: int,
) -> list[tuple[bytes, bytes]]:
    """Pairs in key order, as `ReadView.scan` says. Raises RecordCorruptError, StoreFailedError."""
    if len(prefix) > KEY_BYTES_MAX or limit <= 0:
        return []
    begin = max(prefix, (after or b"")[:KEY_BYTES_MAX])
    pairs: list[tuple[bytes, bytes]] = []
    try:
        with txn.cursor(db=handle) as cursor:
            if not (cursor.set_range(begin) if begin else cursor.first()):
                return []
            for raw_key, sealed in cursor.iternext(keys=True, values=True):
                key = bytes(raw_key)
                if after is not None and key <= after:
                    continue
                if not key.startswith(prefix):
                    break
                pairs.append((key, unseal(where, table, key, sealed)))
                if len(pairs) == limit:
                    break
    except lmdb.Error as error:
        raise unreadable(where, table, error) from error
    return pairs


def unreadable(where: str, table: str, error: Exception) -> StoreFailedError:
    """What LMDB says of a damaged page, as ours."""
    return StoreFailedError(f"table {table} in {where} cannot be read ({error}): {TABLES_REMEDY}")
