"""Ed25519 keys: their ids and their signatures.

The id of a key is `base58btc(00 24 || 08 01 12 20 || 32 byte public key)`: the identity multihash
of the protobuf form of an Ed25519 key.
Source: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
"""

import base64
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from p2p.errors import IdentityError
from p2p.identity.base58 import base58_decode, base58_encode
from p2p.ids import NetworkId, PeerId
from p2p.limits import VERIFY_KEYS_MAX

_ID_PREFIX: Final = bytes.fromhex("002408011220")
SEED_BYTES: Final = 32
"""A private key is made of so many secret bytes (RFC 8032)."""
_KEY_BYTES: Final = 32
_ID_CHARS: Final = 52
_NETWORK_ID_BYTES: Final = 10


def peer_id_of(public_key: bytes) -> PeerId:
    """The id of a 32-byte Ed25519 public key."""
    if len(public_key) != _KEY_BYTES:
        raise ValueError(f"an Ed25519 public key has {_KEY_BYTES} bytes, not {len(public_key)}")
    return PeerId(base58_encode(_ID_PREFIX + public_key))


def public_key_of(peer: str) -> bytes:
    """The 32-byte public key inside a peer, person or lab id. Raises IdentityError."""
    if len(peer) != _ID_CHARS:
        raise IdentityError(f"{peer[:60]!r} is not a peer id: it must have {_ID_CHARS} characters")
    try:
        raw = base58_decode(peer)
    except ValueError as exc:
        raise IdentityError(f"{peer!r} is not a peer id: {exc}") from exc
    if len(raw) != len(_ID_PREFIX) + _KEY_BYTES or not raw.startswith(_ID_PREFIX):
        raise IdentityError(f"{peer!r} is not the id of an Ed25519 key")
    return raw[len(_ID_PREFIX) :]


def network_id_of(root: PeerId) -> NetworkId:
    """The id of the network whose key is `root`. Raises IdentityError."""
    digest = blake3(public_key_of(root)).digest(_NETWORK_ID_BYTES)
    return NetworkId(base64.b32encode(digest).decode().lower())


class KeySigner:
    """One private key in memory; checks the signatures of others too (a `Signer`)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._peer_id = peer_id_of(key.public_key().public_bytes_raw())
        self._known: dict[str, Ed25519PublicKey] = {}

    @classmethod
    def from_seed(cls, seed: bytes) -> "KeySigner":
        """The key made of SEED_BYTES random bytes; the same seed gives the same key."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def peer_id(self) -> PeerId:
        """The id of this key."""
        return self._peer_id

    def seed(self) -> bytes:
        """The 32 secret bytes, for the host's handshake; never send or log them."""
        return self._key.private_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """A 64-byte signature."""
        return self._key.sign(data)

    def verifies(self, peer: PeerId, data: bytes, signature: bytes) -> bool:
        """True if `peer` signed `data`; False for anything else, whatever the id or bytes are."""
        try:
            self._public(peer).verify(signature, data)
        except (InvalidSignature, IdentityError):
            return False
        return True

    def _public(self, peer: PeerId) -> Ed25519PublicKey:
        key = self._known.get(peer)
        if key is None:
            try:
                key = Ed25519PublicKey.from_public_bytes(public_key_of(peer))
            except ValueError as exc:
                raise IdentityError(f"{peer} holds no point of the curve") from exc
            if len(self._known) >= VERIFY_KEYS_MAX:
                del self._known[next(iter(self._known))]
            self._known[peer] = key
        return key
