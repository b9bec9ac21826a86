"""Logs of tasks that have ended, in the pool: they outlive the machine that had them.

a task ends -> a moment of rest -> its log put, with those of others that ended meanwhile -> noted
a log is asked for that is not here -> the object that holds it is read -> kept here again
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Final, Protocol

import msgspec
import trio

from p2p.wire.codec import Record, encode
from storage.engine.port import ReadView, Tables, WriteView
from storage.engine.stored import stored
from storage.errors import StorageError
from storage.facade import Mark, ObjectEntry, ObjectKind, Objects, ReadCap
from storage.ids import Address
from storage.locks import KeyedLocks
from swarmnode.contained import contained
from swarmnode.errors import TaskUnknownError
from swarmnode.estate.changed import Changed, TaskList
from swarmnode.estate.log_bundle import pack_logs, unpack_log
from swarmnode.limits import LOGS_TOGETHER_BYTES_MAX
from swarmnode.market.explain import EventsMissed, TaskEvent
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord

ESTATES: Final = "estates"
"""task -> EstateRow."""
REST_S: Final = 1.0
"""After a task's end: its last lines may be on their way, and others end with it."""
LOOK_S: Final = 60.0
"""How often it is looked whether a log has grown after its task's end."""
AGAIN_S: Final = 10.0
"""After the pool could not take one."""
SETTLE_S: Final = 4.0
"""A copy of the keyring waits so long for logs to be in it."""


class EstateRow(Record, frozen=True):
    """What was taken over of a task: it is not done twice, whatever a person removed since."""

    step: int = 0
    """Newest checkpoint."""
    has_outputs: bool = False
    made_ms: int = 0
    """When that was made: it may be made again."""
    log_bytes: int = 0
    """How long its log was when it was put into the pool; 0: it was not."""
    log_at: bytes = b""
    """The address of the object that it is in."""
    left_fence: int = 0
    """The newest failed attempt whose outputs were taken over."""


class Tasks(TaskList, Protocol):
    """The same with what happens to them."""

    def events(self) -> AsyncGenerator[TaskEvent, None]: ...


class LogKeeper:
    """Puts logs into the pool, and has them back where they are missing."""

    def __init__(self, market: Tasks, logbook: LogBook, objects: Objects, tables: Tables) -> None:
        self._market, self._logbook = market, logbook
        self._objects, self._tables = objects, tables
        self._changed = Changed(market)
        self._waiting: dict[TaskId, None] = {}
        """Ended, and their logs may have to be put; in the order in which they ended."""
        self._news = trio.Event()
        """Set when there may be something to put; replaced before each look."""
        self._turn = trio.Event()
        """Set, and replaced, after each look."""
        self._looking = trio.Lock()
        """One at a time takes what has changed."""
        logbook.on_grown = self._on_grown
        self._faulted: set[TaskId] = set()
        """Tasks under whose logs a bug of ours came up: left alone until the next start."""
        self._alone: set[TaskId] = set()
        """Tasks of a bundle under which a bug came up: each is put by itself from then on."""
        self._has_failed = False
        """The pool could not take a log at the last try."""
        self._bringing = KeyedLocks[bytes]()
        """By the object that holds a log: who asks for it twice waits for the first."""
        self.open_cap: Callable[[str, ReadCap], ReadCap] = lambda person, cap: cap
        """A person's capability in clear, where it rests sealed. Raises PersonLockedError."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Put what ends until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            task_status.started()
            while True:
                self._news = trio.Event()
                self._has_failed = not await self._keep_all()
                self._turn.set()
                self._turn = trio.Event()
                with trio.move_on_after(AGAIN_S if self._has_failed else LOOK_S) as pause:
                    await self._news.wait()
                if pause.cancelled_caught:
                    self._changed.note_all()
                await trio.sleep(REST_S)

    async def settled(self, ended: frozenset[TaskId]) -> frozenset[TaskId]:
        """Those of these tasks whose logs are in the pool; waits a moment for the others.

        And for all others that have ended.
        """
        with trio.move_on_after(SETTLE_S):
            while not self._has_failed and (await self._unkept() or self._without_log(ended)):
                self._waiting.update(dict.fromkeys(sorted(self._without_log(ended))))
                self._news.set()
                await self._turn.wait()
        return ended - frozenset(self._without_log(ended))

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

    # -- inside

    async def _bring(self, task: TaskId, at: bytes) -> None:
        entry = self._entry(at)
        if entry is None:
            return
        cap = self.open_cap(entry.mark.person, entry.cap)
        data = b"".join([piece async for piece in self._objects.get(cap)])
        unpacked = unpack_log(data, task)
        if unpacked is not None:
            await self._logbook.take_back(task, *unpacked)

    async def _follow(self) -> None:
        async with aclosing(self._market.events()) as events:
            async for event in events:
                if isinstance(event, EventsMissed):
                    self._changed.note_all()
                elif event.state in TASK_ENDS:
                    self._changed.note(event.task)
                else:
                    continue
                self._news.set()

    async def _keep_all(self) -> bool:
        """Whether nothing is left to be tried again."""
        while some := await self._next_few():
            tasks = [record.task for record, _ in some]
            with contained(f"the keeping of logs of {', '.join(tasks)}") as bound:
                try:
                    await self._keep(some)
                except StorageError:  # the pool is not known, too small or full: later
                    return False
            if bound.has_faulted:  # one of them may be why: each by itself
                (self._alone if len(tasks) > 1 else self._faulted).update(tasks)
        return True

    async def _keep(self, some: Sequence[tuple[TaskRecord, int]]) -> None:
        """Put their logs as one object and note where. Raises StorageError."""
        tasks = [record.task for record, _ in some]
        mark = Mark(ObjectKind.LOG, tasks[0] if len(tasks) == 1 else "", some[0][0].person)
        name = f"log/{tasks[0]}" + (f" and {len(tasks) - 1} more" if len(tasks) > 1 else "")
        receipt = await self._objects.put(pack_logs(self._logbook, tasks), name=name, mark=mark)
        address = receipt.cap.address

        def note(view: WriteView) -> None:
            for record, length in some:
                row = row_of(view, record.task)
                row = msgspec.structs.replace(row, log_bytes=length, log_at=address)
                view.put(ESTATES, record.task.encode(), encode(row))

        await self._tables.transact(note)

    async def _next_few(self) -> list[tuple[TaskRecord, int]]:
        """Tasks of one person whose logs go together, and how long those are."""
        few: list[tuple[TaskRecord, int]] = []
        total = 0
        for record, length in await self._unkept():
            total += length
            is_other = record.person != few[0][0].person if few else False
            is_alone = bool(self._alone & {record.task, *(other.task for other, _ in few)})
            if few and (is_other or is_alone or total > LOGS_TOGETHER_BYTES_MAX):
                total -= length
            else:
                few.append((record, length))
        return few

    def _on_grown(self, task: TaskId) -> None:
        """Of one that has ended no event tells."""
        with suppress(TaskUnknownError):
            if self._market.task(task).has_ended:
                self._changed.note(task)  # more may come: at the next look, or with the next copy

    def _without_log(self, tasks: Iterable[TaskId]) -> list[TaskId]:
        return [task for task in tasks if self._lacks(task)]

    def _lacks(self, task: TaskId) -> bool:
        is_short = self._logbook.length(task) > row_of(self._tables, task).log_bytes
        return is_short and task not in self._faulted

    async def _unkept(self) -> list[tuple[TaskRecord, int]]:
        async with self._looking, aclosing(self._changed.take()) as views:
            async for view in views:
                if view.has_ended:
                    self._look_at(view.record)
        return [unkept for task in list(self._waiting) if (unkept := self._log_of(task))]

    def _look_at(self, record: TaskRecord) -> None:
        length = self._logbook.length(record.task)
        if length > row_of(self._tables, record.task).log_bytes:
            self._waiting[record.task] = None

    def _log_of(self, task: TaskId) -> tuple[TaskRecord, int] | None:
        """A task and how long its log is; None once that is kept, or nobody wants it any more."""
        try:
            record = self._market.task(task).record
        except TaskUnknownError:
            del self._waiting[task]
            return None
        length = self._logbook.length(task)
        if task in self._faulted or length <= row_of(self._tables, task).log_bytes:
            del self._waiting[task]
            return None
        return record, length

    def _entry(self, address: bytes) -> ObjectEntry | None:
        wanted = Address(address)
        return next(
            (entry for entry in self._objects.entries() if entry.cap.address == wanted), None
        )


def row_of(view: ReadView, task: TaskId) -> EstateRow:
    """What is known of one task."""
    data = view.get(ESTATES, task.encode())
    return EstateRow() if data is None else stored(EstateRow, data, "state.lmdb")
