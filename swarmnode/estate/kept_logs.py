"""The objects in the pool that hold logs: put, noted, read again, given up once replaced."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TypeAlias

import msgspec
import trio

from p2p.wire.codec import encode
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from storage.errors import StoreFullError
from storage.facade import Mark, ObjectEntry, ObjectKind, Objects, ReadCap
from storage.ids import Address
from storage.locks import KeyedLocks
from swarmnode.errors import TaskUnknownError
from swarmnode.estate.changed import TaskList
from swarmnode.estate.log_bundle import pack_logs, unpack_log
from swarmnode.estate.rows import ESTATES, EstateRow, row_of
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord

OpenCap: TypeAlias = Callable[[str, ReadCap], ReadCap]
"""A person's capability in clear, where it rests sealed. Raises PersonLockedError."""


class KeptLogs:
    """Which object holds whose log stands in the rows of the estates."""

    def __init__(
        self, market: TaskList, logbook: LogBook, objects: Objects, tables: Tables
    ) -> None:
        self._market, self._logbook = market, logbook
        self._objects, self._tables = objects, tables
        self._bringing = KeyedLocks[bytes]()
        """By the object that holds a log: who asks for it twice waits for the first."""
        self._open_cap: OpenCap = lambda _person, cap: cap
        """See `open_by`; until then all rest in clear."""
        self._replaced: dict[Address, frozenset[TaskId]] = {}
        """Objects of which there are newer ones, with whose logs they held: the copy of the keyring
        may name the old ones."""
        self._unnamed: frozenset[Address] = frozenset()
        """Those of them that a copy which is being made does not name any more."""

    def open_by(self, open_cap: OpenCap) -> None:
        """From now on what rests sealed is opened so."""
        self._open_cap = open_cap

    def length(self, task: TaskId) -> int:
        """How long a task's log was when it was put; 0: it was not."""
        return row_of(self._tables, task).log_bytes

    def at(self, task: TaskId) -> bytes:
        """The address of the object that it is in; empty: none."""
        return row_of(self._tables, task).log_at

    async def put(self, some: Sequence[tuple[TaskRecord, int]]) -> None:
        """Put the logs of tasks of one person, so long, as one object. Raises StorageError."""
        tasks = [record.task for record, _ in some]
        mark = Mark(ObjectKind.LOG, tasks[0] if len(tasks) == 1 else "", some[0][0].person)
        name = f"log/{tasks[0]}" + (f" and {len(tasks) - 1} more" if len(tasks) > 1 else "")
        receipt = await self._objects.put(pack_logs(self._logbook, tasks), name=name, mark=mark)
        address = receipt.cap.address
        for task, before in (await self._note(some, address)).items():
            self._replaced[before] = self._replaced.get(before, frozenset()) | {task}
        if any(self._is_forgotten(task) for task in tasks):  # while it was put
            await self._give_up({address})

    async def bring(self, task: TaskId) -> None:
        """Have the log of a task here that another machine of its person had.

        Raises StorageError, PersonLockedError.
        """
        row = row_of(self._tables, task)
        at = row.log_at
        if not at or self._logbook.length(task) >= row.log_bytes:
            return  # nobody waits for another's log that comes slowly
        async with self._bringing.of(at):
            if self._logbook.length(task) < row.log_bytes:
                await self._bring(task, at)

    async def forget(self, task: TaskId) -> int:
        """Give up what holds the log of a forgotten task and of no other; how many objects."""
        at = {
            address
            for address, tasks in self._replaced.items()
            if task in tasks and all(map(self._is_forgotten, tasks))
        }
        if noted := self.at(task):
            at.add(Address(noted))
        return await self._give_up(at)

    def copying(self) -> None:
        """A copy of the keyring is made now, from what is noted now."""
        self._unnamed = frozenset(self._replaced)

    async def copied(self) -> None:
        """It stands in the pool: no copy names what was replaced before it was made."""
        unnamed, self._unnamed = self._unnamed, frozenset()
        for address in unnamed:
            del self._replaced[address]
        await self._give_up(unnamed)

    # -- inside

    async def _note(
        self, some: Sequence[tuple[TaskRecord, int]], address: Address
    ) -> dict[TaskId, Address]:
        """Where logs are from now on; returns where those were that were put before."""

        def apply(view: WriteView) -> dict[TaskId, Address]:
            before: dict[TaskId, Address] = {}
            for record, length in some:
                row = row_of(view, record.task)
                if row.log_at:
                    before[record.task] = Address(row.log_at)
                row = msgspec.structs.replace(row, log_bytes=length, log_at=address)
                view.put(ESTATES, record.task.encode(), encode(row))
            return before

        return await self._tables.transact(apply)

    def _is_forgotten(self, task: TaskId) -> bool:
        try:
            self._market.task(task)
        except TaskUnknownError:
            return True
        return False

    async def _give_up(self, addresses: Collection[Address]) -> int:
        """Those that hold the newest log of no task that is known."""
        freed = 0
        for address in sorted(set(addresses) - await self._needed(addresses)):
            with suppress(StoreFullError):  # a full disk cannot even forget: it goes later
                freed += await self._objects.forget(address) is not None
        return freed

    async def _needed(self, among: Collection[Address]) -> set[Address]:
        """Those that hold the newest log of a task that is known; ends as soon as all of them do:
        logs lie together, and many tasks may be removed one after the other."""
        needed, after = set[Address](), b""
        while len(needed) < len(among) and (page := self._tables.scan(ESTATES, after=after)):
            after = page[-1][0]
            for key, data in page:
                at = Address(stored(EstateRow, data, "state.lmdb").log_at)
                if at in among and not self._is_forgotten(TaskId(key.decode())):
                    needed.add(at)
            await trio.lowlevel.checkpoint()
        return needed

    async def _bring(self, task: TaskId, at: bytes) -> None:
        entry = self._entry(at)
        if entry is None:
            return
        cap = self._open_cap(entry.mark.person, entry.cap)
        data = b"".join([piece async for piece in self._objects.get(cap)])
        unpacked = unpack_log(data, task)
        if unpacked is not None:
            await self._logbook.take_back(task, *unpacked)

    def _entry(self, address: bytes) -> ObjectEntry | None:
        wanted = Address(address)
        return next(
            (entry for entry in self._objects.entries() if entry.cap.address == wanted), None
        )
