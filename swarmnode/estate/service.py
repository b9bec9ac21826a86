"""Follows the tasks of this node and keeps its people's keyring as they go."""

import math
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from typing import Final

import msgspec
import trio

from p2p.wire.codec import encode
from storage.engine.port import Tables, WriteView
from storage.errors import CapabilityError, ManifestError, ObjectUnknownError, StoreFullError
from storage.facade import ObjectKind, Objects
from storage.ids import Address
from storage.manifests.capability import parse_kept
from swarmnode.contained import contained
from swarmnode.errors import TaskUnknownError
from swarmnode.estate.changed import Changed
from swarmnode.estate.logs import LogKeeper, Tasks
from swarmnode.estate.plan import Heirloom, due, inputs_of, logs_of_nobody, unneeded
from swarmnode.estate.rows import ESTATES, EstateRow, row_of
from swarmnode.limits import INPUT_UNUSED_MS
from swarmnode.market.explain import EventsMissed
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskFact
from swarmnode.tasks.records import TaskRecord

TAKE_OVER_AGAIN_S: Final = 5.0
"""Between two tries to take over what nobody who holds it could be asked for."""
TIMES_UP_EVERY_S: Final = 60.0
"""How often it is looked whether something's time is over."""
REST_S: Final = 1.0
"""Between two looks at all objects, the least; and twenty times what the last one took."""
AT_ONCE: Final = 8
"""Files of one task taken over side by side: each is one small question."""
TASKS_LEFT_MAX: Final = 10_000
"""As many as may be unfinished."""
SETTLE_S: Final = 2.0
"""Whoever lists or removes objects waits so long for what has just come."""


class EstateService:
    """Takes over what providers put in our name; frees what tasks need no more."""

    def __init__(
        self,
        market: Tasks,
        logbook: LogBook,
        objects: Objects,
        tables: Tables,
        wall_ms: Callable[[], int],
    ) -> None:
        self.logs = LogKeeper(market, logbook, objects, tables)
        self._market, self._objects = market, objects
        self._tables, self._wall_ms = tables, wall_ms
        self._claims: dict[Address, int] = {}
        """Inputs of tasks about to be submitted, and until when they stay (wall ms)."""
        self._inputs: dict[TaskId, frozenset[Address]] = {}
        """What each task reads, of those that were known at the newest look."""
        self._changed = Changed(market)
        self._waiting: dict[TaskId, None] = {}
        """They left what is to be taken over; in the order in which it was noticed."""
        self._faulted: set[TaskId] = set()
        """Tasks under which a bug of ours came up: left alone until the next start."""
        self._left: dict[TaskId, None] = {}
        """Tasks that go on elsewhere, the newest last: what of theirs comes late is not ours."""
        self._rested_s = -math.inf
        """From then on all objects may be looked at again."""
        self._news = trio.Event()
        """Set when there may be something to take over or free; replaced before each look."""
        self._turn = trio.Event()
        """Set, and replaced, after each look."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._follow)
            await nursery.start(self.logs.run)
            task_status.started()
            await self._forget_rows()
            while True:
                self._news = trio.Event()
                is_whole = await self._take_over()
                rest_s = self._rested_s - trio.current_time()
                if rest_s <= 0:
                    await self._free()
                self._turn.set()
                self._turn = trio.Event()
                pause_s = TIMES_UP_EVERY_S if is_whole else TAKE_OVER_AGAIN_S
                with trio.move_on_after(rest_s if rest_s > 0 else pause_s) as pause:
                    await self._news.wait()
                if pause.cancelled_caught and rest_s <= 0:
                    self._changed.note_all()

    async def settled(self) -> None:
        """Return once what tasks have left until now is on the keyring, or soon."""
        with trio.move_on_after(SETTLE_S):
            while await self._wanted() or self._unneeded():
                self._rested_s = -math.inf
                self._news.set()
                await self._turn.wait()

    def claim(self, address: Address) -> None:
        """A task that is about to be submitted will read it: it stays for an hour at least."""
        now_ms = self._wall_ms()
        self._claims = {claimed: until for claimed, until in self._claims.items() if until > now_ms}
        self._claims[address] = now_ms + INPUT_UNUSED_MS

    async def leave(self, records: Sequence[TaskRecord]) -> None:
        """Another machine of our person goes on with these: what belongs to them is that one's.

        Raises StoreFullError.
        """
        tasks, inputs = {record.task for record in records}, set[Address]()
        for record in records:
            self._left[record.task] = None
            inputs |= inputs_of(record)  # whoever else reads them: that one frees them
        for _ in range(len(self._left) - TASKS_LEFT_MAX):
            del self._left[next(iter(self._left))]
        for entry in self._objects.entries():
            is_input = entry.mark.kind == ObjectKind.INPUT and entry.cap.address in inputs
            if is_input or entry.mark.task in tasks:
                await self._objects.leave(entry.cap.address)

    async def bring_log(self, task: TaskId) -> None:
        """Have a task's log here, where another machine of its person had it. StorageError."""
        await self.logs.kept.bring(task)

    async def forget_log(self, task: TaskId) -> int:
        """Free what the pool has of the log of a forgotten task; how many objects that were."""
        return await self.logs.kept.forget(task)

    # -- inside

    async def _follow(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async with aclosing(self._market.events()) as events:
            async for event in events:
                if isinstance(event, EventsMissed):
                    self._changed.note_all()
                elif _leaves_something(event):
                    self._changed.note(event.task)
                else:
                    continue
                self._news.set()

    async def _take_over(self) -> bool:
        """Whether nothing is left to be tried again."""
        is_whole = True
        for record, wanted in await self._wanted():
            with contained(f"the taking over of what task {record.task} left") as bound:
                if await self._adopt_all(wanted):
                    await self._note(record)
                else:
                    is_whole = False
            if bound.has_faulted:
                self._faulted.add(record.task)
        return is_whole

    async def _wanted(self) -> list[tuple[TaskRecord, list[Heirloom]]]:
        async with aclosing(self._changed.take()) as views:
            async for view in views:
                if self._due(view.record):
                    self._waiting[view.task] = None
        return [left for task in list(self._waiting) if (left := self._left_by(task))]

    def _left_by(self, task: TaskId) -> tuple[TaskRecord, list[Heirloom]] | None:
        """A task with what it left; None once nothing of that is to be taken over any more."""
        try:
            record = self._market.task(task).record
        except TaskUnknownError:
            del self._waiting[task]
            return None
        wanted = [] if task in self._faulted else self._due(record)
        if not wanted:
            del self._waiting[task]
            return None
        return record, wanted

    def _due(self, record: TaskRecord) -> list[Heirloom]:
        if record.checkpoint is None and record.outcome is None and not record.left:
            return []
        row = row_of(self._tables, record.task)
        return due(record, row.made_ms, has_outputs=row.has_outputs, left_fence=row.left_fence)

    async def _adopt_all(self, wanted: Sequence[Heirloom]) -> bool:
        limiter, failed = trio.CapacityLimiter(AT_ONCE), list[Heirloom]()

        async def adopt(left: Heirloom) -> None:
            async with limiter:
                if not await self._adopt(left):
                    failed.append(left)

        async with trio.open_nursery() as nursery:
            for heirloom in wanted:
                nursery.start_soon(adopt, heirloom)
        return not failed

    async def _adopt(self, heirloom: Heirloom) -> bool:
        """False when it should be tried again. What is not ours, or no object, is left alone."""
        try:
            cap = parse_kept(heirloom.cap)
            await self._objects.adopt(cap, heirloom.name, heirloom.mark)
            if TaskId(heirloom.mark.task) in self._left:
                await self._objects.leave(cap.address)
        except (ObjectUnknownError, StoreFullError):
            return False
        except (CapabilityError, ManifestError):
            return True
        return True

    async def _note(self, record: TaskRecord) -> None:
        """All that it left until now is ours."""

        def write(view: WriteView) -> None:
            row = _after_taking(row_of(view, record.task), record)
            view.put(ESTATES, record.task.encode(), encode(row))

        with suppress(StoreFullError):  # it is taken over once more, which changes nothing
            await self._tables.transact(write)

    async def _free(self) -> None:
        began_s = trio.current_time()
        freed = self._unneeded()
        now_s = trio.current_time()
        self._rested_s = now_s + max(REST_S, 20 * (now_s - began_s))
        for address in freed:
            with suppress(StoreFullError):  # a full disk cannot even forget: next time
                await self._objects.forget(address)

    def _unneeded(self) -> list[Address]:
        records = {view.task: view.record for view in self._market.tasks()}
        for task in [task for task in self._inputs if task not in records]:
            del self._inputs[task]
        for task, record in records.items():
            if task not in self._inputs:
                self._inputs[task] = inputs_of(record)
        entries, now_ms = self._objects.entries(), self._wall_ms()
        needed = {row_of(self._tables, task).log_at for task in records}
        return [
            *unneeded(records, self._inputs, entries, now_ms, self._claims),
            *logs_of_nobody(needed, entries, now_ms),
        ]

    async def _forget_rows(self) -> None:
        """Of tasks that are forgotten: once, at the start."""
        known = {view.task.encode() for view in self._market.tasks()}
        keys: list[bytes] = []
        while more := self._tables.scan(ESTATES, after=keys[-1] if keys else None):
            keys += [key for key, _ in more]
        gone = [key for key in keys if key not in known]

        def write(view: WriteView) -> None:
            for key in gone:
                view.delete(ESTATES, key)

        if gone:
            with suppress(StoreFullError):
                await self._tables.free(write)


def _leaves_something(event: TaskChanged) -> bool:
    return event.state in TASK_ENDS or event.fact in ("checkpointed", TaskFact.TRY_AGAIN)


def _after_taking(row: EstateRow, record: TaskRecord) -> EstateRow:
    """The row once all that a task left until now was taken over."""
    if (newest := record.checkpoint) is not None:
        row = msgspec.structs.replace(row, step=newest.step, made_ms=newest.made_ms)
    has_ended = record.state in TASK_ENDS and record.outcome is not None
    return msgspec.structs.replace(
        row,
        has_outputs=has_ended or row.has_outputs,
        left_fence=max(row.left_fence, record.left_fence),
    )
