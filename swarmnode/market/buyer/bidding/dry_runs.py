"""Auctions held for nothing: who would run a task now?"""

from collections.abc import Awaitable, Callable

import trio

from swarmnode.market.buyer.events import DryRunAsked, Event
from swarmnode.tasks.records import RoundRecord
from swarmnode.tasks.spec import TaskSpec


class DryRuns:
    """Those that somebody waits for."""

    def __init__(self, do: Callable[[Event], Awaitable[None]]) -> None:
        """`do` hands the core an event."""
        self._do = do
        self._last = 0
        self._waited_for: dict[int, tuple[trio.Event, list[RoundRecord]]] = {}
        """By number: set once its record is there; who asked removes it."""

    async def hold(self, spec: TaskSpec) -> RoundRecord:
        """Ask, score and release; nothing is written down."""
        self._last += 1
        number, ended, records = self._last, trio.Event(), list[RoundRecord]()
        self._waited_for[number] = (ended, records)
        try:
            await self._do(DryRunAsked(number, spec))
            await ended.wait()
        finally:
            del self._waited_for[number]
        return records[0]

    def end(self, number: int, record: RoundRecord) -> None:
        """What came of one; whoever asked may be gone."""
        if number in self._waited_for:
            ended, records = self._waited_for[number]
            records.append(record)
            ended.set()
