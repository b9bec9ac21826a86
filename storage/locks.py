"""One lock for each key, there for as long as somebody holds it or waits for it."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import trio

KeyT = TypeVar("KeyT", bound=Hashable)


class KeyedLocks(Generic[KeyT]):
    """Who comes for the same key waits its turn; others go on."""

    def __init__(self) -> None:
        self._locks: dict[KeyT, trio.Lock] = {}
        """Of keys that somebody holds or waits for, and no others."""

    @asynccontextmanager
    async def of(self, key: KeyT) -> AsyncIterator[None]:
        """Hold the lock of a key."""
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            is_idle = lock.statistics().tasks_waiting == 0 and not lock.locked()
            # Who is cancelled on coming may leave after others have a new one.
            if is_idle and self._locks.get(key) is lock:
                del self._locks[key]

    def __len__(self) -> int:
        """Keys that somebody holds or waits for."""
        return len(self._locks)
