"""Where Ed25519 keys lie on disk: private files, PKCS#8 PEM."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from p2p.errors import DamagedKeyError
from p2p.identity.keys import KeySigner
from p2p.identity.private_files import create_private_file, read_private_file


def create_key_file(path: Path, seed: bytes) -> KeySigner:
    """Keep a new key in a private file (PKCS#8 PEM). Raises IdentityError if one is there."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    create_private_file(path, text)
    return KeySigner(key)


def load_key_file(path: Path) -> KeySigner:
    """Read a key kept by `create_key_file`. Raises IdentityError naming the remedy."""
    try:
        key = load_pem_private_key(read_private_file(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise DamagedKeyError(f"{path} is damaged or no key: restore it from a backup") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise DamagedKeyError(f"{path} is not an Ed25519 key: restore the right one from a backup")
    return KeySigner(key)
