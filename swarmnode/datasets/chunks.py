"""Chunks of contents on this machine's disk, the least recently used one leaving first. Blocking.

    FOLDER/KEY/    one content: see content_folder

KEY is a hash of the capability: nobody learns it from the names. A chunk is there whole or not at
all, and is checked when it is first read after a start: what a power cut or a bad disk has made of
it is fetched again. A content of which every chunk is there and was checked is a file that others
may read by themselves.
"""

import contextlib
import logging
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from blake3 import blake3

from swarmnode.datasets.content_folder import HASH_BYTES, ContentFolder
from swarmnode.datasets.limits import DATA_CHUNKS_MAX

ChunkId: TypeAlias = tuple[str, int]
"""Key of the content, and where the chunk begins in it."""
_GONE: Final = "."
"""Before the name of what is being removed."""
log = logging.getLogger("swarm")


class _Kept(msgspec.Struct, eq=False):
    """One chunk for as long as it is here: who has read while it was has read it."""

    size: int
    is_checked: bool
    """Read or written by this process: as it should be."""


class _OnDisk(msgspec.Struct, eq=False):
    """What is here of one content."""

    folder: ContentFolder
    chunks: set[int] = msgspec.field(default_factory=set)
    """Where they begin."""
    checked_bytes: int = 0
    is_whole: bool = False
    """Others may read its file by themselves: it leaves as one."""


class ChunkFiles:
    """What there is, by when it was used last. May be called from several threads."""

    def __init__(self, folder: Path, room: Callable[[], int]) -> None:
        """`room`: how many bytes all chunks may take."""
        self._folder, self._room = folder, room
        self._chunks: dict[ChunkId, _Kept] = {}
        """The least recently used first."""
        self._contents: dict[str, _OnDisk] = {}
        self._busy: set[ChunkId] = set()
        """Being written, or their blocks are being given back: by one thread at a time."""
        self._held: Counter[str] = Counter()
        """How often somebody reads a content by himself, which nobody else notices."""
        self._bytes = 0
        """Of all, with their hashes."""
        self._coming_bytes = 0
        """Of those that are being written."""
        self._lock = threading.Lock()
        """Guards them all, and the names of files."""
        self.is_full = False
        """There was no room for the last one that came."""
        self._was_full = False
        """That was said."""
        self._numbers = count()
        """Of what is being removed."""

    @property
    def taken_bytes(self) -> int:
        """Of all chunks."""
        return self._bytes

    def look(self) -> None:
        """Find what a node before us has left. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = []
        for name in os.listdir(self._folder):
            folder = ContentFolder(self._folder / name)
            chunks = None if name.startswith(_GONE) else folder.look()
            if chunks is None:
                shutil.rmtree(folder.path)
                continue
            found += [(one.used_ns, (name, one.at), one.size) for one in chunks]
            self._contents[name] = _OnDisk(folder, is_whole=folder.is_whole())
        for _, chunk, size in sorted(found):
            self._add(chunk, _Kept(size, is_checked=False))

    def has(self, chunk: ChunkId) -> bool:
        """Whether it is here, as far as is known."""
        return chunk in self._chunks

    def read(self, chunk: ChunkId) -> bytes | None:
        """All of it; None when it is not here, or not as it should be."""
        kept = self._chunks.get(chunk)
        if kept is None:
            return None
        body = self._bytes_of(chunk, kept, 0, kept.size)
        if body is not None and not kept.is_checked:
            if blake3(body).digest() == self._noted(chunk, kept):
                self._check(chunk, kept)
            else:
                self._damaged(chunk)
                body = None
        if body is not None:
            self._use(chunk, kept)
        return body

    def read_part(self, chunk: ChunkId, offset: int, size: int) -> bytes | None:
        """Some of one that was checked before; None otherwise."""
        kept = self._chunks.get(chunk)
        if kept is None or not kept.is_checked:
            return None
        data = self._bytes_of(chunk, kept, offset, size)
        if data is not None:
            self._use(chunk, kept)
        return data

    def write(self, chunk: ChunkId, data: bytes) -> None:
        """Keep it, if there is room; others leave for it. It is of use without, too."""
        size = len(data) + HASH_BYTES
        if chunk in self._chunks or not self._make_room(size):
            return
        if (content := self._begin(chunk)) is not None:
            self._bring(chunk, content, data)
        with self._lock:
            self._coming_bytes -= size

    def _bring(self, chunk: ChunkId, content: _OnDisk, data: bytes) -> None:
        try:
            content.folder.write(chunk[1], data)
            self._write_down(chunk, content, data)
        except OSError as error:
            self._say_full(error.strerror or str(error))
        if chunk not in self._chunks:
            self._give_back(chunk, len(data))
        self._busy.discard(chunk)

    def checked_bytes(self, key: str) -> int:
        """Of a content, how many are here as they should be."""
        content = self._contents.get(key)
        return content.checked_bytes if content is not None else 0

    def whole(self, key: str, size: int) -> int | None:
        """A descriptor of a content that is here to its last byte, each of which was checked.

        Who has it closes it. What is in the file stays as it is, whatever leaves here.
        """
        with self._lock:
            content = self._contents.get(key)
            if content is None or content.checked_bytes != size:
                return None
            content.is_whole = True
            try:
                return content.folder.whole(size)
            except OSError as error:
                log.warning("a dataset on this machine's disk cannot be read: %s", error)
                return None

    def hold(self, key: str) -> None:
        """Somebody reads it by himself from here on: it leaves last."""
        self._held[key] += 1

    def release(self, key: str) -> None:
        """He does no more."""
        self._held -= Counter([key])

    def touch(self, chunk: ChunkId) -> None:
        """It was of use, though nobody read it from here."""
        with self._lock:
            if (kept := self._chunks.pop(chunk, None)) is not None:
                self._chunks[chunk] = kept

    def shrink(self, bytes_max: int) -> None:
        """Let go of the least recently used until no more than that is taken."""
        while self._bytes > max(0, bytes_max) and (chunk := self._oldest()) is not None:
            self._drop(chunk)

    def drop(self, key: str) -> None:
        """Let go of all chunks of one object."""
        with self._lock:
            chunks = [chunk for chunk in self._chunks if chunk[0] == key]
        for chunk in chunks:
            self._drop(chunk)

    def forget(self) -> None:
        """Let go of everything."""
        self.shrink(0)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- reading

    def _bytes_of(self, chunk: ChunkId, kept: _Kept, offset: int, size: int) -> bytes | None:
        """Of a chunk that was here all the time."""
        key, at = chunk
        try:
            data = ContentFolder(self._folder / key).read(at + offset, size)
        except OSError:
            data = b""
        if self._chunks.get(chunk) is not kept:
            return None  # it has left meanwhile: these may be zeros
        if len(data) != size:
            self._damaged(chunk)
            return None
        return data

    def _noted(self, chunk: ChunkId, kept: _Kept) -> bytes:
        key, at = chunk
        try:
            return ContentFolder(self._folder / key).digest(at, kept.size)
        except OSError:
            return b""

    def _check(self, chunk: ChunkId, kept: _Kept) -> None:
        key, _ = chunk
        with self._lock:
            if self._chunks.get(chunk) is kept and not kept.is_checked:
                kept.is_checked = True
                self._contents[key].checked_bytes += kept.size

    def _damaged(self, chunk: ChunkId) -> None:
        log.warning("a chunk of a dataset was damaged on disk: it is fetched again")
        self._drop(chunk)

    def _use(self, chunk: ChunkId, kept: _Kept) -> None:
        key, at = chunk
        self.touch(chunk)
        with contextlib.suppress(OSError):
            ContentFolder(self._folder / key).use(at, kept.size)

    # -- coming and going

    def _begin(self, chunk: ChunkId) -> _OnDisk | None:
        """To write it; None where somebody else does, or it is on its way out."""
        key, _ = chunk
        with self._lock:
            if chunk in self._busy or chunk in self._chunks:
                return None
            self._busy.add(chunk)
            if key not in self._contents:
                self._contents[key] = _OnDisk(ContentFolder(self._folder / key))
            return self._contents[key]

    def _write_down(self, chunk: ChunkId, content: _OnDisk, data: bytes) -> None:
        """That it is here, unless all of its content was let go of meanwhile. Raises OSError."""
        key, at = chunk
        digest = blake3(data).digest()
        with self._lock:
            if self._contents.get(key) is content:
                content.folder.note(at, len(data), digest)
                self._add(chunk, _Kept(len(data), is_checked=True))

    def _add(self, chunk: ChunkId, kept: _Kept) -> None:
        key, at = chunk
        content = self._contents[key]
        content.chunks.add(at)
        content.checked_bytes += kept.size if kept.is_checked else 0
        self._chunks[chunk] = kept
        self._bytes += kept.size + HASH_BYTES
        self.is_full = False

    def _make_room(self, size: int) -> bool:
        while len(self._chunks) >= DATA_CHUNKS_MAX and (chunk := self._oldest()) is not None:
            self._drop(chunk)
        room = self._room()
        if size > room:
            self._say_full("the disk, or what is lent of it, is full")
            return False
        with self._lock:
            if self._coming_bytes + size > room:
                return False
            self._coming_bytes += size
        self.shrink(room - self._coming_bytes)
        return True

    def _oldest(self) -> ChunkId | None:
        """What leaves next. What is held counts as used, as long as there is anything else."""
        with self._lock:
            for _ in range(len(self._chunks)):
                chunk = next(iter(self._chunks))
                if not self._held[chunk[0]]:
                    return chunk
                self._chunks[chunk] = self._chunks.pop(chunk)
            return next(iter(self._chunks), None)

    def _say_full(self, why: str) -> None:
        if not self._was_full:
            log.warning("datasets are not kept on this machine's disk: %s", why)
        self.is_full = self._was_full = True

    def _drop(self, chunk: ChunkId) -> None:
        key, at = chunk
        gone = None
        with self._lock:
            kept = self._chunks.get(chunk)
            if kept is None:
                return
            content = self._contents[key]
            if content.is_whole:
                gone = self._out_of_the_way(key)
            else:
                self._busy.add(chunk)
                self._remove(chunk)
                with contextlib.suppress(OSError):
                    content.folder.forget(at, kept.size)
        if gone is not None:
            shutil.rmtree(gone, ignore_errors=True)
        elif not content.is_whole:
            self._give_back(chunk, kept.size)
            self._busy.discard(chunk)

    def _remove(self, chunk: ChunkId) -> None:
        key, at = chunk
        kept, content = self._chunks.pop(chunk), self._contents[key]
        content.chunks.discard(at)
        content.checked_bytes -= kept.size if kept.is_checked else 0
        self._bytes -= kept.size + HASH_BYTES

    def _give_back(self, chunk: ChunkId, size: int) -> None:
        """The blocks of what is no chunk; where nothing else is, or that cannot be, all goes."""
        key, at = chunk
        content = self._contents.get(key)
        is_done = False
        if content is not None and content.chunks:
            with contextlib.suppress(OSError):
                content.folder.give_back(at, size)
                is_done = True
        if not is_done:
            with self._lock:
                is_same = self._contents.get(key) is content
                gone = self._out_of_the_way(key) if is_same else None
            if gone is not None:
                shutil.rmtree(gone, ignore_errors=True)

    def _out_of_the_way(self, key: str) -> Path | None:
        """All of a content; where it is to be removed without anybody waiting for that."""
        content = self._contents.get(key)
        for at in content.chunks.copy() if content is not None else ():
            self._remove((key, at))
        self._contents.pop(key, None)
        gone = self._folder / f"{_GONE}{next(self._numbers)}"
        try:
            (self._folder / key).rename(gone)
        except OSError:
            return None
        return gone
