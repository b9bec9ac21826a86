"""Named tables with one write transaction at a time: where every durable fact of a node lives.

Bodies: `storage.engine.lmdb_tables` (only this package imports lmdb) and
`storage.engine.memory_tables` (whose `crash()` keeps only what was committed). Both pass
tests/contract/test_tables.py.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

from storage.limits import KEY_BYTES_MAX

ResultT = TypeVar("ResultT")


class ReadView(Protocol):
    """A consistent look at the tables. A table nobody wrote to yet is empty.

    Raises RecordCorruptError for a record that is not what was written.
    """

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def scan(
        self, table: str, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        """Pairs in key order whose key starts with `prefix` and is greater than `after`."""
        ...


class WriteView(ReadView, Protocol):
    """A read view that sees its own writes."""

    def put(self, table: str, key: bytes, value: bytes) -> None: ...

    def delete(self, table: str, key: bytes) -> bool:
        """True when there was such a key."""
        ...


class Tables(ReadView, Protocol):
    """Reads see the last commit; a write is durable (fsynced) once `transact` returns."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve writes until cancelled; StoreFailedError escapes when a commit fails."""

    async def transact(self, apply: Callable[[WriteView], ResultT]) -> ResultT:
        """Run `apply` inside the next group commit and return its result once that is durable.

        `apply` may run in the writer's thread: it touches the view and what it was given, nothing
        else. If it raises, its writes are undone and the error is raised here; others in the same
        group are unaffected. Once queued, the commit happens even if the caller is cancelled.
        Raises StoreFullError when the disk is full (nothing was written) and StoreFailedError
        when the store has ended.
        """
        ...

    async def free(self, apply: Callable[[WriteView], ResultT]) -> ResultT:
        """As `transact`, for what makes the tables smaller: a full disk has room set aside for it.

        Raises StoreFullError when that is used up, too.
        """
        ...


def check_key(key: bytes) -> None:
    """Every body takes the same keys: 1 to KEY_BYTES_MAX bytes. ValueError is a caller's bug."""
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise ValueError(f"a key of {len(key)} bytes: 1 to {KEY_BYTES_MAX} are possible")
