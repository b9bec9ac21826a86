"""Logs of tasks that have ended, in the pool: they outlive the machine that had them.

a task ends -> a moment of rest -> its log put, with those of others that ended meanwhile -> noted
more of it comes -> put again once it rests, or after ever longer steps -> the older object goes
a log is asked for that is not here -> the object that holds it is read -> kept here again
"""

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from typing import Final, Protocol

import trio

from storage.engine.port import Tables
from storage.errors import StorageError
from storage.facade import Objects
from swarmnode.contained import contained
from swarmnode.errors import TaskUnknownError
from swarmnode.estate.changed import Changed, TaskList
from swarmnode.estate.growth import Growth
from swarmnode.estate.kept_logs import KeptLogs
from swarmnode.limits import LOGS_TOGETHER_BYTES_MAX
from swarmnode.market.explain import EventsMissed, TaskEvent
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord

REST_S: Final = 1.0
"""After a task's end: its last lines may be on their way, and others end with it."""
LATE_LOGS_EVERY_S: Final = 60.0
"""How often it is looked whether a log has grown after its task's end."""
PUT_AGAIN_S: Final = 10.0
"""After the pool could not take one."""
SETTLE_S: Final = 4.0
"""A copy of the keyring waits so long for logs to be in it."""


class Tasks(TaskList, Protocol):
    """The same with what happens to them."""

    def events(self) -> AsyncGenerator[TaskEvent, None]: ...


class LogKeeper:
    """Sees to it that logs come into the pool: which of them, when, and which together."""

    def __init__(self, market: Tasks, logbook: LogBook, objects: Objects, tables: Tables) -> None:
        self._market, self._logbook = market, logbook
        self.kept = KeptLogs(market, logbook, objects, tables)
        """What is in the pool."""
        self._changed = Changed(market)
        self._growth = Growth()
        """Of logs whose tasks have ended."""
        self._waiting: dict[TaskId, None] = {}
        """Ended, and their logs may have to be put; in the order in which they ended."""
        self._news = trio.Event()
        """Set when there may be something to put; replaced before each look."""
        self._turn = trio.Event()
        """Set, and replaced, after each look."""
        self._looking = trio.Lock()
        """One at a time takes what has changed."""
        logbook.on_grown(self._on_grown)
        self._faulted: set[TaskId] = set()
        """Tasks under whose logs a bug of ours came up: left alone until the next start."""
        self._alone: set[TaskId] = set()
        """Tasks of a bundle under which a bug came up: each is put by itself from then on."""
        self._has_failed = False
        """The pool could not take a log at the last try."""

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
                pause_s = self._pause_s()
                with trio.move_on_after(pause_s) as pause:
                    await self._news.wait()
                if not pause.cancelled_caught:
                    await trio.sleep(REST_S)
                elif pause_s >= PUT_AGAIN_S:
                    self._changed.note_all()
                    self._growth.forget_old(trio.current_time())

    def _pause_s(self) -> float:
        """Until there is something to do without any news."""
        if self._has_failed:
            return PUT_AGAIN_S
        due_s = min(map(self._growth.due_s, self._waiting), default=math.inf)
        return min(max(0.0, due_s - trio.current_time()), LATE_LOGS_EVERY_S)

    async def settled(self, ended: frozenset[TaskId]) -> frozenset[TaskId]:
        """Those of these tasks whose logs are in the pool; waits a moment for the others.

        And for all others that have ended, but not for logs that are put later than that.
        """
        until_s = trio.current_time() + SETTLE_S
        with trio.move_on_at(until_s):
            while not self._has_failed and await self._are_some_due(until_s, ended):
                self._waiting.update(dict.fromkeys(sorted(self._without_log(ended))))
                self._news.set()
                await self._turn.wait()
        self.kept.copying()
        return ended - frozenset(self._without_log(ended))

    async def copied(self) -> None:
        """The copy of the keyring that waited for this one's `settled` stands in the pool."""
        await self.kept.copied()

    # -- inside

    async def _are_some_due(self, until_s: float, ended: frozenset[TaskId]) -> bool:
        unkept = [record.task for record, _ in await self._unkept()]
        lacking = (*unkept, *self._without_log(ended))
        return any(self._growth.due_s(task) <= until_s for task in lacking)

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
                began_s = trio.current_time()
                try:
                    await self.kept.put(some)
                except StorageError:  # the pool is not known, too small or full: later
                    return False
                for task in tasks:
                    self._growth.put(task, began_s)
            if bound.has_faulted:  # one of them may be why: each by itself
                (self._alone if len(tasks) > 1 else self._faulted).update(tasks)
        return True

    async def _next_few(self) -> list[tuple[TaskRecord, int]]:
        """Tasks of one person whose logs go together, and how long those are."""
        few: list[tuple[TaskRecord, int]] = []
        total = 0
        unkept, now_s = await self._unkept(), trio.current_time()
        for record, length in unkept:
            if self._growth.due_s(record.task) > now_s:
                continue
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
                self._growth.grown(task, trio.current_time())
                self._changed.note(task)
                if not self._has_failed:  # else it is tried again as late as any
                    self._news.set()

    def _without_log(self, tasks: Iterable[TaskId]) -> list[TaskId]:
        return [task for task in tasks if self._lacks(task)]

    def _lacks(self, task: TaskId) -> bool:
        return self._logbook.length(task) > self.kept.length(task) and task not in self._faulted

    async def _unkept(self) -> list[tuple[TaskRecord, int]]:
        async with self._looking, aclosing(self._changed.take()) as views:
            async for view in views:
                if view.has_ended and self._lacks(view.task):
                    self._waiting[view.task] = None
        return [unkept for task in list(self._waiting) if (unkept := self._log_of(task))]

    def _log_of(self, task: TaskId) -> tuple[TaskRecord, int] | None:
        """A task and how long its log is; None once that is kept, or nobody wants it any more."""
        try:
            record = self._market.task(task).record
        except TaskUnknownError:
            del self._waiting[task]
            return None
        if not self._lacks(task):
            del self._waiting[task]
            return None
        return record, self._logbook.length(task)
