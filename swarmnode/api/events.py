"""The newest events, numbered, so that a reader who comes back can go on where it stopped."""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec
import trio

from storage.manifests.capability import text_of_address
from storage.objects.standing import ObjectTrouble
from swarmnode.api.schema.objects import ObjectEvent
from swarmnode.api.schema.tasks import GapLine
from swarmnode.api.views.tasks import event_of
from swarmnode.limits import EVENTS_BUFFERED_MAX
from swarmnode.market.explain import EventsMissed, TaskEvent
from swarmnode.tasks.ids import TaskId


class Event(msgspec.Struct, frozen=True):
    """`number` grows by one with every event of this life of the node."""

    number: int
    kind: str
    data: bytes
    """JSON."""
    person: str | None = None
    """Whom it concerns; None for everybody."""


class EventHub:
    """Reads `source` from its start and lets any number of readers follow.

    `boot` names this life of the node: numbers of another one mean nothing here.
    """

    def __init__(
        self,
        source: Callable[[], AsyncGenerator[TaskEvent, None]],
        boot: str,
        person_of: Callable[[TaskId], str] = lambda _task: "",
    ) -> None:
        self.boot = boot
        self._source, self._person_of = source, person_of
        self._events: deque[Event] = deque(maxlen=EVENTS_BUFFERED_MAX)
        """The newest ones without a gap, up to number `_newest`."""
        self._newest = 0
        """Number of the event that came last; 0 before the first."""
        self._grew = trio.Event()
        """Set, and replaced, with every event."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take events in until cancelled."""
        task_status.started()
        async with aclosing(self._source()) as events:
            async for event in events:
                if isinstance(event, EventsMissed):
                    gap = GapLine(event.count, "the node was too busy to note them")
                    self._add("gap", msgspec.json.encode(gap))
                else:
                    data = msgspec.json.encode(event_of(event))
                    self._add("task", data, self._person_of(event.task))

    def tell_object(self, now: ObjectTrouble) -> None:
        """An object of ours stands otherwise than before."""
        address = text_of_address(now.address)
        self._add(
            "object",
            msgspec.json.encode(ObjectEvent(address, now.name, now.health.value, now.why)),
            now.person,
        )

    def _add(self, kind: str, data: bytes, person: str | None = None) -> None:
        self._newest += 1
        self._events.append(Event(self._newest, kind, data, person))
        self._grew.set()
        self._grew = trio.Event()

    @property
    def newest(self) -> int:
        """Number of the last event; 0 before the first."""
        return self._newest

    def after(self, number: int) -> tuple[int, list[Event]]:
        """How many events after `number` are gone already, and those that are not."""
        oldest = self._newest - len(self._events) + 1
        missed = max(0, oldest - number - 1)
        return missed, [event for event in self._events if event.number > number]

    async def wait_after(self, number: int) -> None:
        """Return once there is an event after `number`."""
        while self._newest <= number:
            await self._grew.wait()
