"""One fdatasync for all who wait: the next begins when the one before has ended."""

from collections.abc import Callable, Iterable
from functools import partial

import trio

from p2p.workers import Workers
from storage.errors import StoreFailedError, StoreFullError


class _Waiter:
    def __init__(self, file: int) -> None:
        self.file = file
        self.done = trio.Event()
        self.error: type[StoreFullError | StoreFailedError] | None = None
        """Why it is not durable, once `done` is set; None when it is."""


class GroupSync:
    """Calls `sync(files)` in a worker for every group of waiters."""

    def __init__(self, workers: Workers, sync: Callable[[Iterable[int]], None]) -> None:
        self._workers, self._sync = workers, sync
        self._waiting: list[_Waiter] = []
        """For the next sync; who waits for the present one is not here."""
        self._wake = trio.Event()
        """Set when somebody waits."""
        self._stopped = False
        """`run` has ended: who comes now syncs alone."""
        self._failed = False
        """The last sync failed: what it covered may be lost, and nothing is taken any more."""

    async def run(self) -> None:
        """Sync until cancelled. StoreFailedError escapes: bytes may be lost after a failed sync."""
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._waiting:
                    await self._sync_group()
        finally:
            self._stopped = True
            with trio.CancelScope(shield=True):  # puts that are on their way end well
                while self._waiting and not self._failed:
                    await self._sync_group()
            self._answer(self._waiting, StoreFailedError)

    async def flush(self, file: int) -> None:
        """Return once all that was written to `file` before is durable.

        Raises StoreFullError, StoreFailedError.
        """
        if self._failed:
            raise StoreFailedError("the shard store has failed: restart the node")
        if self._stopped:
            return await self._workers.run(partial(self._sync, (file,)))
        waiter = _Waiter(file)
        self._waiting.append(waiter)
        self._wake.set()
        await waiter.done.wait()
        if waiter.error is not None:
            raise waiter.error(f"volume {file:08x} could not be made durable")
        return None

    async def _sync_group(self) -> None:
        group, self._waiting = self._waiting, []
        files = list(dict.fromkeys(waiter.file for waiter in group))
        error: type[StoreFullError | StoreFailedError] | None = StoreFailedError
        try:
            with trio.CancelScope(shield=True):  # else a stop would look like a failed disk
                await self._workers.run(partial(self._sync, files))
            error = None
        except StoreFullError:
            error = StoreFullError
        finally:
            self._failed = error is StoreFailedError
            self._answer(group, error)

    @staticmethod
    def _answer(
        group: Iterable[_Waiter], error: type[StoreFullError | StoreFailedError] | None
    ) -> None:
        for waiter in group:
            waiter.error = error
            waiter.done.set()
