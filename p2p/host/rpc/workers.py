"""Tasks that answer calls and are kept for the next one: a call costs no new task while they last.

Those that a second went by without are let go, so that a flood leaves nothing behind.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVarTuple

import outcome
import trio

from p2p.limits import WORKERS_IDLE_MAX, WORKERS_IDLE_S

Job = TypeVarTuple("Job")


class RpcWorkers(Generic[*Job]):
    """Runs `work(*job)` for every job at once, in a task that has nothing to do or a new one."""

    def __init__(self, work: Callable[[*Job], Awaitable[None]]) -> None:
        self._work = work
        self._idle: list[trio.lowlevel.Task] = []
        """Tasks without a job, the one that waits longest first; at most WORKERS_IDLE_MAX."""
        self._spare = 0
        """How many of them nobody has needed since the last look."""
        self._some_idle = trio.lowlevel.ParkingLot()
        """Where `run` waits while there are none."""

    def start(self, nursery: trio.Nursery, *job: *Job) -> None:
        """Begin a job; what it raises ends the nursery."""
        if self._idle:
            trio.lowlevel.reschedule(self._idle.pop(), outcome.Value(job))
            self._spare = min(self._spare, len(self._idle))
        else:
            nursery.start_soon(self._work_on, job)

    async def run(self) -> None:
        """Let go of those that nobody needs, until cancelled."""
        while True:
            if not self._idle:
                await self._some_idle.park()
            self._spare = len(self._idle)
            await trio.sleep(WORKERS_IDLE_S)
            for _ in range(self._spare):
                trio.lowlevel.reschedule(self._idle.pop(0), outcome.Value(None))

    async def _work_on(self, job: tuple[*Job] | None) -> None:
        while job is not None:
            await self._work(*job)
            if len(self._idle) >= WORKERS_IDLE_MAX:
                return
            job = await self._next_job()

    async def _next_job(self) -> tuple[*Job] | None:
        task = trio.lowlevel.current_task()
        self._idle.append(task)
        self._some_idle.unpark()

        def give_up(_: object) -> trio.lowlevel.Abort:
            self._idle.remove(task)
            self._spare = min(self._spare, len(self._idle))
            return trio.lowlevel.Abort.SUCCEEDED

        job: tuple[*Job] | None = await trio.lowlevel.wait_task_rescheduled(give_up)
        return job
