"""Tables in LMDB: one environment, one write transaction for all who wait (group commit).

No timer: a commit begins when the one before has ended, and what came meanwhile joins it. Inside,
every `apply` has a nested transaction, so that what it raises undoes only its own writes.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import lmdb
import trio

from storage.engine.entries import QueuedWrite
from storage.engine.lmdb_file import open_store
from storage.engine.lmdb_records import (
    Handle,
    Transaction,
    get_record,
    scan_records,
    seal,
    unreadable,
)
from storage.engine.port import WriteView, check_key
from storage.engine.reserve import Reserve
from storage.errors import TABLES_REMEDY, StoreFailedError, StoreFullError
from storage.limits import (
    COMMIT_BYTES_MAX,
    COMMIT_WRITES_MAX,
    READER_CHECK_S,
    TABLES_MAP_BYTES,
    TABLES_MAX,
)

ResultT = TypeVar("ResultT")


class _NestedWrite:
    """The write view of one `apply`: a transaction nested in that of its group."""

    def __init__(
        self,
        environment: Any,  # noqa: ANN401
        where: str,
        txn: Transaction,
        known: dict[str, Handle],
    ) -> None:
        self._environment, self._where = environment, where
        self._txn, self._known = txn, known
        self.opened: dict[str, Handle] = {}
        """Tables that this one made: known to others once it is committed."""
        self.bytes = 0
        """Written by it so far, keys and hashes included."""

    def get(self, table: str, key: bytes) -> bytes | None:
        check_key(key)
        handle = self._handle(table)
        return handle and get_record(self._txn, handle, self._where, table, key)

    def scan(
        self, table: str, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        handle = self._handle(table)
        if not handle:
            return []
        return scan_records(self._txn, handle, self._where, table, prefix, after, limit)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        check_key(key)
        sealed = seal(table, key, value)
        try:
            self._txn.put(key, sealed, db=self._handle(table) or self._create(table))
        except (lmdb.MapFullError, lmdb.TxnFullError) as error:
            raise StoreFullError(f"no room for a record of {len(sealed)} bytes") from error
        except lmdb.Error as error:
            raise unreadable(self._where, table, error) from error
        self.bytes += len(key) + len(sealed)

    def delete(self, table: str, key: bytes) -> bool:
        check_key(key)
        handle = self._handle(table)
        if handle is None:
            return False
        try:
            return bool(self._txn.delete(key, db=handle))
        except lmdb.Error as error:
            raise unreadable(self._where, table, error) from error

    def _handle(self, table: str) -> Handle | None:
        return self._known.get(table) or self.opened.get(table)

    def _create(self, table: str) -> Handle:
        if len(self._known) + len(self.opened) >= TABLES_MAX:
            raise ValueError(f"no table {table}: there are {TABLES_MAX} already")
        self.opened[table] = handle = self._environment.open_db(table.encode(), txn=self._txn)
        return handle


class LmdbTables:
    """`storage.engine.port.Tables` in the folder `path`; opened (or created) at once.

    The folder must not be open elsewhere in this process. Raises StoreFailedError when it is
    damaged or not ours.
    """

    def __init__(self, path: Path, *, map_bytes: int = TABLES_MAP_BYTES) -> None:
        self._path = path
        self._environment, self._handles = open_store(path, map_bytes)
        self._reserve = Reserve(path)
        self._reserve.fill()
        self._pid = os.getpid()
        """Of the process that opened it: LMDB does not stand a fork."""
        self._queue: deque[QueuedWrite[Any]] = deque()
        """Writes that are not answered yet, in order; a commit takes the first ones."""
        self._wake = trio.Event()
        """Set when something was queued."""
        self._writer = trio.CapacityLimiter(1)
        """One thread at a time writes."""
        self._turn = trio.Lock()
        """One task at a time commits: `run`, or whoever comes after its end."""
        self._stopped = False
        """`run` has ended: callers commit what they queue."""
        self._ended = ""
        """Why nothing can be written any more; empty while it can."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit until cancelled; what is queued then, or comes later, its callers commit."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._check_readers)
                task_status.started()
                await self._commit_forever()
        finally:
            self._stopped = True
            if not self._ended:
                with trio.CancelScope(shield=True):  # some commits of bounded size
                    await self._commit_queued()

    def close(self) -> None:
        """Close the files; only after `run` has ended. Everything raises StoreFailedError then."""
        self._ended = self._ended or "it was closed"
        self._environment.close()

    def get(self, table: str, key: bytes) -> bytes | None:
        check_key(key)
        handle = self._handles.get(table)
        if handle is None:
            return None
        with self._begin() as txn:
            return get_record(txn, handle, str(self._path), table, key)

    def scan(
        self, table: str, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        handle = self._handles.get(table)
        if handle is None:
            return []
        with self._begin() as txn:
            return scan_records(txn, handle, str(self._path), table, prefix, after, limit)

    async def transact(self, apply: Callable[[WriteView], ResultT]) -> ResultT:
        """See the port."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._ended:
            raise StoreFailedError(f"{self._path} takes no writes: {self._ended}")
        entry = QueuedWrite(apply)
        self._queue.append(entry)
        self._wake.set()
        if self._stopped:  # parts that end after us may still have something to save
            with trio.CancelScope(shield=True):
                await self._commit_queued()
        return await entry.wait()

    async def free(self, apply: Callable[[WriteView], ResultT]) -> ResultT:
        """See the port."""
        try:
            return await self.transact(apply)
        except StoreFullError:
            if not await trio.to_thread.run_sync(self._reserve.give, limiter=self._writer):
                raise
        return await self.transact(apply)

    def _begin(self, *, write: bool = False) -> Transaction:
        if os.getpid() != self._pid:
            raise StoreFailedError(f"{self._path} was opened before a fork: open it after")
        try:
            return self._environment.begin(write=write, buffers=True)
        except lmdb.Error as error:
            raise StoreFailedError(
                f"{self._path} cannot be read ({error}): {TABLES_REMEDY}"
            ) from error

    async def _check_readers(self) -> None:
        while True:
            await trio.sleep(READER_CHECK_S)
            self._environment.reader_check()
            await trio.to_thread.run_sync(self._reserve.fill, limiter=self._writer)

    async def _commit_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self._commit_queued()

    async def _commit_queued(self) -> None:
        async with self._turn:
            while self._queue:
                await self._commit_group()

    async def _commit_group(self) -> None:
        group = list(islice(self._queue, COMMIT_WRITES_MAX))
        try:
            handled = await trio.to_thread.run_sync(self._write, group, limiter=self._writer)
        except StoreFailedError as error:
            self._ended = str(error)
            while self._queue:
                self._answer(StoreFailedError(self._ended))
            raise
        for _ in range(handled):
            self._answer(None)

    def _answer(self, error: StoreFailedError | None) -> None:
        entry = self._queue.popleft()
        if error is not None:
            entry.fail(error)
        entry.done.set()

    def _write(self, group: Sequence[QueuedWrite[Any]]) -> int:
        """Commit the first entries of a group, in the writer's thread; how many were handled."""
        fresh: dict[str, Handle] = {}
        handled = written = 0
        txn = self._begin(write=True)
        try:
            for entry in group:
                handled += 1
                written += self._nest(txn, entry, fresh)
                if written >= COMMIT_BYTES_MAX:
                    break
            txn.commit()
        except lmdb.Error as error:
            txn.abort()
            if not self._is_full(error):
                raise StoreFailedError(
                    f"{self._path}: a commit failed ({error}): see the kernel's log (dmesg) for "
                    "its disk, mend that, and start the node again"
                ) from error
            for entry in group[:handled]:
                entry.fail(StoreFullError(f"{self._path}: the disk is full ({error})"))
        else:
            self._handles = {**self._handles, **fresh}
        return handled

    def _nest(self, txn: Transaction, entry: QueuedWrite[Any], fresh: dict[str, Handle]) -> int:
        """Run one `apply`; the bytes it wrote. Handles of tables it made are good for its group."""
        child = self._environment.begin(write=True, parent=txn, buffers=True)
        known = {**self._handles, **fresh}
        view = _NestedWrite(self._environment, str(self._path), child, known)
        if not entry.try_on(view):
            child.abort()  # closes the handles it opened, too
            return 0
        child.commit()
        fresh.update(view.opened)
        return view.bytes

    def _is_full(self, error: lmdb.Error) -> bool:
        """LMDB reports a short write as EIO, so the file system is asked as well.

        Nothing was written in these cases: the page that would make it count comes last.
        """
        if isinstance(error, lmdb.PanicError):
            return False
        disk = os.statvfs(self._path)
        return (
            isinstance(error, lmdb.DiskError | lmdb.MapFullError)
            or os.strerror(errno.EDQUOT) in str(error)
            or disk.f_bavail * disk.f_frsize < COMMIT_BYTES_MAX
        )
