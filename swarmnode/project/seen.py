"""What is in the files of a project, as it was when they were last read: they are not read again.

As with git's index a file counts as unchanged while size, times and inode are what they were, and
not even then if it was written so shortly before it was read that the clock of its file system may
not tell a later write apart. The list is ours alone: one of another user, one that others may
write, and one that is damaged say nothing. Blocking.
"""

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from blake3 import blake3

from swarmnode.tree.names import joined
from swarmnode.tree.scan import Found

NAME: Final = "seen"
CLOCK_NS: Final = 2_000_000_000
"""Two seconds: the times of FAT, and more than those of any other by far."""
BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the list: several times what 100,000 long names take."""
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAGIC: Final = b"swarm seen 1\n"
_SUM_BYTES: Final = 32


class SeenFile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One file, when it was read."""

    size: int
    modified_ns: int
    changed_ns: int
    device: int
    inode: int
    hash: bytes


class SeenFiles:
    """The list in a folder of ours, `own`, which is open."""

    def __init__(self, own: int) -> None:
        self._own = own
        self._known = _read(own)

    def hash_of(self, file: Found) -> bytes | None:
        """BLAKE3 of what is in the file; None: it must be read."""
        known = self._known.get(joined(file.parts))
        return None if known is None or _state(file, known.hash) != known else known.hash

    def write(self, files: Sequence[Found], hashes: Sequence[bytes], read_ns: int) -> None:
        """From now on these are known, as they were read after `read_ns`. Raises OSError."""
        settled = dict(_settled(files, hashes, read_ns))
        if settled != self._known:
            _write(self._own, settled)
            self._known = settled


def _settled(
    files: Sequence[Found], hashes: Sequence[bytes], read_ns: int
) -> Iterator[tuple[bytes, SeenFile]]:
    for file, content in zip(files, hashes, strict=True):
        if max(file.modified_ns, file.changed_ns) + CLOCK_NS <= read_ns:
            yield joined(file.parts), _state(file, content)


def _state(file: Found, content: bytes) -> SeenFile:
    return SeenFile(file.size, file.modified_ns, file.changed_ns, *file.inode, content)


def _read(own: int) -> Mapping[bytes, SeenFile]:
    try:
        with open(os.open(NAME, _READ, dir_fd=own), "rb") as file:
            info = os.fstat(file.fileno())
            if not _is_ours(info):
                return {}
            data = file.read(BYTES_MAX)
    except OSError:  # none yet, or none that can be read: every file is read
        return {}
    rows, total = data[len(_MAGIC) : -_SUM_BYTES], data[-_SUM_BYTES:]
    if not data.startswith(_MAGIC) or blake3(rows).digest() != total:
        return {}
    try:
        return msgspec.msgpack.decode(rows, type=dict[bytes, SeenFile])
    except msgspec.DecodeError:  # of another version
        return {}


def _is_ours(info: os.stat_result) -> bool:
    is_private = not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and is_private


def _write(own: int, known: Mapping[bytes, SeenFile]) -> None:
    part = f"{NAME}.part{os.getpid()}"
    rows = msgspec.msgpack.encode(known)
    try:
        with open(os.open(part, _NEW, 0o600, dir_fd=own), "wb") as file:
            file.write(_MAGIC + rows + blake3(rows).digest())
        os.rename(part, NAME, src_dir_fd=own, dst_dir_fd=own)
    except OSError:
        _remove(own, part)
        raise


def _remove(own: int, part: str) -> None:
    try:
        os.unlink(part, dir_fd=own)
    except FileNotFoundError:
        return


def now_ns() -> int:
    """The wall clock, as files have it."""
    return time.time_ns()
