"""Chunks in memory, the least recently used one leaving first."""

from collections import deque

from swarmnode.datasets.ahead import CHUNK_BYTES
from swarmnode.datasets.chunks import ChunkId

_USES_PER_CHUNK = 4
"""So many uses lately, for each chunk there is room for, tell how many are read at a time."""
_CONTENT_USES = 512
"""So many tell how many contents are: each of their readers may wait while the others go on."""


class HotChunks:
    """Those of all objects."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._chunks_max = max(1, bytes_max // CHUNK_BYTES)
        self._kept: dict[ChunkId, bytes] = {}
        """The least recently used first; together no more than `_bytes_max`, or just one."""
        self._bytes = 0
        self._lately: deque[ChunkId] = deque(maxlen=_USES_PER_CHUNK * self._chunks_max)
        """What was asked for, here or not."""
        self._contents_lately: deque[str] = deque(maxlen=_CONTENT_USES)

    def __contains__(self, chunk: ChunkId) -> bool:
        return chunk in self._kept

    @property
    def ahead_max(self) -> int:
        """Chunks that each reader may have here before it wants them: what is read ahead for one
        must not drive out what another reads, or has read ahead. One that was read to its end has
        its room for a while."""
        return max(0, self._chunks_max // max(1, self._readers()) - 2)

    @property
    def is_crowded(self) -> bool:
        """More are read at a time than there is room for."""
        return self._readers() > self._chunks_max

    def get(self, chunk: ChunkId) -> bytes | None:
        """A use of it."""
        self._lately.append(chunk)
        self._contents_lately.append(chunk[0])
        data = self._kept.pop(chunk, None)
        if data is not None:
            self._kept[chunk] = data
        return data

    def _readers(self) -> int:
        return max(len(set(self._lately)), len(set(self._contents_lately)))

    def put(self, chunk: ChunkId, data: bytes) -> None:
        """Keep it; others leave for it."""
        self._bytes += len(data) - len(self._kept.pop(chunk, b""))
        self._kept[chunk] = data
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            self._bytes -= len(self._kept.pop(next(iter(self._kept))))
