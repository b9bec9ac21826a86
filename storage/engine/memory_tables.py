"""Tables in memory, for simulations: the group commits of the real store, on virtual time."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import trio

from storage.engine.entries import QueuedWrite
from storage.engine.port import WriteView, check_key
from storage.errors import StoreFailedError, StoreFullError

ResultT = TypeVar("ResultT")


class _Table(msgspec.Struct):
    """One table: a dict for look-ups, its keys in order for scans."""

    rows: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    keys: list[bytes] = msgspec.field(default_factory=list)

    def set(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            if key in self.rows:
                del self.rows[key]
                del self.keys[bisect_left(self.keys, key)]
            return
        if key not in self.rows:
            insort(self.keys, key)
        self.rows[key] = value


class _UndoableWrite:
    """The write view of one `apply`; remembers how to undo it."""

    def __init__(self, tables: "MemoryTables") -> None:
        self._tables = tables
        self._before: list[tuple[str, bytes, bytes | None]] = []
        """(table, key, value before) of each write, in order."""

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._tables.get(table, key)

    def scan(
        self, table: str, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        return self._tables.scan(table, prefix, after=after, limit=limit)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        check_key(key)
        self._before.append((table, key, self._tables.get(table, key)))
        self._tables.overwrite(table, key, value)

    def delete(self, table: str, key: bytes) -> bool:
        before = self._tables.get(table, key)
        if before is None:
            return False
        self._before.append((table, key, before))
        self._tables.overwrite(table, key, None)
        return True

    def undo(self) -> None:
        for table, key, value in reversed(self._before):
            self._tables.overwrite(table, key, value)


class MemoryTables:
    """`storage.engine.port.Tables` without a disk. Works without `run`, inside any trio loop.

    A commit takes `commit_s` of (virtual) time; writes that come meanwhile join it. `crash()`
    forgets what was queued, as a power cut would: cancel the node in the same step, and start
    another on the same object.
    """

    def __init__(self, *, commit_s: float = 0.0, capacity_bytes: int | None = None) -> None:
        self._tables: dict[str, _Table] = {}
        self._queue: list[QueuedWrite[Any]] = []
        """Writes for the next commit."""
        self._committing = False
        """A task is there to commit what is queued."""
        self._commit_s = commit_s
        self.capacity_bytes = capacity_bytes
        """No write may make the tables grow beyond this."""
        self.is_full = False
        """No commit succeeds, deletions neither: as LMDB on a file system without a free page."""
        self.is_reserve_gone = False
        """With it a full disk takes nothing at all."""
        self._bytes = 0
        """Of all keys and values."""

    @property
    def used_bytes(self) -> int:
        """All keys and values."""
        return self._bytes

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Nothing to serve: wait to be cancelled."""
        task_status.started()
        await trio.sleep_forever()

    def close(self) -> None:
        """Nothing is open."""

    def crash(self) -> None:
        """Only what was committed is left. Who waits for a write gets StoreFailedError."""
        for entry in self._queue:
            entry.fail(StoreFailedError("the tables crashed"))
            entry.done.set()
        self._queue.clear()

    def get(self, table: str, key: bytes) -> bytes | None:
        check_key(key)
        contents = self._tables.get(table)
        return contents.rows.get(key) if contents else None

    def scan(
        self, table: str, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        contents = self._tables.get(table)
        if contents is None:
            return []
        at = bisect_left(contents.keys, prefix)
        if after is not None:
            at = max(at, bisect_right(contents.keys, after))
        pairs: list[tuple[bytes, bytes]] = []
        while at < len(contents.keys) and len(pairs) < limit:
            key = contents.keys[at]
            if not key.startswith(prefix):
                break
            pairs.append((key, contents.rows[key]))
            at += 1
        return pairs

    def overwrite(self, table: str, key: bytes, value: bytes | None) -> None:
        """Change a record outside any transaction, as a failing disk would."""
        rows = self._tables.setdefault(table, _Table())
        before = rows.rows.get(key)
        self._bytes += _weight(key, value) - _weight(key, before)
        rows.set(key, value)

    async def transact(self, apply: Callable[[WriteView], ResultT]) -> ResultT:
        """See the port."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._enqueue(QueuedWrite(apply))

    async def free(self, apply: Callable[[WriteView], ResultT]) -> ResultT:
        """See the port. Here the room set aside has no end, but `is_reserve_gone`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        entry = QueuedWrite(apply)
        entry.may_use_reserve = True
        return await self._enqueue(entry)

    async def _enqueue(self, entry: QueuedWrite[ResultT]) -> ResultT:
        self._queue.append(entry)
        if not self._committing:
            self._committing = True
            trio.lowlevel.spawn_system_task(self._commit_queued)
        return await entry.wait()

    async def _commit_queued(self) -> None:
        try:
            while self._queue:
                await trio.sleep(self._commit_s)
                batch, self._queue = self._queue, []
                for entry in batch:
                    self._commit(entry)
        finally:
            self._committing = False

    def _commit(self, entry: QueuedWrite[ResultT]) -> None:
        view, before = _UndoableWrite(self), self._bytes
        if not entry.try_on(view):
            view.undo()
        elif entry.may_use_reserve and not self.is_reserve_gone:
            pass
        elif self.is_full:
            view.undo()
            entry.fail(StoreFullError("the disk is full"))
        elif self.capacity_bytes is not None and before < self._bytes > self.capacity_bytes:
            view.undo()
            entry.fail(StoreFullError(f"{self.capacity_bytes} bytes are full"))
        entry.done.set()


def _weight(key: bytes, value: bytes | None) -> int:
    return 0 if value is None else len(key) + len(value)
