"""Seals what rests here of a person so that only the key in their home opens it.

    box = public half of a key made for it | nonce | ciphertext and tag

Anything can be sealed at any time: it takes the public half alone, so tasks and outputs go on while
nobody is logged in. The secret half comes by the person's own connection, stays in memory, and goes
with `lock` or the process. One key of ours serves all boxes of a person until then: opening a list
is one multiplication, not one a line. How a box is made after that: storage/coding/sealing.py.
Source: X25519 (RFC 7748), BLAKE3 as KDF, ChaCha20-Poly1305 (RFC 8439).
"""

from collections.abc import Callable
from typing import Final

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from storage.coding.cipher import NONCE_BYTES
from storage.coding.sealing import open_value, seal_value
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import SEALED_KEY_BYTES, is_sealed
from swarmnode.errors import PersonLockedError
from swarmnode.limits import SEALING_KEYS_MAX
from swarmnode.people.book import People

SECRET_BYTES: Final = 32
_PUBLIC_BYTES: Final = 32
_TAG_BYTES: Final = 16
OBJECT_KEY_BYTES: Final = SEALED_KEY_BYTES - _PUBLIC_BYTES - NONCE_BYTES - _TAG_BYTES
HINT: Final = (
    "type any `swarmnode` command as yourself on that machine, such as `swarmnode unlock`, "
    "and try again"
)


def public_of(secret: bytes) -> bytes:
    """The public half of 32 secret bytes."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


class _Sealing(msgspec.Struct, frozen=True):
    """Our side of the boxes that are made for one person now."""

    theirs: bytes
    """Public half of the person's key."""
    ours: bytes
    """Public half of the key made for these boxes; stands in front of each."""
    key: bytes
    """What both halves make: it encrypts the boxes."""


class Seals:
    """Seals for everybody who has a key; opens for those who have unlocked it."""

    def __init__(self, people: People, entropy: Callable[[int], bytes]) -> None:
        self._people, self._entropy = people, entropy
        self._secrets: dict[str, X25519PrivateKey] = {}
        """Of those who are unlocked; in memory alone."""
        self._sealing: dict[str, _Sealing] = {}
        """By person; made anew after `lock`, and when their key is another."""
        self._opening: dict[tuple[str, bytes], bytes] = {}
        """(person, public half of ours) -> key of those boxes."""

    def has_key(self, person: str) -> bool:
        """Whether things of a person are sealed."""
        return bool(self._people.key_of(person))

    def is_unlocked(self, person: str) -> bool:
        """Whether what is sealed for a person can be opened now."""
        return person in self._secrets

    def unlock(self, person: str, secret: bytes) -> None:
        """Open from now on what is sealed for a person; the secret fits the key that is known."""
        self.lock(person)
        self._secrets[person] = X25519PrivateKey.from_private_bytes(secret)

    def lock(self, person: str) -> bool:
        """Forget a person's secret and all that was made of it; False when it was locked."""
        self._sealing.pop(person, None)
        for known in [known for known in self._opening if known[0] == person]:
            del self._opening[known]
        return self._secrets.pop(person, None) is not None

    def seal(self, person: str, bound: bytes, plain: bytes) -> bytes:
        """The box of `plain`, which opens with the same `bound` only. The person has a key."""
        now = self._sealing_for(person)
        cipher, nonces = ChaCha20Poly1305(now.key), _of(now.key, "nonces")
        return now.ours + seal_value(cipher, nonces, plain, bound)

    def open(self, person: str, bound: bytes, box: bytes) -> bytes:
        """What was sealed. Raises PersonLockedError."""
        secret = self._secrets.get(person)
        if secret is None:
            raise PersonLockedError(f"what is {person}'s is sealed: {HINT}")
        ours, rest = box[:_PUBLIC_BYTES], box[_PUBLIC_BYTES:]
        try:
            key = self._key_of(person, secret, ours)
            return open_value(ChaCha20Poly1305(key), rest, bound)
        except (InvalidTag, ValueError):
            raise PersonLockedError(
                f"this was sealed with an earlier key of {person}'s: only that one opens it"
            ) from None

    def seal_key(self, person: str, address: Address, key: ObjectKey) -> ObjectKey:
        """An object's key as it is to rest; as it is where it is sealed, or nobody has a key."""
        if len(key) != OBJECT_KEY_BYTES or not self.has_key(person):
            return key
        return ObjectKey(self.seal(person, address, key))

    def open_cap(self, person: str, cap: ReadCap) -> ReadCap:
        """A capability in clear. Raises PersonLockedError."""
        if not is_sealed(cap):
            return cap
        return ReadCap(cap.address, ObjectKey(self.open(person, cap.address, cap.key)))

    # -- inside

    def _sealing_for(self, person: str) -> _Sealing:
        theirs, known = self._people.key_of(person), self._sealing.get(person)
        if known is None or known.theirs != theirs:
            secret = X25519PrivateKey.from_private_bytes(self._entropy(SECRET_BYTES))
            ours = secret.public_key().public_bytes_raw()
            shared = secret.exchange(X25519PublicKey.from_public_bytes(theirs))
            known = self._sealing[person] = _Sealing(theirs, ours, _key(shared, ours, theirs))
        return known

    def _key_of(self, person: str, secret: X25519PrivateKey, ours: bytes) -> bytes:
        key = self._opening.get((person, ours))
        if key is None:
            shared = secret.exchange(X25519PublicKey.from_public_bytes(ours))
            key = _key(shared, ours, secret.public_key().public_bytes_raw())
            if len(self._opening) >= SEALING_KEYS_MAX:
                del self._opening[next(iter(self._opening))]
            self._opening[person, ours] = key
        return key


def _key(shared: bytes, ours: bytes, theirs: bytes) -> bytes:
    text = shared + ours + theirs
    return blake3(text, derive_key_context="swarm person seal key 1").digest()


def _of(key: bytes, what: str) -> bytes:
    return blake3(key, derive_key_context=f"swarm person seal {what} 1").digest()
