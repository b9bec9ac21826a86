"""How `ctx.state` is kept from those who hold it: names hashed, values encrypted, by a task's key.

The nonce is made of everything that is sealed: so the same value written again under the same
sequence is the same bytes (a write that is repeated stays one write), and no nonce ever comes twice
for two values.
"""

from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

_NONCE_BYTES: Final = 12


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
        bound = _bound(name, sequence)
        nonce = blake3(len(bound).to_bytes(4) + bound + plain, key=self._nonces).digest()
        nonce = nonce[:_NONCE_BYTES]
        return nonce + self._cipher.encrypt(nonce, plain, bound)

    def open(self, name: str, sequence: int, sealed: bytes) -> bytes:
        """The value. ValueError for what was not sealed with this key for this name."""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, _bound(name, sequence))
        except InvalidTag:
            raise ValueError("this state was not written by a party of the task") from None


def _bound(name: str, sequence: int) -> bytes:
    return f"{sequence} {name}".encode()
