"""How one object is read, and what is fetched for that. Decides only.

Who reads in order gets whole chunks, more and more of them ahead. Who jumps about gets just the
bytes asked for; when a chunk is asked for a second time all of it is fetched, so that a second
pass, in whatever order, finds it here.
"""

from typing import Final

import msgspec

from storage.limits import SEGMENT_BYTES

CHUNK_BYTES: Final = SEGMENT_BYTES
"""The pool's own unit: a smaller one would be decoded as a whole each time."""
AHEAD_MAX: Final = 4
"""Chunks on their way before they are wanted: 32 MiB hide 100 ms at 300 MB/s."""
_NEAR_BYTES: Final = 1 << 20
"""The kernel's own reading ahead asks out of order, within this."""
_SAMPLE_BYTES: Final = 512 * 1024
"""Who has read so much in order goes on, as a rule: an image or a page of a table is shorter."""
_READERS_MAX: Final = 32
"""Places from which somebody reads on: one for each data loader."""
_TOUCHED_MAX: Final = 4096
"""Chunks of which a part was asked for: 32 GiB of the object."""


class ReadPlan(msgspec.Struct, frozen=True):
    """What to do for one read."""

    is_exact: bool
    """Fetch the very bytes, and no more; else whole chunks."""
    is_in_order: bool
    """It goes on where an earlier read ended."""
    ahead: range
    """Chunks that will be wanted soon."""


class _Reader(msgspec.Struct):
    end: int
    """Where it has come to."""
    read: int
    """Bytes in order until there."""
    is_exact: bool
    """It began where nobody had read before."""


class ReadAhead:
    """Of one object, by all who read it."""

    def __init__(self, size: int) -> None:
        self._chunks = -(-size // CHUNK_BYTES)
        self._readers: list[_Reader] = []
        """Who was heard of last comes last."""
        self._touched: dict[int, None] = {}
        """Chunks that were asked for in part, the oldest first."""

    def on_read(self, offset: int, size: int) -> ReadPlan:
        """Somebody wants so many bytes from there on."""
        reader = self._reader_at(offset)
        if reader is None:
            is_exact = self._is_first_touch(offset, size)
            reader = _Reader(offset + size, size, is_exact)
            self._readers = [*self._readers[1 - _READERS_MAX :], reader]
            return ReadPlan(is_exact, False, range(0))
        self._readers.remove(reader)
        self._readers.append(reader)
        reader.read += size
        reader.end = max(reader.end, offset + size)
        if reader.read <= _SAMPLE_BYTES:
            return ReadPlan(reader.is_exact, False, range(0))
        first = (reader.end - 1) // CHUNK_BYTES + 1
        count = min(AHEAD_MAX, 1 + reader.read // CHUNK_BYTES)
        last = min(first + count, self._chunks)
        return ReadPlan(False, True, range(min(first, last), last))

    def _reader_at(self, offset: int) -> _Reader | None:
        near = (one for one in reversed(self._readers) if abs(offset - one.end) <= _NEAR_BYTES)
        return next(near, None)

    def _is_first_touch(self, offset: int, size: int) -> bool:
        first, last = offset // CHUNK_BYTES, (offset + size - 1) // CHUNK_BYTES
        if first != last or first in self._touched:
            return False
        while len(self._touched) >= _TOUCHED_MAX:
            del self._touched[next(iter(self._touched))]
        self._touched[first] = None
        return True
