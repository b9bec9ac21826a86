"""Small values sealed with a nonce that is made of everything that is sealed.

    sealed = nonce (12 bytes) | ciphertext and tag

So the same value bound to the same words is the same bytes: a write that is repeated stays one
write. And no nonce ever comes twice for two values. Source: ChaCha20-Poly1305 (RFC 8439), BLAKE3.
"""

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from storage.coding.cipher import NONCE_BYTES


def seal_value(cipher: ChaCha20Poly1305, nonces: bytes, plain: bytes, bound: bytes) -> bytes:
    """What opens with the same `bound` only; `nonces` is the key by which nonces are made."""
    text = len(bound).to_bytes(4) + bound + plain
    nonce = blake3(text, key=nonces).digest(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, bound)


def open_value(cipher: ChaCha20Poly1305, sealed: bytes, bound: bytes) -> bytes:
    """Raises InvalidTag, or ValueError for what is too short to have a nonce."""
    return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
