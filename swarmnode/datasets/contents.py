"""All objects that are read here, each once for everybody who may read it."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

import msgspec
from blake3 import blake3

from storage.facade import ReadCap
from swarmnode.datasets.ahead import CHUNK_BYTES
from swarmnode.datasets.content import DataParts, ObjectContent, Say, Stretch, patiently
from swarmnode.datasets.tree import (
    HEAD_READ_BYTES,
    IndexPlace,
    Laid,
    index_place,
    lay_file,
    lay_folder,
    lay_packed,
)
from swarmnode.errors import TreeRefusedError
from swarmnode.fuse.inodes import ContentPlace
from swarmnode.fuse.serve import Pieces
from swarmnode.packs.veil import veil_from
from swarmnode.tree.folder import FOLDER_MAGIC, Pack, folder_bytes, refuse_newer

_KEPT_MAX: Final = 256
"""Contents whose readers are remembered; the least recently used is forgotten."""


def key_of(cap: ReadCap) -> str:
    """Under which its chunks are kept: who does not have the capability cannot name it."""
    return blake3(b"swarm dataset\0" + cap.address + cap.key).hexdigest()


def tag_of(cap: ReadCap) -> str:
    """The same for the same content, and nobody finds a capability by it."""
    return blake3(b"swarm dataset tag\0" + cap.address + cap.key).hexdigest()[:32]


def _key_of_file(stretch: Stretch) -> str:
    """Likewise of a file within."""
    place = stretch.start.to_bytes(8) + stretch.size.to_bytes(8) + stretch.veil
    cap = stretch.cap.address + stretch.cap.key
    return blake3(b"swarm dataset file\0" + cap + place).hexdigest()


class Dataset(msgspec.Struct, frozen=True, weakref=True, eq=False):
    """A dataset as a mount shows it."""

    objects: tuple[ObjectContent, ...]
    """That its files are in (ContentPlace.part), but for the large ones."""
    laid: Laid
    part: Callable[[Stretch], ObjectContent]
    """A large file, from where it lies."""

    def ready(self, place: ContentPlace, size: int) -> Pieces | None:
        """What is in memory already."""
        pieces = self.content(place).ready(place.offset, size)
        return pieces if pieces is None else unveiled(place, pieces)

    async def read(self, place: ContentPlace, size: int, say: Say) -> Pieces:
        """Exactly so many bytes. Raises ContentFailedError, having said why."""
        return unveiled(place, await self.content(place).read(place.offset, size, say))

    def content(self, place: ContentPlace) -> ObjectContent:
        """Of which a file is part, or all."""
        if place.part < len(self.objects):
            return self.objects[place.part]
        apart = self.laid.apart[place.part - len(self.objects)]
        cap = self.objects[apart.part].cap
        return self.part(Stretch(cap, apart.size, apart.offset, apart.key))


def unveiled(place: ContentPlace, pieces: Pieces) -> Pieces:
    """Bytes of a file, from those of the object that it is in."""
    if not place.key:
        return pieces
    veil = veil_from(place.key, place.within)
    return [veil.update(piece) for piece in pieces]


class Contents:
    """By capability."""

    def __init__(self, parts: DataParts) -> None:
        self._parts = parts
        self._known: dict[str, ObjectContent] = {}
        """The least recently used first."""

    async def content(self, cap: ReadCap) -> ObjectContent:
        """What is read of an object. Raises StorageError."""
        key = key_of(cap)
        known = self._known.get(key)
        size = await self._parts.source.size(cap.address) if known is None else known.size
        return self._remembered(key, Stretch(cap, size))

    def part(self, stretch: Stretch) -> ObjectContent:
        """What is read of a file within an object."""
        return self._remembered(_key_of_file(stretch), stretch)

    def _remembered(self, key: str, stretch: Stretch) -> ObjectContent:
        known = self._known.pop(key, None) or ObjectContent(self._parts, stretch, key)
        self._known[key] = known
        while len(self._known) > _KEPT_MAX:
            del self._known[next(iter(self._known))]
        return known

    async def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """As Objects.get, from this machine's disk as far as it is there. Raises StorageError."""
        content = await self.content(cap)
        if content.size < CHUNK_BYTES // 8:  # not worth a file of its own
            pieces = self._parts.source.get(cap, start=start, length=length)
        else:
            pieces = content.stream(start, content.size if length is None else start + length)
        async for piece in pieces:
            yield piece

    async def laid(self, cap: ReadCap, say: Say) -> Dataset:
        """What a dataset looks like, and its bytes. Raises ContentFailedError, having said why."""
        content = await patiently(partial(self.content, cap), say)
        begin = b"".join(await content.read(0, min(HEAD_READ_BYTES, content.size), say))
        if begin.startswith(FOLDER_MAGIC):
            return await self._packed(content, begin, say)
        place = await patiently(partial(_index_place, begin), say)
        if place is None:
            return Dataset((content,), lay_file(content.size), self.part)
        size = min(place.head.index_bytes, content.size - place.offset)
        pages = b"".join(await content.read(place.offset, size, say))
        lay = partial(lay_folder, place, pages, content.size)
        laid = await patiently(partial(self._parts.workers.run, lay), say)
        return Dataset((content,), laid, self.part)

    async def _packed(self, content: ObjectContent, begin: bytes, say: Say) -> Dataset:
        """A folder as an index with packs."""
        size = min(content.size, await patiently(partial(_index_bytes, begin), say))
        data = b"".join(await content.read(0, size, say))
        lay = partial(lay_packed, data)
        laid, packs = await patiently(partial(self._parts.workers.run, lay), say)
        parts = [await patiently(partial(self._pack, pack), say) for pack in packs]
        return Dataset(tuple(parts), laid, self.part)

    async def _pack(self, pack: Pack) -> ObjectContent:
        """Who made the index says how long it is. Raises TreeRefusedError, StorageError."""
        content = await self.content(pack.cap)
        if content.size != pack.size:
            raise TreeRefusedError("a pack of the folder is not as long as its index says")
        return content


async def _index_bytes(begin: bytes) -> int:
    size = folder_bytes(begin)
    if size is None:
        raise TreeRefusedError("the index of the folder ends early")
    return size


async def _index_place(begin: bytes) -> IndexPlace | None:
    refuse_newer(begin)
    return index_place(begin)
