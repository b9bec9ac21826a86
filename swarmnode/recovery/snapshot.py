"""A copy of the keyring and the ledger, and how it is sealed for its owner alone."""

from collections.abc import Callable
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2p.errors import WireError
from p2p.ids import PeerId
from p2p.wire.codec import Record, decode_as, encode
from swarmnode.errors import SnapshotError
from swarmnode.limits import SNAPSHOT_BYTES_MAX

NONCE_BYTES: Final = 12
_KEY_CONTEXT: Final = "swarm keyring pointer key 1"


class Row(Record, frozen=True):
    """One row of a table, as it lies there."""

    table: str
    key: bytes
    value: bytes


class Snapshot(Record, frozen=True):
    """Everything that a person's node could not make again."""

    taken_ms: int
    objects: tuple[tuple[bytes, bytes], ...]
    """(address, KeyRow) of the keyring."""
    rows: tuple[Row, ...]
    """Tasks, what was taken over of them, and the people of the machine."""
    lab_seed: bytes = b""
    network_seed: bytes = b""


class Pointer(Record, frozen=True):
    """Where the newest snapshot is, and which machine of the person writes it."""

    cap: str
    writer: PeerId


def pack(snapshot: Snapshot) -> bytes:
    """The bytes of the object."""
    return encode(snapshot)


def unpack(data: bytes) -> Snapshot:
    """Raises SnapshotError."""
    try:
        return decode_as(Snapshot, data, SNAPSHOT_BYTES_MAX)
    except WireError as exc:
        raise SnapshotError(f"the keyring in the pool cannot be read ({exc}): upgrade") from exc


def seal_pointer(seed: bytes, pointer: Pointer, entropy: Callable[[int], bytes]) -> bytes:
    """The value of the name: any member sees it, only the phrase opens it."""
    nonce = entropy(NONCE_BYTES)
    return nonce + ChaCha20Poly1305(_key(seed)).encrypt(nonce, encode(pointer), None)


def open_pointer(seed: bytes, value: bytes) -> Pointer:
    """Raises SnapshotError."""
    nonce, sealed = value[:NONCE_BYTES], value[NONCE_BYTES:]
    try:
        plain = ChaCha20Poly1305(_key(seed)).decrypt(nonce, sealed, None)
        return decode_as(Pointer, plain)
    except (InvalidTag, WireError, ValueError) as exc:
        raise SnapshotError("what the pool keeps under your name is not of this phrase") from exc


def _key(seed: bytes) -> bytes:
    return blake3(seed, derive_key_context=_KEY_CONTEXT).digest()
