"""Secrets of one task on their way: packed together, and sealed for who may have them.

At rest at the submitter and at the task's guardians they are sealed by a key made of the task's
own. On their way to a machine that was awarded the task they are sealed for a key which that
machine made for this one request and keeps in memory alone.
Source: X25519 (RFC 7748), BLAKE3 as KDF, ChaCha20-Poly1305 (RFC 8439).
"""

from collections.abc import Callable, Mapping
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2p.errors import WireError
from p2p.wire.codec import Record, decode_as, encode
from storage.coding.sealing import open_value, seal_value
from swarmnode.errors import SecretSealedError
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.secrets.limits import (
    SECRET_BYTES_MAX,
    SECRETS_PER_TASK_MAX,
    TASK_SECRETS_BYTES_MAX,
)

_KEY_BYTES: Final = 32
_ONCE: Final = bytes(12)
"""Nonce: each key is used for one text."""
_HEAD_BYTES: Final = 1024
SEALED_BYTES_MAX: Final = TASK_SECRETS_BYTES_MAX + SECRETS_PER_TASK_MAX * 256 + _HEAD_BYTES
"""With names, lengths, nonce and tag."""


class Secrets(Record, frozen=True):
    """Values by name; what is printed of it tells no value."""

    pairs: tuple[tuple[str, bytes], ...]

    def __repr__(self) -> str:
        return f"Secrets of {len(self.pairs)} names"

    def values(self) -> dict[str, bytes]:
        """By name."""
        return dict(self.pairs)


def sealed_for_task(seed: bytes, task: TaskId, values: Mapping[str, bytes]) -> bytes:
    """For whoever has the task's key."""
    plain = encode(Secrets(tuple(sorted(values.items()))))
    return seal_value(_task_cipher(seed), _of(seed, "nonces"), plain, task.encode())


def opened_by_task(seed: bytes, task: TaskId, sealed: bytes) -> Secrets:
    """Raises SecretSealedError."""
    try:
        return _unpacked(open_value(_task_cipher(seed), sealed, task.encode()))
    except (InvalidTag, ValueError) as exc:
        raise SecretSealedError(f"the secrets of {task} are sealed by another key") from exc


class OneTimeKey:
    """Of one request, in memory alone."""

    def __init__(self) -> None:
        self._secret = X25519PrivateKey.generate()

    @property
    def public(self) -> bytes:
        """For who answers."""
        return self._secret.public_key().public_bytes_raw()

    def open(self, purpose: str, sealed: bytes) -> Secrets:
        """What was sealed for it. Raises SecretSealedError."""
        theirs, text = sealed[:_KEY_BYTES], sealed[_KEY_BYTES:]
        try:
            shared = self._secret.exchange(X25519PublicKey.from_public_bytes(theirs))
            cipher = _shared_cipher(shared, theirs, self.public)
            return _unpacked(cipher.decrypt(_ONCE, text, purpose.encode()))
        except (InvalidTag, ValueError) as exc:
            raise SecretSealedError("secrets came that were sealed for another key") from exc


def sealed_for_key(
    public: bytes, purpose: str, secrets: Secrets, entropy: Callable[[int], bytes]
) -> bytes:
    """For who made that key, and that purpose. Raises SecretSealedError: it is no key."""
    try:
        ours = X25519PrivateKey.from_private_bytes(entropy(_KEY_BYTES))
        shared = ours.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as exc:
        raise SecretSealedError("nothing can be sealed for what is no key") from exc
    own = ours.public_key().public_bytes_raw()
    cipher = _shared_cipher(shared, own, public)
    return own + cipher.encrypt(_ONCE, encode(secrets), purpose.encode())


def _unpacked(plain: bytes) -> Secrets:
    """Raises SecretSealedError: whoever sealed it keeps to the bounds of all."""
    try:
        secrets = decode_as(Secrets, plain, SEALED_BYTES_MAX)
    except WireError as exc:
        raise SecretSealedError("secrets came that are none") from exc
    sizes = [len(value) for _, value in secrets.pairs]
    if len(sizes) > SECRETS_PER_TASK_MAX or max(sizes, default=0) > SECRET_BYTES_MAX:
        raise SecretSealedError("secrets came that are longer than they may be")
    return secrets


def _task_cipher(seed: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(_of(seed, "key"))


def _of(seed: bytes, what: str) -> bytes:
    return blake3(seed, derive_key_context=f"swarm task secrets {what} 1").digest()


def _shared_cipher(shared: bytes, ours: bytes, theirs: bytes) -> ChaCha20Poly1305:
    text = shared + ours + theirs
    return ChaCha20Poly1305(blake3(text, derive_key_context="swarm secrets to machine 1").digest())
