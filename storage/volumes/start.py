"""What a shard store does at its start: check that folder and tables belong together, read the
index, and put the files in order after a crash. Blocks; runs in a worker."""

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from storage.engine.port import Tables
from storage.errors import RecordCorruptError, StoreFailedError
from storage.volumes.files import VolumeFiles
from storage.volumes.layout import INDEX_TABLE, extent_bytes, unpack_location
from storage.volumes.space import Extent, Space

ID_TABLE, ID_KEY, ID_FILE = "shard-store", b"id", "id"


def check_folder(folder: Path, files: VolumeFiles, store_id: bytes, *, known: bool) -> None:
    """The folder must be that of these tables; a new one gets their id.

    `known` when the tables index shards in it. Raises StoreFailedError.
    """
    mark = folder / ID_FILE
    try:
        if mark.exists():
            written = mark.read_bytes()
            if written == store_id:
                return
            if not _is_torn(written, store_id):
                raise StoreFailedError(
                    f"{folder} belongs to other tables ({mark} says so): give it its own back, or "
                    "move it away, too, to start anew"
                )
            if files.numbers() and not known:
                raise StoreFailedError(
                    f"{mark} is damaged, and these tables know no shard in {folder}: restore the "
                    "tables from a backup, or move the folder away to start anew"
                )
        elif known or files.numbers():
            raise StoreFailedError(
                f"{mark} is missing: is the disk mounted, the folder whole? restore it, or move "
                "the tables (store.lmdb) away, too, to start anew"
            )
        fresh = folder / f"{ID_FILE}.new"
        write_durably(fresh, store_id)
        fresh.rename(mark)
        files.sync_folder()
    except OSError as error:
        raise StoreFailedError(
            f"{folder} cannot be used ({error}): give this user the rights to it, and room"
        ) from error


def _is_torn(written: bytes, store_id: bytes) -> bool:
    """Whether it is our id, cut short or blank: it was renamed into place before it was on disk."""
    return len(written) <= len(store_id) and store_id.startswith(written.rstrip(b"\0"))


def write_durably(path: Path, data: bytes) -> None:
    """A file that only its owner reads, on the disk when we return. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def read_index(tables: Tables, index: dict[bytes, bytes]) -> list[bytes]:
    """Fill `index` (root -> packed location); the keys of records that are damaged."""
    damaged: list[bytes] = []
    after: bytes | None = None
    limit = 1000
    while True:
        try:
            batch = tables.scan(INDEX_TABLE, after=after, limit=limit)
        except RecordCorruptError as error:
            if limit > 1:
                limit = 1  # come close to the damaged one, step by step
                continue
            damaged.append(error.key)
            after, limit = error.key, 1000
            continue
        if not batch:
            return damaged
        index.update(batch)
        after = batch[-1][0]


def put_in_order(files: VolumeFiles, records: Sequence[bytes], file_bytes: int) -> Space:
    """Remove empty files, cut tails past the last commit, give back space that was not yet."""
    space, present = Space(file_bytes), files.numbers()
    in_files = (_extent(record) for record in sorted(records) if unpack_location(record).file)
    indexed: dict[int, None] = {}
    for number, group in groupby(in_files, lambda extent: extent.file):
        indexed[number] = None
        extents = list(group)
        taken, end = sum(extent.size for extent in extents), extents[-1].end
        spare: list[Extent] = []
        if number in present and files.cut(number, end) > taken:
            spare = files.punch(_gaps(extents))
        space.know(number, end, taken, spare)
    files.remove(number for number in present if number not in indexed)
    return space


def _extent(record: bytes) -> Extent:
    where = unpack_location(record)
    return Extent(where.file, where.offset, extent_bytes(where.length))


def _gaps(extents: Sequence[Extent]) -> list[Extent]:
    gaps, at = [], 0
    for extent in extents:
        if extent.offset > at:
            gaps.append(Extent(extent.file, at, extent.offset - at))
        at = extent.end
    return gaps
