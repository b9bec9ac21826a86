"""Named tables with one write transaction at a time: where every durable fact of a node lives.

Bodies: `storage.engine.lmdb_tables` (the only importer of lmdb) and `storage.engine.memory_tables`
(whose `crash()` keeps only what was committed). Both pass tests/contract/test_tables.py.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

ResultT = TypeVar("ResultT")


class ReadView(Protocol):
    """A consistent look at the tables."""

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def scan(
        self, table: str, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        """Pairs in key order whose key starts with `prefix` and is greater than `after`."""
        ...


class WriteView(ReadView, Protocol):
    """A read view that sees its own writes."""

    def put(self, table: str, key: bytes, value: bytes) -> None: ...

    def delete(self, table: str, key: bytes) -> bool: ...


class Tables(ReadView, Protocol):
    """Reads see the last commit; a write is durable (fsynced) once `transact` returns."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve writes until cancelled; StoreFailedError escapes when a commit fails."""

    async def transact(self, apply: Callable[[WriteView], ResultT]) -> ResultT:
        """Run `apply` inside the next group commit and return its result once that is durable.

        If `apply` raises, its writes are undone and the error is raised here; others in the same
        group are unaffected. Once queued, the commit happens even if the caller is cancelled.
        Raises StoreFullError when the disk is full (nothing was written).
        """
        ...
