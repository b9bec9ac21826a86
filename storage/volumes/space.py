"""Which parts of the volumes are free. Pure; the index of the tables is the truth.

Shards are appended to one file until it is full. What is freed is punched out and its place never
used again, so a file only ever gets emptier and goes when it is empty. Where the file system
cannot punch, freed places are used again, first fit.
"""

from collections.abc import Iterable

import msgspec

from storage.limits import SEGMENT_FILE_BYTES


class Extent(msgspec.Struct, frozen=True, order=True):
    """A part of a volume."""

    file: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class _File(msgspec.Struct):
    end: int = 0
    """Where the next shard would go."""
    taken: int = 0
    """Bytes of it that shards take; never above `end`."""


class Space:
    """Hands out extents and takes them back; one thread only."""

    def __init__(self, file_bytes: int = SEGMENT_FILE_BYTES) -> None:
        self._file_bytes = file_bytes
        self._files: dict[int, _File] = {}
        """Those with shards, and the one that is appended to."""
        self._active = 0
        """The file that is appended to; 0, which no file has, while there is none."""
        self._next = 1
        """The number of the next new file: above all that were known."""
        self._spare: list[Extent] = []
        """Places to be used again, where they could not be punched out."""

    def know(self, file: int, end: int, taken: int, spare: Iterable[Extent]) -> None:
        """At start: a file whose last shard ends at `end`, in ascending order of files."""
        self._files[file] = _File(end, taken)
        self._spare += spare
        self._next = max(self._next, file + 1)
        self._active = file if end < self._file_bytes else 0

    def take(self, size: int) -> Extent:
        """Room for `size` bytes; in a new file (offset 0) when the last one is full."""
        for at, spare in enumerate(self._spare):
            if spare.size >= size:
                rest = Extent(spare.file, spare.offset + size, spare.size - size)
                self._spare[at : at + 1] = [rest] if rest.size else []
                self._files[spare.file].taken += size
                return Extent(spare.file, spare.offset, size)
        file = self._files.get(self._active)
        if file is None or file.end + size > self._file_bytes:
            self._active = self._next
            self._next += 1
            file = self._files[self._active] = _File()
        extent = Extent(self._active, file.end, size)
        file.end += size
        file.taken += size
        return extent

    def give(self, extents: Iterable[Extent]) -> list[int]:
        """Take extents back; the files that are empty now, which are forgotten: remove them."""
        for extent in extents:
            self._files[extent.file].taken -= extent.size
        empty = [n for n, f in self._files.items() if not f.taken and n != self._active]
        for number in empty:
            del self._files[number]
        self._spare = [spare for spare in self._spare if spare.file in self._files]
        return empty

    def reuse(self, extents: Iterable[Extent]) -> None:
        """These were given back and could not be punched out: hand them out again."""
        self._spare += (extent for extent in extents if extent.file in self._files)
