"""Chunks of objects on this machine's disk, the least recently used one leaving first. Blocking.

    FOLDER/KEY/NUMBER    the chunk, and BLAKE3 of it

KEY is a hash of the capability: nobody learns it from the names. A chunk is there whole or not at
all, and is checked when it is first read after a start: what a power cut or a bad disk has made of
it is fetched again.
"""

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from blake3 import blake3

from swarmnode.datasets.limits import DATA_CHUNKS_MAX

HASH_BYTES: Final = 32
ChunkId: TypeAlias = tuple[str, int]
"""Key of the object, and the number of the chunk."""
log = logging.getLogger("swarm")


class ChunkFiles:
    """What there is, by when it was used last. May be called from several threads."""

    def __init__(self, folder: Path, room: Callable[[], int]) -> None:
        """`room`: how many bytes all chunks may take."""
        self._folder, self._room = folder, room
        self._sizes: dict[ChunkId, int] = {}
        """Bytes of each on disk, the least recently used first."""
        self._checked: set[ChunkId] = set()
        """Read or written by this process: as they should be."""
        self._bytes = 0
        """Of all."""
        self._lock = threading.Lock()
        """Guards the three."""
        self._was_full = False
        """It was said that there is no room."""

    @property
    def taken_bytes(self) -> int:
        """Of all chunks."""
        return self._bytes

    def look(self) -> None:
        """Find what a node before us has left. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = []
        for folder in os.scandir(self._folder):
            for file in os.scandir(folder.path):
                if not file.name.isdigit():
                    os.unlink(file.path)  # it was being written
                    continue
                stat = file.stat()
                found.append((stat.st_mtime_ns, (folder.name, int(file.name)), stat.st_size))
        with self._lock:
            self._sizes = {chunk: size for _, chunk, size in sorted(found)}
            self._bytes = sum(self._sizes.values())

    def has(self, chunk: ChunkId) -> bool:
        """Whether it is here, as far as is known."""
        return chunk in self._sizes

    def read(self, chunk: ChunkId) -> bytes | None:
        """All of it; None when it is not here, or not as it should be."""
        size = self._sizes.get(chunk, HASH_BYTES) - HASH_BYTES
        try:
            with open(self._path(chunk), "rb", buffering=0) as file:
                body, digest = file.read(size), file.read(HASH_BYTES + 1)
        except OSError:
            self._drop(chunk)
            return None
        is_whole = len(body) == size and len(digest) == HASH_BYTES
        is_known = chunk in self._checked
        if not is_whole or not (is_known or blake3(body).digest() == digest):
            log.warning("a chunk of a dataset was damaged on disk: it is fetched again")
            self._drop(chunk)
            return None
        self._use(chunk)
        return body

    def read_part(self, chunk: ChunkId, offset: int, size: int) -> bytes | None:
        """Some of one that was checked before; None otherwise."""
        if chunk not in self._checked:
            return None
        try:
            fd = os.open(self._path(chunk), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._drop(chunk)
            return None
        try:
            data = os.pread(fd, size, offset)
        finally:
            os.close(fd)
        self._use(chunk)
        return data if len(data) == size else None

    def write(self, chunk: ChunkId, data: bytes) -> None:
        """Keep it, if there is room; others leave for it. It is of use without, too."""
        size = len(data) + HASH_BYTES
        if chunk in self._sizes or not self._make_room(size):
            return
        path = self._path(chunk)
        temporary = path.with_suffix(f".{threading.get_native_id()}")
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data)
                file.write(blake3(data).digest())
            temporary.rename(path)
        except OSError as error:
            self._say_full(error.strerror or str(error))
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        with self._lock:
            if chunk not in self._sizes:
                self._bytes += size
            self._sizes[chunk] = size
            self._checked.add(chunk)

    def touch(self, chunk: ChunkId) -> None:
        """It was of use, though nobody read it from here."""
        with self._lock:
            if (size := self._sizes.pop(chunk, None)) is not None:
                self._sizes[chunk] = size

    def shrink(self, bytes_max: int) -> None:
        """Let go of the least recently used until no more than that is taken."""
        while self._bytes > max(0, bytes_max) and self._sizes:
            with self._lock:
                chunk = next(iter(self._sizes), None)
            if chunk is not None:
                self._drop(chunk)

    def forget(self) -> None:
        """Let go of everything."""
        self.shrink(0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_room(self, size: int) -> bool:
        with self._lock:
            over = len(self._sizes) + 1 - DATA_CHUNKS_MAX
            oldest = list(self._sizes)[:over] if over > 0 else []
        for chunk in oldest:
            self._drop(chunk)
        room = self._room()
        if size > room:
            self._say_full("the disk, or what is lent of it, is full")
            return False
        self.shrink(room - size)
        return True

    def _say_full(self, why: str) -> None:
        if not self._was_full:
            log.warning("datasets are not kept on this machine's disk: %s", why)
        self._was_full = True

    def _use(self, chunk: ChunkId) -> None:
        self.touch(chunk)
        self._checked.add(chunk)
        with contextlib.suppress(OSError):
            os.utime(self._path(chunk))

    def _drop(self, chunk: ChunkId) -> None:
        with self._lock:
            self._bytes -= self._sizes.pop(chunk, 0)
            self._checked.discard(chunk)
        path = self._path(chunk)
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()  # if it was the last one

    def _path(self, chunk: ChunkId) -> Path:
        key, number = chunk
        return self._folder / key / str(number)
