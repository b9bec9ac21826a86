"""Which tasks there may be something new of: those that events name, or all of them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final, Protocol

import trio

from swarmnode.errors import TaskUnknownError
from swarmnode.market.explain import TaskView
from swarmnode.tasks.ids import TaskId

_STEP: Final = 256
"""Tasks between two pauses: some 5 ms, while there may be tens of thousands."""


class TaskList(Protocol):
    """The part of BuyerService that is needed here."""

    def tasks(self) -> Sequence[TaskView]: ...

    def task(self, task: TaskId) -> TaskView: ...


class Changed:
    """Every task at first; afterwards those that were noted since the last look."""

    def __init__(self, market: TaskList) -> None:
        self._market = market
        self._noted: set[TaskId] = set()
        """Tasks to look at next; while `_is_all` they add nothing."""
        self._is_all = True
        """Any may have changed: names were missed, or time has passed."""

    def note(self, task: TaskId) -> None:
        """Look at it next time."""
        self._noted.add(task)

    def note_all(self) -> None:
        """Look at every task next time."""
        self._is_all = True

    async def take(self) -> AsyncGenerator[TaskView, None]:
        """Those to look at, each once; what is noted meanwhile counts for the next time.

        To be closed by who stops before the end.
        """
        views = self._market.tasks() if self._is_all else self._named()
        self._noted, self._is_all = set(), False
        rest = iter(views)
        try:
            for at, view in enumerate(rest, 1):
                yield view
                if at % _STEP == 0:
                    await trio.lowlevel.checkpoint()
        finally:  # who stops in between has not looked at the others
            self._noted.update(view.task for view in rest)

    def _named(self) -> list[TaskView]:
        views = []
        for task in sorted(self._noted):
            with suppress(TaskUnknownError):  # forgotten since
                views.append(self._market.task(task))
        return views
