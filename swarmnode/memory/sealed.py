"""How `ctx.state` is kept from those who hold it: names hashed, values encrypted, by a task's key.

The same value written again under the same sequence is the same bytes (storage/coding/sealing.py).
"""

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from storage.coding.sealing import open_value, seal_value


class StateSeal:
    """Seals the state of one task."""

    def __init__(self, key: bytes) -> None:
        self._names = blake3(key, derive_key_context="swarm state names 1").digest()
        """Key of the hash by which holders know a name."""
        self._nonces = blake3(key, derive_key_context="swarm state nonces 1").digest()
        """Key of the hash that a nonce is the beginning of."""
        self._cipher = ChaCha20Poly1305(key)

    def name(self, key: str) -> str:
        """What holders know a key by."""
        return f"state/{blake3(key.encode(), key=self._names).hexdigest()}"

    def seal(self, name: str, sequence: int, plain: bytes) -> bytes:
        """A value as it rests: nonce, ciphertext and tag."""
        return seal_value(self._cipher, self._nonces, plain, _bound(name, sequence))

    def open(self, name: str, sequence: int, sealed: bytes) -> bytes:
        """The value. ValueError for what was not sealed with this key for this name."""
        try:
            return open_value(self._cipher, sealed, _bound(name, sequence))
        except InvalidTag:
            raise ValueError("this state was not written by a party of the task") from None


def _bound(name: str, sequence: int) -> bytes:
    return f"{sequence} {name}".encode()
