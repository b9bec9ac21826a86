"""What names a file by its bytes: a SHA-256, or git's SHA-1 of a blob. Decides only."""

import hashlib
import re
from typing import Final, Protocol

import msgspec

from swarmnode.mirror.limits import GIT_FILE_BYTES_MAX

SHA256: Final = "sha256"
GIT: Final = "git"
_FORMS: Final = {SHA256: re.compile("[0-9a-f]{64}"), GIT: re.compile("[0-9a-f]{40}")}


class FileDigest(msgspec.Struct, frozen=True, order=True):
    """As text `sha256-HEX` or `git-HEX`, which is its name on disk and between machines."""

    kind: str
    hexadecimal: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.hexadecimal}"


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class FileCheck:
    """The bytes of one file as they come, and whether they are those of its digest."""

    def __init__(self, digest: FileDigest, size: int | None) -> None:
        """`size`: of the whole file, None where nobody says it; git hashes it, too."""
        self._digest, self._size, self._count = digest, size, 0
        if digest.kind == GIT:
            size = size or 0  # then no bytes but none can be right
            self._hash: _Hash = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        else:
            self._hash = hashlib.sha256()

    def update(self, data: bytes) -> None:
        """The next ones."""
        self._count += len(data)
        self._hash.update(data)

    def is_right(self) -> bool:
        """Whether that was all, and as it should be."""
        is_all = self._size is None or self._count == self._size
        return is_all and self._hash.hexdigest() == self._digest.hexadecimal


def sha256_of(text: str) -> FileDigest | None:
    """None for what is none. As hosts write it, with capitals as well."""
    return _checked(SHA256, text.lower())


def of_etag(text: str, size: int) -> FileDigest | None:
    """What an ETag of the hub names: a SHA-256 of a large file, git's SHA-1 of a small one."""
    bare = text.strip().removeprefix("W/").strip('"')
    if large := _checked(SHA256, bare):
        return large
    return _checked(GIT, bare) if 0 <= size <= GIT_FILE_BYTES_MAX else None


def parse(text: str) -> FileDigest | None:
    """As `str` gives it; None for anything else."""
    kind, _, rest = text.partition("-")
    return _checked(kind, rest) if kind in _FORMS else None


def _checked(kind: str, text: str) -> FileDigest | None:
    return FileDigest(kind, text) if _FORMS[kind].fullmatch(text) else None
