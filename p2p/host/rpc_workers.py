"""Tasks that answer calls and are kept for the next one: a call costs no new task while they last.

Those that a second went by without are let go, so that a flood leaves nothing behind.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVarTuple

import outcome
import trio

from p2p.limits import WORKERS_IDLE_MAX, WORKERS_IDLE_S

Job = TypeVarTuple("Job")


class Workers(Generic[*Job]):
    """Runs `work(*job)` for every job at once, in a task that has nothing to do or a new one."""

    def __init__(self, work: Callable[[*Job], Awaitable[None]]) -> None:
        self._work = work
        self._idle: list[trio.lowlevel.Task] = []
        self._spare = 0
        """How many of them nobody has needed since the last look."""
        self._is_watched = False

    def start(self, nursery: trio.Nursery, *job: *Job) -> None:
        """Begin a job; what it raises ends the nursery."""
        if self._idle:
            trio.lowlevel.reschedule(self._idle.pop(), outcome.Value(job))
            self._spare = min(self._spare, len(self._idle))
        else:
            nursery.start_soon(self._work_on, nursery, job)

    async def _work_on(self, nursery: trio.Nursery, job: tuple[*Job] | None) -> None:
        while job is not None:
            await self._work(*job)
            if len(self._idle) >= WORKERS_IDLE_MAX:
                return
            job = await self._next_job(nursery)

    async def _next_job(self, nursery: trio.Nursery) -> tuple[*Job] | None:
        if not self._is_watched:
            self._is_watched = True
            nursery.start_soon(self._let_go_of_idle)
        task = trio.lowlevel.current_task()
        self._idle.append(task)

        def give_up(_: object) -> trio.lowlevel.Abort:
            self._idle.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        job: tuple[*Job] | None = await trio.lowlevel.wait_task_rescheduled(give_up)
        return job

    async def _let_go_of_idle(self) -> None:
        while self._idle:
            self._spare = len(self._idle)
            await trio.sleep(WORKERS_IDLE_S)
            for _ in range(self._spare):
                trio.lowlevel.reschedule(self._idle.pop(0), outcome.Value(None))
        self._is_watched = False
