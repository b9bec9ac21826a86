"""Verified plaintext segments in memory for the next reader, within a bound of bytes.

The key of an entry covers the object's secret key: who does not have it cannot be given plaintext
that somebody else has read.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec
import trio
from blake3 import blake3

from storage.cache.policy import S3Fifo
from storage.facade import ReadCap

CacheKey: TypeAlias = tuple[bytes, int]
"""Hash of address and key, and the number of the segment."""

ENTRY_BYTES = 256
"""What an entry costs besides its bytes: keeps the number of empty segments bounded, too."""


class CacheStats(msgspec.Struct, frozen=True):
    """Hits and misses since the start, and what is kept now."""

    hits: int
    misses: int
    joined: int
    """Readers that waited for a load somebody else had begun."""
    bytes: int
    bytes_max: int
    entries: int


class _Load(msgspec.Struct):
    done: trio.Event = msgspec.field(default_factory=trio.Event)
    plain: bytes | None = None
    """None when it failed: whoever waited tries again."""


class SegmentCache:
    """Satisfies `storage.objects.reader.SegmentReads`."""

    def __init__(self, bytes_max: int) -> None:
        """With `bytes_max` 0 nothing is kept."""
        self._policy: S3Fifo[CacheKey] = S3Fifo(bytes_max)
        self._kept: dict[CacheKey, bytes] = {}
        """The bytes: exactly of the keys that `_policy` holds."""
        self._loads: dict[CacheKey, _Load] = {}
        """Fetches under way: at most one of each segment."""
        self._hits = self._misses = self._joined = 0
        """Since the start (`CacheStats`)."""

    def get(self, cap: ReadCap, index: int) -> bytes | None:
        """A segment, if it is here."""
        key = _key(cap, index)
        if not self._policy.touch(key):
            self._misses += 1
            return None
        self._hits += 1
        return self._kept[key]

    def put(self, cap: ReadCap, index: int, plain: bytes) -> None:
        """Keep a verified segment; one larger than the whole cache is not kept."""
        key = _key(cap, index)
        self._kept[key] = plain
        for gone in self._policy.add(key, len(plain) + ENTRY_BYTES):
            del self._kept[gone]

    async def load(self, cap: ReadCap, index: int, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        """A segment from here, or by `fetch`, of which one runs at a time for each segment.

        What `fetch` raises is raised to its own caller; those who waited for it try themselves.
        """
        while True:
            segment = self.get(cap, index)
            if segment is not None:
                await trio.lowlevel.checkpoint()
                return segment
            load = self._loads.get(_key(cap, index))
            if load is None:
                return await self._fetch(cap, index, fetch)
            self._joined += 1
            await load.done.wait()
            if load.plain is not None:
                return load.plain

    def clear(self) -> None:
        """Keep nothing of what is here now."""
        for key in self._kept:
            self._policy.remove(key)
        self._kept.clear()

    def stats(self) -> CacheStats:
        """A snapshot for telemetry and tests."""
        return CacheStats(
            self._hits, self._misses, self._joined,
            self._policy.bytes, self._policy.bytes_max, len(self._policy),
        )  # fmt: skip

    async def _fetch(
        self, cap: ReadCap, index: int, fetch: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        key = _key(cap, index)
        load = self._loads[key] = _Load()
        try:
            load.plain = await fetch()
        finally:
            del self._loads[key]
            load.done.set()
        self.put(cap, index, load.plain)
        return load.plain


def _key(cap: ReadCap, index: int) -> CacheKey:
    return blake3(b"swarm segment\0" + cap.address + cap.key).digest(), index
