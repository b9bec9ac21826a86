"""The work folder of a FakeExecutor's job: files are bytes by name, folders those they lie in."""

from collections.abc import AsyncGenerator, AsyncIterable, Sequence

import trio
from msgspec.structs import replace

from swarmnode.errors import OutputUnsafeError, TreeChangedError, TreeRefusedError
from swarmnode.executor.fake.programs import File, Process
from swarmnode.executor.port import FileStat
from swarmnode.limits import FILE_CHUNK_BYTES
from swarmnode.tree.format import EntryKind, TreeIndex, write_index
from swarmnode.tree.names import Parts, joined, parts_in, text_of
from swarmnode.tree.pattern import Pattern
from swarmnode.tree.scan import Found, Scan, entries_of
from swarmnode.tree.select import Piece, Selection
from swarmnode.tree.select import closed as closed_piece
from swarmnode.tree.select import select as select_in
from swarmnode.tree.unpack import NAMELESS, IndexReader


async def put(process: Process, name: str, chunks: AsyncIterable[bytes], now_ms: int) -> None:
    """Write a file once the stream is whole. Raises OutputUnsafeError."""
    if not (parts := parts_in(name)):
        raise OutputUnsafeError(f"{name!r} names no file")
    data = b"".join([chunk async for chunk in chunks])
    process.write(text_of(joined(parts)), data, now_ms * 1_000_000)


def listed(process: Process, pattern: str) -> tuple[FileStat, ...]:
    """Files that match, by name."""
    meant = Pattern(f"{pattern}**" if pattern.endswith("/") else pattern)
    return tuple(
        FileStat(name, len(file.data), file.modified_ns)
        for name, file in sorted(process.files.items())
        if file.kind is EntryKind.FILE and meant.matches(parts_in(name))
    )


async def read(process: Process, name: str) -> AsyncGenerator[bytes, None]:
    """The bytes of one file. Raises OutputUnsafeError."""
    parts_in(name)
    if name not in process.files:
        raise OutputUnsafeError(f"{name!r} cannot be opened: No such file or directory")
    data = process.files[name].data
    for start in range(0, len(data), FILE_CHUNK_BYTES):
        await trio.lowlevel.checkpoint()
        yield data[start : start + FILE_CHUNK_BYTES]


def scan(process: Process, base: Parts) -> Scan:
    """Everything beneath `base`, with the folders above each file."""
    names: dict[Parts, Found] = {} if base else {(): Found((), EntryKind.FOLDER, 0o755)}
    for name, file in process.files.items():
        parts = parts_in(name)
        if parts[: len(base)] != base:
            continue
        for depth in range(len(base), len(parts)):
            above = parts[:depth]
            folder = names.get(above, Found(above, EntryKind.FOLDER, 0o755))
            names[above] = _changed_by(folder, file)
        names[parts] = _found_as(parts, file)
    return Scan(tuple(sorted(names.values(), key=lambda name: name.parts)))


def _changed_by(folder: Found, file: File) -> Found:
    """The times of a folder are at least those of what is in it."""
    return replace(
        folder,
        modified_ns=max(folder.modified_ns, file.modified_ns),
        changed_ns=max(folder.changed_ns, file.modified_ns + (not file.in_place)),
    )


def _found_as(parts: Parts, file: File) -> Found:
    is_link = file.kind is EntryKind.LINK
    return Found(
        parts,
        file.kind,
        file.mode,
        0 if is_link else len(file.data),
        file.modified_ns,
        file.modified_ns + (not file.in_place),
        target=file.data if is_link else b"",
    )


def select(looked: Scan, patterns: Sequence[Pattern]) -> tuple[Scan, Selection]:
    """What was found, and what patterns mean in it."""
    return looked, select_in(looked.found, patterns)


async def closed(seen: Sequence[Found]) -> tuple[tuple[Found, ...], str]:
    """Without links that lead out, and in words which those are."""
    await trio.lowlevel.checkpoint()
    kept, words = closed_piece(Piece((), (), tuple(seen), True), ())
    return kept.found, words


async def pack(
    process: Process, base: Parts, seen: Sequence[Found], *, may_grow: bool = False
) -> AsyncGenerator[bytes, None]:
    """The tree of what was found. Raises TreeRefusedError, TreeChangedError."""
    await trio.lowlevel.checkpoint()
    yield write_index(entries_of(seen, base))
    for entry in seen:
        if entry.kind is EntryKind.FILE:
            await trio.lowlevel.checkpoint()
            yield _unchanged(process, entry, may_grow=may_grow)


def _unchanged(process: Process, seen: Found, *, may_grow: bool) -> bytes:
    """The bytes of a file as it was seen. Raises TreeChangedError."""
    name = text_of(joined(seen.parts))
    file = process.files.get(name)
    if file is None:
        raise TreeChangedError(f"{name!r} changed while it was read")
    is_same = (file.modified_ns, len(file.data)) == (seen.modified_ns, seen.size)
    if not is_same and not (may_grow and len(file.data) > seen.size):
        raise TreeChangedError(f"{name!r} changed while it was read")
    return file.data[: seen.size]


async def unpack(process: Process, base: Parts, chunks: AsyncIterable[bytes], now_ms: int) -> None:
    """Make a tree's files. Raises TreeRefusedError."""
    index, data = _whole(b"".join([chunk async for chunk in chunks]), is_named=bool(base))
    for entry in index.entries:
        name = text_of(joined((*base, *entry.parts)))
        if entry.kind is EntryKind.FILE:
            content, data = data[: entry.size], data[entry.size :]
            process.files[name] = File(content, now_ms * 1_000_000, mode=entry.mode)
        elif entry.kind is EntryKind.LINK:
            process.files[name] = File(entry.target, now_ms * 1_000_000, EntryKind.LINK, 0)
        elif entry.kind is EntryKind.NAME:
            first = text_of(joined((*base, *entry.target.split(b"/"))))
            process.files[name] = process.files[first]


def _whole(tree: bytes, *, is_named: bool) -> tuple[TreeIndex, bytes]:
    """Its index, and the bytes of its files. Raises TreeRefusedError."""
    whole = IndexReader().feed(tree)
    if whole and whole[0].is_file and not is_named:
        raise TreeRefusedError(NAMELESS)
    if whole is None or len(whole[1]) != whole[0].content_bytes:
        raise TreeRefusedError("the tree ends early")
    return whole
