"""Environments of an executor in memory: their bytes are read, and only the name stays."""

from collections.abc import AsyncIterable, Iterable

import trio
from blake3 import blake3

from swarmnode.errors import EnvironmentDamagedError


class FakeBringing:
    """Satisfies BringsEnvironments."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._news = trio.Event()
        """Set, and made anew, when another has come."""

    @property
    def is_possible(self) -> bool:
        """It is."""
        return True

    def names(self) -> tuple[str, ...]:
        """All that are here."""
        return tuple(sorted(self._names))

    async def arrived(self) -> None:
        """Return once another has come."""
        await self._news.wait()

    def has(self, name: str) -> bool:
        """Whether it was configured or brought."""
        return name in self._names

    async def bring(
        self, name: str, digest: bytes, chunks: AsyncIterable[bytes], job: str = ""
    ) -> None:
        """Read all of it, unless it is here. Raises EnvironmentDamagedError."""
        del job  # nothing ever leaves here
        if self.has(name):
            return
        hasher = blake3()
        async for chunk in chunks:
            hasher.update(chunk)
        if hasher.digest() != digest:
            raise EnvironmentDamagedError(f"environment {name} is not what its builder signed")
        self._names.add(name)
        self._news.set()
        self._news = trio.Event()
