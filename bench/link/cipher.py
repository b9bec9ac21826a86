"""What the ciphers alone cost: the floor under every figure of CPU per byte."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

_MESSAGE_BYTES: Final = 65_519
_TIMES: Final = 400
_ROUNDS: Final = 5


def cipher_s_per_gb() -> dict[str, float]:
    """Sealing plus opening, per 10^9 bytes of plaintext; the best of some rounds."""
    nonce, plain = bytes(12), os.urandom(_MESSAGE_BYTES)
    figures = {}
    for name, cipher in (
        ("chacha20poly1305", ChaCha20Poly1305(bytes(32))),
        ("aes256gcm", AESGCM(bytes(32))),
    ):
        sealed = bytearray(len(plain) + 16)
        opened = bytearray(len(plain))
        cipher.encrypt_into(nonce, plain, None, sealed)
        seal_s = _best_s(partial(cipher.encrypt_into, nonce, plain, None, sealed))
        open_s = _best_s(partial(cipher.decrypt_into, nonce, sealed, None, opened))
        figures[f"cipher_{name}_s_per_gb"] = round((seal_s + open_s) / _MESSAGE_BYTES * 1e9, 3)
    return figures


def _best_s(once: Callable[[], object]) -> float:
    """CPU seconds of one call: the best round's mean."""
    best_s = float("inf")
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        for _ in range(_TIMES):
            once()
        best_s = min(best_s, (time.process_time() - began_s) / _TIMES)
    return best_s
