"""A copy of the keyring and the ledger, and how it is sealed for its owner alone.

    length  Head     length  Row     length  Row ...

Each part is a record by itself, after its length in four bytes: one record of everything would be
over the bounds of what is decoded at once as soon as there are some 1,300 objects.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2p.errors import WireError
from p2p.wire.codec import Record, decode_as, encode
from p2p.wire.frames import frame, payloads_in
from swarmnode.errors import SnapshotError
from swarmnode.limits import SNAPSHOT_BYTES_MAX, TASK_RECORD_BYTES_MAX
from swarmnode.recovery.copies.pointers import KeyringCopies, Pointer
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.store import TASKS

NONCE_BYTES: Final = 12
PART_BYTES_MAX: Final = TASK_RECORD_BYTES_MAX + 1024
"""The largest row of a table is a task; its table and key stand beside it."""
_KEY_CONTEXT: Final = "swarm keyring pointer key 1"


class SnapshotRow(Record, frozen=True):
    """One row of a table, as it lies there."""

    table: str
    key: bytes
    value: bytes


class Head(Record, frozen=True):
    """What a copy begins with."""

    made_ms: int
    objects: int
    """So many rows of the keyring come first; their table has no name."""
    lab_seed: bytes
    network_seed: bytes
    person: str = ""
    lab: str = ""
    """What the person, and the lab whose key was there, are called."""


class KeyringSnapshot(msgspec.Struct, frozen=True):
    """Everything that a person's node could not make again."""

    made_ms: int
    objects: tuple[tuple[bytes, bytes], ...]
    """(address, KeyRow) of the keyring."""
    rows: tuple[SnapshotRow, ...]
    """Tasks, what was taken over of them, and the people of the machine."""
    lab_seed: bytes = b""
    network_seed: bytes = b""
    names: tuple[str, str] = ("", "")
    """Of the person, and of the lab whose key was there."""


def pack(snapshot: KeyringSnapshot) -> bytes:
    """The bytes of the object."""
    objects, rows = snapshot.objects, snapshot.rows
    head = Head(
        snapshot.made_ms,
        len(objects),
        snapshot.lab_seed,
        snapshot.network_seed,
        *snapshot.names,
    )
    parts = [
        encode(head),
        *(encode(SnapshotRow("", *kept)) for kept in objects),
        *map(encode, rows),
    ]
    return b"".join(map(frame, parts))


def unpack(data: bytes) -> KeyringSnapshot:
    """Raises SnapshotError."""
    try:
        if len(data) > SNAPSHOT_BYTES_MAX:
            raise WireError(f"{len(data)} bytes")
        parts = payloads_in(data)
        head = decode_as(Head, next(parts, b""), PART_BYTES_MAX)
        rows = [decode_as(SnapshotRow, part, PART_BYTES_MAX) for part in parts]
    except WireError as exc:
        raise SnapshotError(f"the keyring in the pool cannot be read ({exc}): upgrade") from exc
    if not 0 <= head.objects <= len(rows):
        raise SnapshotError("the keyring in the pool cannot be read (it ends early): upgrade")
    objects = tuple((row.key, row.value) for row in rows[: head.objects])
    others = tuple(rows[head.objects :])
    names = (head.person, head.lab)
    return KeyringSnapshot(head.made_ms, objects, others, head.lab_seed, head.network_seed, names)


def tasks_in(snapshot: KeyringSnapshot) -> list[TaskRecord]:
    """Raises SnapshotError."""
    rows = (row for row in snapshot.rows if row.table == TASKS)
    try:
        return [decode_as(TaskRecord, row.value, TASK_RECORD_BYTES_MAX) for row in rows]
    except WireError as exc:
        raise SnapshotError(f"a task in the pool cannot be read ({exc}): upgrade") from exc


def seal_copies(seed: bytes, copies: KeyringCopies, entropy: Callable[[int], bytes]) -> bytes:
    """The value of the name: any member sees it, only the phrase opens it."""
    nonce = entropy(NONCE_BYTES)
    return nonce + ChaCha20Poly1305(_key(seed)).encrypt(nonce, encode(copies), None)


def open_copies(seed: bytes, value: bytes) -> KeyringCopies:
    """Raises SnapshotError."""
    nonce, sealed = value[:NONCE_BYTES], value[NONCE_BYTES:]
    try:
        plain = ChaCha20Poly1305(_key(seed)).decrypt(nonce, sealed, None)
        return _read(plain)
    except (InvalidTag, WireError, ValueError) as exc:
        raise SnapshotError("what the pool keeps under your name is not of this phrase") from exc


def _read(plain: bytes) -> KeyringCopies:
    """Also the one pointer that nodes wrote while the pool kept a single copy for each person."""
    try:
        return decode_as(KeyringCopies, plain)
    except WireError:
        return KeyringCopies((decode_as(Pointer, plain),))


def _key(seed: bytes) -> bytes:
    return blake3(seed, derive_key_context=_KEY_CONTEXT).digest()
