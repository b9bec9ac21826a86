"""What happens to tasks, for who follows them all, and for who waits for the end of one.

Of the stream each reader has a bounded buffer, and a mark where it is torn.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable

import msgspec
import trio

from swarmnode.limits import EVENTS_BUFFERED_MAX
from swarmnode.market.explain import EventsMissed, TaskEvent
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged


class _Follower(msgspec.Struct):
    waiting: deque[TaskEvent] = msgspec.field(default_factory=deque)
    """At most EVENTS_BUFFERED_MAX; nothing is added while `missed` is not told."""
    missed: int = 0
    """Events dropped since it was full; told as one mark after those that wait."""
    news: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set by every event; the reader replaces it before it waits."""

    def take(self, event: TaskChanged) -> None:
        if self.missed or len(self.waiting) >= EVENTS_BUFFERED_MAX:
            self.missed += 1
        else:
            self.waiting.append(event)
        self.news.set()

    def next(self) -> TaskEvent | None:
        if self.waiting:
            return self.waiting.popleft()
        missed, self.missed = self.missed, 0
        return EventsMissed(missed) if missed else None


class EventFeed:
    """Everybody who follows the tasks of this node, or waits for the end of one."""

    def __init__(self) -> None:
        self._readers: list[_Follower] = []
        """From the first step of each until it is closed."""
        self._told_of_removals: list[Callable[[], None]] = []
        self._ends: dict[TaskId, trio.Event] = {}
        """By task that is waited for: set and dropped once it has ended or is forgotten."""

    def on_removed(self, listener: Callable[[], None]) -> None:
        """Be told that a task was removed; by then nobody can be told which it was."""
        self._told_of_removals.append(listener)

    def tell_removed(self) -> None:
        """A task of ours is no more."""
        for tell in self._told_of_removals:
            tell()

    def tell(self, event: TaskChanged) -> None:
        """Let every reader know; never waits for a slow one."""
        for reader in self._readers:
            reader.take(event)

    async def read(self) -> AsyncGenerator[TaskEvent, None]:
        """What happens from the first step of this iterator on."""
        reader = _Follower()
        self._readers.append(reader)
        try:
            while True:
                event = reader.next()
                if event is None:
                    reader.news = trio.Event()
                    await reader.news.wait()
                else:
                    yield event
        finally:
            self._readers.remove(reader)

    async def end_of(self, task: TaskId) -> None:
        """Return when it ends, or is here no more."""
        await self._ends.setdefault(task, trio.Event()).wait()

    def tell_end(self, task: TaskId) -> None:
        """Wake all who wait for it."""
        if (ended := self._ends.pop(task, None)) is not None:
            ended.set()
