"""Files on this machine's disk by their names, the least recently used leaving first. Blocking.

    FOLDER/sha256-HEX    a file of that digest
    FOLDER/page-HEX      what was told last at an address, and BLAKE3 of it before it
    FOLDER/.NUMBER       one on its way

A file is there whole or not at all, and is checked once more when it is first used after a start:
what a power cut or a bad disk has made of it is let go, and fetched again. Who reads one has it
open: it may leave meanwhile.
"""

import contextlib
import errno
import itertools
import logging
import os
import threading
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from swarmnode.executor.disk.work_use import host_room
from swarmnode.mirror.errors import NotKeptError
from swarmnode.mirror.limits import MIRROR_FILE_PARTS, MIRROR_FILES_MAX
from swarmnode.mirror.rules.digest import FileCheck, parse

_HASH_BYTES: Final = 32
_READ_BYTES: Final = 1 << 20
_COMING: Final = "."
_PAGE: Final = "page-"
_GONE: Final = (errno.ENOENT, errno.ELOOP)
log = logging.getLogger("swarm")


class MirrorShelf:
    """What there is, by when it was used last. May be called from several threads."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        """`bytes_max`: of all, those on their way included; 0 keeps nothing."""
        self._folder, self._bytes_max = folder, bytes_max
        self._sizes: dict[str, int] = {}
        """Bytes of each, the least recently used first."""
        self._unchecked: set[str] = set()
        """Of them those that a process before us left."""
        self._bytes = 0
        """Of all of them, and of those on their way as they will be."""
        self._coming = 0
        """Of it those on their way."""
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    @property
    def kept_bytes(self) -> int:
        """Of all that is here or on its way."""
        return self._bytes

    def look(self) -> None:
        """Find what a node before us has left. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = []
        for entry in os.scandir(self._folder):
            if entry.name.startswith(_COMING):
                os.unlink(entry.path)  # it was being written
            elif parse(entry.name) or entry.name.startswith(_PAGE):
                info = entry.stat(follow_symlinks=False)
                found.append((info.st_mtime_ns, entry.name, info.st_size))
        with self._lock:
            self._sizes = {name: size for _, name, size in sorted(found)}
            self._bytes = sum(self._sizes.values())
            self._unchecked = {name for name in self._sizes if parse(name)}
        self._shrink()

    def size(self, name: str) -> int | None:
        """None when it is not here."""
        return self._sizes.get(name)

    def is_checked(self, name: str) -> bool:
        """Whether it is here, and as it should be."""
        return name in self._sizes and name not in self._unchecked

    def check(self, name: str) -> bool:
        """The same of one that a process before us left: read all of it. False: it is gone, or
        cannot be opened now."""
        size, digest = self._sizes.get(name), parse(name)
        if size is None or digest is None:
            return False
        try:
            fd = self.open(name)
        except OSError:
            return False
        check = FileCheck(digest, size)
        with contextlib.suppress(OSError), open(fd, "rb", buffering=0) as file:
            while data := file.read(_READ_BYTES):
                check.update(data)
        if not check.is_right():
            log.warning("a file of the mirror was damaged on disk: it is fetched again")
            self._drop(name)
            return False
        self._unchecked.discard(name)
        return True

    def open(self, name: str) -> int:
        """A descriptor to read it; it counts as used. Raises OSError."""
        path = self._folder / name
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in _GONE:  # not where this node has no descriptors left
                self._drop(name)
            raise
        with self._lock:
            if (size := self._sizes.pop(name, None)) is not None:
                self._sizes[name] = size
        with contextlib.suppress(OSError):
            os.utime(path)
        return fd

    # -- on their way

    def begin(self, size: int) -> "FileComing":
        """Room for a file of that size, and a place to write it. Raises NotKeptError."""
        if size * MIRROR_FILE_PARTS > self._bytes_max:
            raise NotKeptError(f"{size} bytes are too many to be kept here")
        self._reserve(size)
        path = self._folder / f"{_COMING}{next(self._numbers)}"
        try:
            self._shrink()
            if host_room(str(self._folder)) < self._coming:  # as if all of it were still to come
                raise NotKeptError("this machine's disk has no room")
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except NotKeptError:
            self._reserve(-size)
            raise
        except OSError as error:
            self._reserve(-size)
            raise NotKeptError(f"this machine's disk: {error.strerror}") from error
        return FileComing(fd, path, size)

    def _reserve(self, size: int) -> None:
        """Before anything makes way: for what finds no room nothing does. Raises NotKeptError."""
        with self._lock:
            if size > 0 and self._coming + size > self._bytes_max:
                raise NotKeptError("too much is on its way already")
            self._coming += size
            self._bytes += size

    def end(self, coming: "FileComing", name: str = "") -> None:
        """It came whole and is kept under that name, or it goes. The descriptor stays open."""
        is_kept = False
        try:
            if name:
                os.rename(coming.path, self._folder / name)
                is_kept = True
            else:
                os.unlink(coming.path)
        except OSError as error:
            log.warning("the mirror keeps less: %s", error.strerror)
        with self._lock:
            self._coming -= coming.size
            self._bytes -= self._sizes.pop(name, 0) if is_kept else coming.size
            if is_kept:
                self._sizes[name] = coming.size
                self._unchecked.discard(name)

    # -- what was told

    def read_page(self, name: str) -> bytes:
        """What was written under that name; nothing when there is none, or it is damaged."""
        try:
            fd = self.open(_PAGE + name)
            with open(fd, "rb", buffering=0) as file:
                data = file.read()
        except OSError:
            return b""
        if blake3(data[_HASH_BYTES:]).digest() != data[:_HASH_BYTES]:
            self._drop(_PAGE + name)
            return b""
        return data[_HASH_BYTES:]

    def write_page(self, name: str, data: bytes) -> None:
        """Keep it in place of an older one, if there is room: it is of use without, too."""
        try:
            coming = self.begin(len(data) + _HASH_BYTES)
        except NotKeptError:
            return
        is_written = False
        try:
            with open(coming.fd, "wb", buffering=0, closefd=False) as file:
                is_written = file.write(blake3(data).digest() + data) == coming.size
        except OSError as error:
            log.warning("the mirror keeps less: %s", error.strerror)
        finally:
            os.close(coming.fd)
            self.end(coming, _PAGE + name if is_written else "")

    # -- inside

    def _shrink(self) -> None:
        """Let go of the least recently used until all have room."""
        while (oldest := self._one_too_many()) is not None:
            self._drop(oldest)

    def _one_too_many(self) -> str | None:
        with self._lock:
            is_full = self._bytes > self._bytes_max or len(self._sizes) >= MIRROR_FILES_MAX
            return next(iter(self._sizes), None) if is_full else None

    def _drop(self, name: str) -> None:
        with self._lock:
            self._bytes -= self._sizes.pop(name, 0)
            self._unchecked.discard(name)
        with contextlib.suppress(OSError):
            os.unlink(self._folder / name)


class FileComing(NamedTuple):
    """One on its way: who writes it has it open."""

    fd: int
    path: Path
    size: int
