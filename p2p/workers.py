"""Where CPU-bound stretches run: a Protocol, threads for a node, inline for a simulation."""

import os
from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

ResultT = TypeVar("ResultT")

THREADS_MAX = 4
"""Hashing, sealing and coding free the interpreter lock; more threads than cores only queue."""


class Workers(Protocol):
    """Runs pieces of work off the event loop."""

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Run `work` off the event loop; its result or error is the caller's."""
        ...


class ThreadWorkers:
    """Worker threads, bounded; cancelling a caller waits for its piece of work to end."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(min(THREADS_MAX, (os.cpu_count() or 1) + 1))

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Run `work` in a thread; its result or error is the caller's."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


class InlineWorkers:
    """The same, at once and in order: one seed gives one trace."""

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Run `work` here."""
        await trio.lowlevel.checkpoint()
        return work()
