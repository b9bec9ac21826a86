"""Each content in a pack under a key of its own: who may read a folder reads nothing else in there.

A pack may hold what other folders of its owner need, such as a file that was taken out before the
folder was given to somebody. So the capability of a pack, which stands in the index of each folder
that needs it, opens the pack and no content: those keys stand in the index one by one. What is
decrypted is compared with its hash; nothing else vouches for it. AES-128 in counter mode (NIST SP
800-38A): of ten thousand small files most of the time goes into keys, and these cost least.
"""

import os
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from swarmnode.errors import OutputUnsafeError
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


class Veiled(msgspec.Struct, frozen=True, gc=False):
    """One content."""

    size: int
    hash: bytes
    """BLAKE3 of it without its veil."""
    key: bytes
    """Empty: it goes without."""


class Passing:
    """Contents one after another: compared with their hashes, their veils put on or taken off."""

    def __init__(
        self,
        contents: Iterable[Veiled],
        differs: Callable[[int], OutputUnsafeError],
        *,
        puts_on: bool,
    ) -> None:
        """`differs`: what is raised when the content of that number is not what its hash says."""
        self._contents, self._differs, self._puts_on = iter(contents), differs, puts_on
        self._number = -1
        """Of the one that goes by."""
        self._now: Veiled | None = None
        """None: all have gone by."""
        self._left = 0
        """Bytes of it that are still to come."""
        self._begin()

    @property
    def is_over(self) -> bool:
        """Whether all have gone by."""
        return self._now is None

    @property
    def number(self) -> int:
        """Of the content that goes by now."""
        return self._number

    def feed(self, piece: bytes) -> bytes:
        """The next bytes; none of what follows the last. Raises what `differs` gives."""
        view, passed = memoryview(piece), list[bytes | memoryview]()
        while view and self._now is not None:
            part, view = view[: self._left], view[self._left :]
            other = part if self._veil is None else self._veil.update(part)
            self._hashed.update(part if self._puts_on else other)
            passed.append(other)
            self._left -= len(part)
            if not self._left:
                if self._hashed.digest() != self._now.hash:
                    raise self._differs(self._number)
                self._begin()
        return b"".join(passed)

    def _begin(self) -> None:
        self._now, self._number = next(self._contents, None), self._number + 1
        if self._now is not None:
            self._left, self._hashed = self._now.size, blake3()
            self._veil = veil(self._now.key) if self._now.key else None
