"""Any object as whoever put it meant it: of a folder's index comes the tree that it stands for."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import msgspec
import trio

from storage.facade import Objects, ReadCap
from storage.limits import SEGMENT_BYTES
from swarmnode.errors import TreeRefusedError
from swarmnode.limits import FILE_CHUNK_BYTES
from swarmnode.packs.streams import closing, gathered
from swarmnode.packs.veil import Passing, Veiled
from swarmnode.tree.folder import (
    FOLDER_MAGIC,
    FileContent,
    FolderIndex,
    Pack,
    folder_bytes,
    read_folder,
    refuse_newer,
    tree_index_in,
)
from swarmnode.tree.format import shown

STRAIGHT_BYTES: Final = 1024 * 1024
"""Of contents that lie one after another: so much is read straight, several segments ahead."""
WORTH_WHOLE: Final = 4
"""A segment of which more than this part is needed is read once, whole, and held."""
SEGMENTS_HELD: Final = 4
"""32 MiB: packs are read from their begin to their end, and the small ones are one segment."""


async def read(
    objects: Objects, cap: ReadCap, *, start: int = 0, length: int | None = None
) -> AsyncIterator[bytes]:
    """The bytes from `start` on, at most `length`, in order. Raises as Objects.get,
    TreeRefusedError for an index or pack that is not what it should be, and FolderNewerError."""
    is_all = start == 0 and length is None
    if is_all or await _all_of(objects.get(cap, length=len(FOLDER_MAGIC))) == FOLDER_MAGIC:
        end = None if length is None else start + length
        pieces = _between(_meant(objects, cap), start, end)
    else:
        pieces = objects.get(cap, start=start, length=length)
    async with closing(pieces):
        async for piece in pieces:
            yield piece


async def _all_of(pieces: AsyncIterator[bytes]) -> bytes:
    async with closing(pieces):
        return b"".join([piece async for piece in pieces])


async def _between(
    pieces: AsyncIterator[bytes], start: int, end: int | None
) -> AsyncIterator[bytes]:
    at = 0
    async with closing(pieces):
        async for piece in pieces:
            first, last = max(start - at, 0), len(piece) if end is None else max(end - at, 0)
            if piece[first:last]:
                yield piece[first:last]
            at += len(piece)
            if end is not None and at >= end:
                return


async def _meant(objects: Objects, cap: ReadCap) -> AsyncIterator[bytes]:
    stream = objects.get(cap)
    async with closing(stream):
        held = b""
        while len(held) < len(FOLDER_MAGIC) and (piece := await anext(stream, None)) is not None:
            held += piece
        if not held.startswith(FOLDER_MAGIC):
            refuse_newer(held)
            if held:
                yield held
            async for piece in stream:
                yield piece
            return
        data = await _index_bytes(held, stream)
    index = await trio.to_thread.run_sync(read_folder, data)
    yield tree_index_in(data)
    contents = gathered(_contents(objects, index), FILE_CHUNK_BYTES)
    async with closing(contents):
        async for piece in contents:
            yield piece


async def index_in(objects: Objects, cap: ReadCap) -> FolderIndex:
    """The index of a folder, whose object that is. Raises as `read`."""
    stream = objects.get(cap)
    async with closing(stream):
        data = await _index_bytes(b"", stream)
    return await trio.to_thread.run_sync(read_folder, data)


async def _index_bytes(held: bytes, stream: AsyncIterator[bytes]) -> bytes:
    """What begins so and goes on in the stream; no more of it is taken than it may be long."""
    data = bytearray(held)
    while (size := folder_bytes(bytes(data[:256]))) is None or len(data) < size:
        piece = await anext(stream, None)
        if piece is None:
            raise TreeRefusedError("the index of the folder ends early")
        data += piece
    if await anext(stream, None) is not None:
        raise TreeRefusedError("bytes follow the end of the folder's index")
    return bytes(data)


class _Run(msgspec.Struct):
    """Files that follow each other in the folder and in a pack."""

    pack: Pack
    number: int
    start: int
    end: int
    files: list[FileContent]


def _runs(index: FolderIndex) -> list[_Run]:
    runs: list[_Run] = []
    for file in index.files():
        number, start = file.place.pack, file.place.offset
        last = runs[-1] if runs else None
        if last is not None and (last.number, last.end) == (number, start):
            last.end += file.size
            last.files.append(file)
        else:
            runs.append(_Run(index.packs[number], number, start, start + file.size, [file]))
    return runs


async def _contents(objects: Objects, index: FolderIndex) -> AsyncIterator[bytes]:
    runs = _runs(index)
    segments = _Segments(objects, runs)
    for run in runs:
        size = run.end - run.start
        if size >= STRAIGHT_BYTES:
            pieces = objects.get(run.pack.cap, start=run.start, length=size)
        else:
            pieces = segments.read(run)
        checked = _checked(run.files, pieces)
        async with closing(checked):
            async for piece in checked:
                yield piece


async def _checked(
    files: Sequence[FileContent], pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """What they are without their veils, up to the first file that is not what its hash says."""
    passing = Passing(
        (Veiled(file.size, file.hash, file.place.key) for file in files),
        lambda number: _refused(files[number], "is not what the folder's index says"),
        puts_on=False,
    )
    async with closing(pieces):
        async for piece in pieces:
            yield await trio.to_thread.run_sync(passing.feed, piece)
    if not passing.is_over:
        raise _refused(files[passing.number], "is not whole in its pack")


def _refused(file: FileContent, words: str) -> TreeRefusedError:
    return TreeRefusedError(f"{shown(tuple(file.path.split(b'/')) if file.path else ())} {words}")


class _Segments:
    """Segments of packs, held while they may be needed again."""

    def __init__(self, objects: Objects, runs: Iterable[_Run]) -> None:
        self._objects = objects
        self._held: dict[tuple[int, int], bytes] = {}
        """The newest last."""
        self._needed: Counter[tuple[int, int]] = Counter()
        """Bytes of each that some file needs."""
        for run in runs:
            for at, start, end in _pieces_of(run):
                self._needed[run.number, at] += end - start

    async def read(self, run: _Run) -> AsyncIterator[bytes]:
        """The bytes of a run."""
        for at, start, end in _pieces_of(run):
            first = at * SEGMENT_BYTES
            whole = min(SEGMENT_BYTES, run.pack.size - first)
            if self._needed[run.number, at] * WORTH_WHOLE < whole:
                yield await _all_of(
                    self._objects.get(run.pack.cap, start=start, length=end - start)
                )
            else:
                segment = await self._segment(run, at, first, whole)
                yield segment[start - first : end - first]

    async def _segment(self, run: _Run, at: int, first: int, size: int) -> bytes:
        segment = self._held.pop((run.number, at), None)
        if segment is None:
            pieces = self._objects.get(run.pack.cap, start=first, length=size)
            segment = await _all_of(pieces)
        self._held[run.number, at] = segment
        if len(self._held) > SEGMENTS_HELD:
            del self._held[next(iter(self._held))]
        return segment


def _pieces_of(run: _Run) -> list[tuple[int, int, int]]:
    """Number of the segment, start and end, of each segment that a run touches."""
    numbers = range(run.start // SEGMENT_BYTES, (run.end - 1) // SEGMENT_BYTES + 1)
    return [
        (at, max(run.start, at * SEGMENT_BYTES), min(run.end, (at + 1) * SEGMENT_BYTES))
        for at in numbers
    ]
