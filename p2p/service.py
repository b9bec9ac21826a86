"""The loop that drives a core: events and timers in, effects out, in order.

Imports effects only; everything it performs, it performs by callables it is given. All events
that are waiting (or as many as a few milliseconds are enough for, so that a flood for one core
starves nobody else) are handled in one batch, so that one group commit covers them: Persist first,
then Send, WakeAt and Notify in the order the core returned them.
"""

import heapq
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec
import trio

from p2p.effects import Effect, Notify, Persist, Send, WakeAt
from p2p.limits import INBOX_EVENTS_MAX, STEP_S_MAX

EventT = TypeVar("EventT")
NoticeT = TypeVar("NoticeT")
_GivenT = TypeVar("_GivenT", covariant=True)


class Core(Protocol[EventT, _GivenT]):
    """A pure state machine: what it may be told, and what it gives notice of."""

    def handle(self, event: EventT, now_s: float) -> Iterable[Effect[EventT, _GivenT]]: ...


class Performer(msgspec.Struct, Generic[NoticeT], frozen=True):
    """How effects are carried out. `persist` returns once all writes are durable."""

    send: Callable[[Send], None]
    notify: Callable[[NoticeT], None]
    persist: Callable[[Sequence[Persist]], Awaitable[None]]


async def persist_nothing(writes: Sequence[Persist]) -> None:
    """For cores that keep nothing; a Persist from one is a bug."""
    if writes:
        raise AssertionError(f"a core without tables asked to persist {writes[0].table}")


class _Posted(msgspec.Struct, Generic[EventT]):
    event: EventT
    done: trio.Event | None = None
    """Set when all that the event caused has been performed."""


class Driver(msgspec.Struct, Generic[EventT, NoticeT]):
    """Feeds one core, one batch at a time; lives inside a service's nursery."""

    core: Core[EventT, NoticeT]
    performer: Performer[NoticeT]
    inbox_max: int = INBOX_EVENTS_MAX
    """Events that may wait for the core, but for those of our own side."""
    dropped: int = 0
    """Events that found the inbox full, since the start."""
    _inbox: deque[_Posted[EventT]] = msgspec.field(default_factory=deque)
    """Events that wait, in order."""
    _timers: list[tuple[float, int, EventT]] = msgspec.field(default_factory=list)
    """A heap of (when due, number, timer): of those due at once the older comes first."""
    _timer_count: int = 0
    """The number of the newest timer."""
    _wake: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set when something was queued; a new one with each step."""

    def post(self, event: EventT) -> bool:
        """Queue an event; False (and counted) when the inbox is full."""
        if len(self._inbox) >= self.inbox_max:
            self.dropped += 1
            return False
        self._inbox.append(_Posted(event))
        self._wake.set()
        return True

    def order(self, event: EventT) -> None:
        """Queue an event of our own side, however many are waiting: those are few."""
        self._inbox.append(_Posted(event))
        self._wake.set()

    async def do(self, event: EventT) -> None:
        """Queue an event and return once everything it caused has been performed."""
        done = trio.Event()
        self._inbox.append(_Posted(event, done))
        self._wake.set()
        await done.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drive until cancelled. What the core raises is a bug and escapes."""
        task_status.started()
        while True:
            with trio.CancelScope() as until_due:
                await self._take_events(until_due)
            await self._step()

    async def _take_events(self, until_due: trio.CancelScope) -> None:
        """Step for what is posted until a timer is due; one scope serves many steps.

        A step must never be cut short by its own timer: while it runs, nothing is due.
        """
        while True:
            if self._inbox:
                await trio.lowlevel.checkpoint()
            else:
                until_due.deadline = self._timers[0][0] if self._timers else math.inf
                await self._wake.wait()
                until_due.deadline = math.inf
                if until_due.cancel_called:
                    return
            await self._step()

    async def _step(self) -> None:
        if self._wake.is_set():
            self._wake = trio.Event()
        now_s = trio.current_time()
        effects: list[Effect[EventT, NoticeT]] = []
        batch: list[_Posted[EventT]] = []
        for _ in range(len(self._inbox)):
            batch.append(self._inbox.popleft())
            effects += self.core.handle(batch[-1].event, now_s)
            if trio.current_time() - now_s > STEP_S_MAX:
                break
        while self._timers and self._timers[0][0] <= now_s:
            effects += self.core.handle(heapq.heappop(self._timers)[2], now_s)
        await self._perform(effects)
        for entry in batch:
            if entry.done is not None:
                entry.done.set()

    async def _perform(self, effects: Sequence[Effect[EventT, NoticeT]]) -> None:
        writes = [effect for effect in effects if isinstance(effect, Persist)]
        if writes:
            await self.performer.persist(writes)
        for effect in effects:
            match effect:
                case Send():
                    self.performer.send(effect)
                case WakeAt(deadline_s, timer):
                    self._timer_count += 1
                    heapq.heappush(self._timers, (deadline_s, self._timer_count, timer))
                case Notify(event):
                    self.performer.notify(event)
                case Persist():
                    pass
