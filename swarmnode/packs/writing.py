"""Puts a folder of a person: only what is new of it is sent, and referred to is what is there.

    names and hashes come -> which contents are missing? -> those come, into new packs -> the index

Whoever sends it asks first what is missing; what that has come to is found out once more when the
contents arrive, for an older folder may have gone meanwhile.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice
from typing import Final

import msgspec
import trio

from storage.errors import ManifestError, ObjectUnknownError
from storage.facade import (
    Durability,
    Mark,
    ObjectKind,
    Objects,
    PackHold,
    PutReceipt,
    StandsFor,
)
from swarmnode.errors import FolderStaleError, TreeChangedError
from swarmnode.packs.arriving import Arriving
from swarmnode.packs.bases import Bases, OpenCap
from swarmnode.packs.streams import closing, gathered
from swarmnode.packs.veil import Passing, Veiled, new_keys
from swarmnode.tree.folder import FolderNames, Pack, digest_of, read_names, write_folder
from swarmnode.tree.format import TreeEntry, shown, write_index
from swarmnode.tree.layout import Known, Layout, Lying, cut, index_of, laid_out

FOLDER_INLINE_BYTES_MAX: Final = 256 * 1024
"""Contents of a folder that stays one object, a tree: to put a second one costs more than this."""

_CHECKED_AT_ONCE: Final = 8

AT_ONCE_BYTES: Final = 1024 * 1024
"""So much goes to a thread in one step: of small files a hundred, in some milliseconds."""


class FolderPut(msgspec.Struct, frozen=True):
    """How somebody wants a folder to be kept."""

    name: str
    mark: Mark
    durability: Durability = Durability.DURABLE


class FolderWriter:
    """Puts folders, and says before what of one would be missing."""

    def __init__(
        self, objects: Objects, open_cap: OpenCap, taken_over_ms: Callable[[], int]
    ) -> None:
        """What was put before `taken_over_ms` may be another machine's: nothing refers to it."""
        self._objects, self._taken_over_ms = objects, taken_over_ms
        self._bases = Bases(objects, open_cap)

    async def missing(self, names: bytes, name: str, person: str) -> tuple[int, ...]:
        """Files whose contents have to be sent, by their number among those that have bytes.

        Raises TreeRefusedError.
        """
        folder = await trio.to_thread.run_sync(read_names, names)
        if _is_small(folder):
            return tuple(range(len(folder.hashes)))
        with self._objects.holding() as held:
            return (await self._layout(folder, name, person, held)).missing

    async def put(self, arriving: Arriving, wanted: FolderPut) -> PutReceipt:
        """Store a folder that comes with the contents that were missing.

        Raises TreeRefusedError, TreeChangedError (a file is not what its hash says),
        FolderStaleError (something else is missing now), and as Objects.put.
        """
        names = await arriving.names()
        folder = await trio.to_thread.run_sync(read_names, names)
        full, digest = folder.full(), digest_of(names)
        sent = await arriving.numbers(len(full))
        contents = _Contents(arriving, folder, sent)
        if _is_small(folder):
            return await self._put_small(folder, contents, digest, wanted)
        with self._objects.holding() as held:
            layout = await self._layout(folder, wanted.name, wanted.mark.person, held)
            if not set(layout.missing) <= set(sent):
                raise FolderStaleError("other files of the folder are missing now: ask again")
            at = await self._put_packs(
                [full[number].size for number in sent], contents, wanted, held
            )
            index = index_of(folder, layout, dict(zip(sent, at, strict=True)))
            data = await trio.to_thread.run_sync(write_folder, index)
            size = sum(entry.size for entry in full)
            stands_for = StandsFor(digest, size, tuple(pack.cap.address for pack in index.packs))
            receipt = await self._put_one(_one(data), wanted, stands_for)
        return msgspec.structs.replace(receipt, size=size)

    # -- inside

    async def _layout(self, folder: FolderNames, name: str, person: str, held: PackHold) -> Layout:
        after_ms = self._taken_over_ms()
        known = await self._bases.known(name, person, after_ms)
        whole = await self._whole_packs(folder, known)
        return laid_out(
            folder,
            known,
            lambda pack: pack in whole and held.take(pack.cap.address, after_ms=after_ms),
        )

    async def _whole_packs(self, folder: FolderNames, known: Sequence[Known]) -> set[Pack]:
        """Of those that could be referred to, such as can be read now, as far as is known here."""
        wanted = set(folder.hashes)
        asked = {
            packs[place.pack]
            for packs, places in known
            for content, place in places.items()
            if content in wanted
        }
        whole, limiter = set[Pack](), trio.CapacityLimiter(_CHECKED_AT_ONCE)

        async def look(pack: Pack) -> None:
            async with limiter:
                try:
                    stat = await self._objects.stat(pack.cap.address, ask=False)
                except (ObjectUnknownError, ManifestError):
                    return
            if stat.shards_live >= stat.k:
                whole.add(pack)

        async with trio.open_nursery() as nursery:
            for pack in asked:
                nursery.start_soon(look, pack)
        return whole

    async def _put_small(
        self, folder: FolderNames, contents: "_Contents", digest: bytes, wanted: FolderPut
    ) -> PutReceipt:
        count = len(folder.hashes)
        if len(contents.sent) != count:
            raise FolderStaleError("all files of so small a folder are to be sent: ask again")

        async def tree() -> AsyncIterator[bytes]:
            yield await trio.to_thread.run_sync(write_index, folder.entries)
            async for piece in contents.next([b""] * count):
                yield piece

        return await self._put_one(tree(), wanted, StandsFor(digest))

    async def _put_packs(
        self, sizes: Sequence[int], contents: "_Contents", wanted: FolderPut, held: PackHold
    ) -> list[Lying]:
        """Store what comes; where each content lies."""
        at: list[Lying] = []
        mark = Mark(ObjectKind.PACK, person=wanted.mark.person)
        for numbers in cut(sizes):
            keys = new_keys(len(numbers))
            pieces = contents.next(keys)
            receipt = await self._objects.put(
                pieces, name=wanted.name, durability=wanted.durability, mark=mark
            )
            held.take(receipt.cap.address)
            pack, offset = Pack(receipt.cap, receipt.size), 0
            for number, key in zip(numbers, keys, strict=True):
                at.append((pack, offset, key))
                offset += sizes[number]
        await contents.end()
        return at

    async def _put_one(
        self, pieces: AsyncIterator[bytes], wanted: FolderPut, stands_for: StandsFor
    ) -> PutReceipt:
        return await self._objects.put(
            pieces,
            name=wanted.name,
            durability=wanted.durability,
            mark=wanted.mark,
            stands_for=stands_for,
        )


def _is_small(folder: FolderNames) -> bool:
    return sum(entry.size for entry in folder.full()) <= FOLDER_INLINE_BYTES_MAX


class _Contents:
    """Contents on their way, one file after another, checked against their hashes."""

    def __init__(self, arriving: Arriving, folder: FolderNames, sent: Sequence[int]) -> None:
        self.sent = sent
        full = folder.full()
        self._files = iter([(full[number], folder.hashes[number]) for number in sent])
        self._arriving = arriving

    async def next(self, keys: Sequence[bytes]) -> AsyncIterator[bytes]:
        """Those of the next files, each under its key, or as it is. Raises TreeChangedError."""
        files = list(islice(self._files, len(keys)))
        passing = Passing(
            (
                Veiled(file.size, content, key)
                for (file, content), key in zip(files, keys, strict=True)
            ),
            lambda number: _changed(files[number][0]),
            puts_on=True,
        )
        size = sum(file.size for file, _ in files)
        pieces = gathered(self._arriving.pieces(size), AT_ONCE_BYTES)
        async with closing(pieces):
            async for piece in pieces:
                yield await trio.to_thread.run_sync(passing.feed, piece)

    async def end(self) -> None:
        """Nothing follows. Raises TreeRefusedError."""
        await self._arriving.end()


def _changed(file: TreeEntry) -> TreeChangedError:
    return TreeChangedError(f"{shown(file.parts)} changed while it was read")


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
