"""What stays in a cache of so many bytes: S3-FIFO, weighted by size.

New entries wait in a small queue; those asked for again move to the main queue, the rest leave
early, so a scan passes through a tenth of the cache. Keys that left early are remembered (ghosts):
when they come back they go to the main queue at once. Source: Yang et al., SOSP 2023,
https://dl.acm.org/doi/10.1145/3600006.3613147
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

import msgspec

KeyT = TypeVar("KeyT", bound=Hashable)

SMALL_SHARE = 10
"""The small queue gets one part in ten, as in the paper."""

USES_MAX = 3
"""Uses are counted up to this: an entry survives so many rounds of the main queue."""


class _CachedSize(msgspec.Struct):
    size: int
    """In bytes."""
    uses: int = 0
    """Counted since it came, up to USES_MAX; each round of the main queue takes one away."""


class _Fifo(msgspec.Struct, Generic[KeyT]):
    """Entries in the order they came."""

    entries: dict[KeyT, _CachedSize] = msgspec.field(default_factory=dict)
    bytes: int = 0
    """Of all entries."""

    def push(self, key: KeyT, entry: _CachedSize) -> None:
        self.entries[key] = entry
        self.bytes += entry.size

    def pop(self) -> tuple[KeyT, _CachedSize]:
        key = next(iter(self.entries))
        return key, self.remove(key)

    def remove(self, key: KeyT) -> _CachedSize:
        entry = self.entries.pop(key)
        self.bytes -= entry.size
        return entry


class S3Fifo(Generic[KeyT]):
    """Decides; the bytes themselves are kept by whoever asks."""

    def __init__(self, bytes_max: int) -> None:
        if bytes_max < 0:
            raise ValueError("a cache has room for 0 bytes or more")
        self.bytes_max = bytes_max
        """Of small and main queue together; the sizes of all ghosts add up to no more, either."""
        self._small: _Fifo[KeyT] = _Fifo()
        """What came lately."""
        self._main: _Fifo[KeyT] = _Fifo()
        """What was asked for again, or came back."""
        self._ghosts: _Fifo[KeyT] = _Fifo()
        """Sizes of what left early; none of these keys is in the other two."""

    @property
    def bytes(self) -> int:
        """Bytes of all entries."""
        return self._small.bytes + self._main.bytes

    def __len__(self) -> int:
        return len(self._small.entries) + len(self._main.entries)

    def __contains__(self, key: KeyT) -> bool:
        return key in self._small.entries or key in self._main.entries

    def touch(self, key: KeyT) -> bool:
        """Count a use; False when the key is not here."""
        entry = self._small.entries.get(key) or self._main.entries.get(key)
        if entry is None:
            return False
        entry.uses = min(USES_MAX, entry.uses + 1)
        return True

    def add(self, key: KeyT, size: int) -> list[KeyT]:
        """Take an entry in; the keys that had to go for it.

        The key itself is among them when it is larger than the whole cache. An entry of the same
        key is replaced.
        """
        self.remove(key)
        if size > self.bytes_max:
            return [key]
        gone: list[KeyT] = []
        while self.bytes + size > self.bytes_max:
            gone += self._evict()
        if key in self._ghosts.entries:
            self._ghosts.remove(key)
            self._main.push(key, _CachedSize(size))
        else:
            self._small.push(key, _CachedSize(size))
        return gone

    def remove(self, key: KeyT) -> bool:
        """Take an entry out; False when it was not here."""
        for queue in (self._small, self._main):
            if key in queue.entries:
                queue.remove(key)
                return True
        return False

    def _evict(self) -> list[KeyT]:
        """One step: move an entry on, or put it out."""
        if self._small.bytes * SMALL_SHARE > self.bytes_max or not self._main.entries:
            return self._evict_small()
        key, entry = self._main.pop()
        if entry.uses > 0:
            self._main.push(key, _CachedSize(entry.size, entry.uses - 1))
            return []
        return [key]

    def _evict_small(self) -> list[KeyT]:
        key, entry = self._small.pop()
        if entry.uses > 0:
            self._main.push(key, _CachedSize(entry.size))
            return []
        self._ghosts.push(key, _CachedSize(entry.size))
        while self._ghosts.bytes > self.bytes_max:
            self._ghosts.pop()
        return [key]
