"""Each content in a pack under a key of its own: who may read a folder reads nothing else in there.

A pack may hold what other folders of its owner need, such as a file that was taken out before the
folder was given to somebody. So the capability of a pack, which stands in the index of each folder
that needs it, opens the pack and no content: those keys stand in the index one by one. What is
decrypted is compared with its hash; nothing else vouches for it. AES-128 in counter mode (NIST SP
800-38A): of ten thousand small files most of the time goes into keys, and these cost least.
"""

import os
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from swarmnode.tree.folder import CONTENT_KEY_BYTES

_BLOCK_BYTES: Final = 16
_FROM_ZERO: Final = CTR(bytes(16))
"""A key is used for one content and never again."""


def new_keys(count: int) -> list[bytes]:
    """For so many contents."""
    data = os.urandom(count * CONTENT_KEY_BYTES)
    return [data[at : at + CONTENT_KEY_BYTES] for at in range(0, len(data), CONTENT_KEY_BYTES)]


def veil(key: bytes) -> CipherContext:
    """Takes a content from its begin to its end, in either direction."""
    return veil_from(key, 0)


def veil_from(key: bytes, start: int) -> CipherContext:
    """The same from some byte on: the counter is the number of a block."""
    block, skipped = divmod(start, _BLOCK_BYTES)
    counter = CTR(block.to_bytes(_BLOCK_BYTES)) if block else _FROM_ZERO
    context = Cipher(AES(key), counter).encryptor()
    context.update(bytes(skipped))
    return context
