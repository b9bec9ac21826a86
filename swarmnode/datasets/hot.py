"""Chunks in memory, the least recently used one leaving first."""

from swarmnode.datasets.chunks import ChunkId


class HotChunks:
    """Those of all objects."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: dict[ChunkId, bytes] = {}
        """The least recently used first; together no more than `_bytes_max`, or just one."""
        self._bytes = 0

    def __contains__(self, chunk: ChunkId) -> bool:
        return chunk in self._kept

    def get(self, chunk: ChunkId) -> bytes | None:
        """A use of it."""
        data = self._kept.pop(chunk, None)
        if data is not None:
            self._kept[chunk] = data
        return data

    def put(self, chunk: ChunkId, data: bytes) -> None:
        """Keep it; others leave for it."""
        self._bytes += len(data) - len(self._kept.pop(chunk, b""))
        self._kept[chunk] = data
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            self._bytes -= len(self._kept.pop(next(iter(self._kept))))
