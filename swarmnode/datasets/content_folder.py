"""The files of one content: its bytes at their places, and which of them are there. Blocking.

    bytes      chunks, each at its place, with holes between them
    whole      the same once all are there and somebody reads the file by himself
    AT.SIZE    that so many bytes are there from AT on: BLAKE3 of them

Blocks of `bytes` can be given back one chunk at a time. Nothing is ever taken out of `whole`: it
goes as one, and whoever has it open keeps all of it.
"""

import contextlib
import errno
import os
import re
import threading
from pathlib import Path
from typing import Final

import msgspec

from storage.volumes.punch import punch_hole

HASH_BYTES: Final = 32
_BYTES, _WHOLE = "bytes", "whole"
_CHUNK: Final = re.compile(r"(\d{1,19})\.(\d{1,10})")


class ChunkOnDisk(msgspec.Struct, frozen=True):
    """One that a node before us has left."""

    at: int
    size: int
    used_ns: int
    """When it was last of use."""


class ContentFolder(msgspec.Struct, frozen=True):
    """All methods raise OSError."""

    path: Path

    def read(self, at: int, size: int) -> bytes:
        """Fewer where there are fewer."""
        fd = self._open()
        try:
            return os.pread(fd, size, at)
        finally:
            os.close(fd)

    def digest(self, at: int, size: int) -> bytes:
        """Of a chunk, as it was noted."""
        return self._chunk(at, size).read_bytes()

    def write(self, at: int, data: bytes) -> None:
        """Nobody takes them for a chunk before they are noted."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(self.path / _BYTES, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                count = os.pwrite(fd, view, at)
                at, view = at + count, view[count:]
        finally:
            os.close(fd)

    def note(self, at: int, size: int, digest: bytes) -> None:
        """These bytes are there."""
        temporary = self.path / f"new.{threading.get_native_id()}"
        temporary.write_bytes(digest)
        temporary.rename(self._chunk(at, size))

    def use(self, at: int, size: int) -> None:
        """A chunk was of use just now."""
        os.utime(self._chunk(at, size))

    def forget(self, at: int, size: int) -> None:
        """Those bytes are there no more."""
        self._chunk(at, size).unlink()

    def give_back(self, at: int, size: int) -> None:
        """The blocks of bytes that nobody takes for a chunk."""
        fd = os.open(self.path / _BYTES, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if not punch_hole(fd, at, size):
                raise OSError(errno.EOPNOTSUPP, "the file system gives no blocks back")
        finally:
            os.close(fd)

    def whole(self, size: int) -> int:
        """A descriptor for reading all of it, which is so long. From here on it stays whole."""
        place = self.path / _WHOLE
        if not place.exists():
            (self.path / _BYTES).rename(place)
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        if os.fstat(fd).st_size != size:
            os.close(fd)
            raise OSError(f"{place} is not {size} bytes long")
        return fd

    def is_whole(self) -> bool:
        """Whether somebody may read it by himself."""
        return (self.path / _WHOLE).exists()

    def look(self) -> list[ChunkOnDisk] | None:
        """The chunks, what else there is having been given back; None: it is of no use."""
        found, files = [], dict[str, int]()
        for file in os.scandir(self.path):
            if match := _CHUNK.fullmatch(file.name):
                at, size = map(int, match.groups())
                found.append(ChunkOnDisk(at, size, file.stat().st_mtime_ns))
            elif file.name in (_BYTES, _WHOLE):
                files[file.name] = file.stat().st_size
            else:
                os.unlink(file.path)
        found.sort(key=lambda chunk: chunk.at)
        if _WHOLE in files:
            is_useful = len(files) == 1 and sum(one.size for one in found) == files[_WHOLE]
            return found if is_useful else None
        if not found or not files:
            return None
        self._give_back_between(found, files[_BYTES])
        return found

    def _give_back_between(self, chunks: list[ChunkOnDisk], size: int) -> None:
        """What was being written, or about to leave, when a node ended."""
        begins = [*(chunk.at for chunk in chunks), size]
        ends = [0, *(chunk.at + chunk.size for chunk in chunks)]
        for end, begin in zip(ends, begins, strict=True):
            if begin > end:
                with contextlib.suppress(OSError):  # then it stays until all of it leaves
                    self.give_back(end, begin - end)

    def _open(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return os.open(self.path / _BYTES, os.O_RDONLY | os.O_CLOEXEC)
        return os.open(self.path / _WHOLE, os.O_RDONLY | os.O_CLOEXEC)

    def _chunk(self, at: int, size: int) -> Path:
        return self.path / f"{at}.{size}"
