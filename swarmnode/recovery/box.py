"""Sealed for whoever has a key, to be opened by its seed alone.

    public half of a key made for this once (32 bytes)     ChaCha20-Poly1305 of the text

The Ed25519 key of an id is used in its Montgomery form, as in libsodium's sealed boxes.
Sources: RFC 7748, 4.1 (the map between the curves); RFC 8032, 5.1.5 (the secret number of a seed).
"""

from collections.abc import Callable
from hashlib import sha512
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2p.errors import IdentityError
from p2p.identity.keys import public_key_of
from swarmnode.errors import SnapshotError

KEY_BYTES: Final = 32
_PRIME: Final = 2**255 - 19
_ONCE: Final = bytes(12)
"""Nonce: each key is used for one text."""
_CONTEXT: Final = "swarm sealed box 1"


def seal_to(owner: str, purpose: str, text: bytes, entropy: Callable[[int], bytes]) -> bytes:
    """Only the seed of the key with that id opens it, and only for the same purpose.

    Raises SnapshotError when the id is of no key.
    """
    try:
        point = _montgomery(public_key_of(owner))
        ours = X25519PrivateKey.from_private_bytes(entropy(KEY_BYTES))
        shared = ours.exchange(X25519PublicKey.from_public_bytes(point))
    except (IdentityError, ValueError) as exc:
        raise SnapshotError(f"nothing can be sealed for {owner}: that is not a valid key") from exc
    public = ours.public_key().public_bytes_raw()
    cipher = ChaCha20Poly1305(_key(shared, public, point))
    return public + cipher.encrypt(_ONCE, text, purpose.encode())


def open_box(seed: bytes, purpose: str, sealed: bytes) -> bytes:
    """Raises SnapshotError for what was not sealed for this seed and purpose."""
    public, text = sealed[:KEY_BYTES], sealed[KEY_BYTES:]
    ours = X25519PrivateKey.from_private_bytes(sha512(seed).digest()[:KEY_BYTES])
    own = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    try:
        shared = ours.exchange(X25519PublicKey.from_public_bytes(public))
        cipher = ChaCha20Poly1305(_key(shared, public, _montgomery(own)))
        return cipher.decrypt(_ONCE, text, purpose.encode())
    except (InvalidTag, ValueError) as exc:
        raise SnapshotError("it was sealed for another key, or is damaged") from exc


def _montgomery(point: bytes) -> bytes:
    """The u of an Ed25519 point. Raises ValueError for the one that has none."""
    y = int.from_bytes(point, "little") % 2**255
    u = (1 + y) * pow(1 - y, -1, _PRIME) % _PRIME
    return u.to_bytes(KEY_BYTES, "little")


def _key(shared: bytes, public: bytes, point: bytes) -> bytes:
    return blake3(shared + public + point, derive_key_context=_CONTEXT).digest()
