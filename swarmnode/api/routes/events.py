"""Events as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

An id is `<boot>-<number>`: a reader who sends it back as Last-Event-ID gets what came after it,
or an event of type `gap` that says what it cannot get any more.
"""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from swarmnode.api.access.asker import asker_of
from swarmnode.api.events import Event, EventHub
from swarmnode.api.reply import Stream
from swarmnode.api.schema.tasks import GapLine

HEARTBEAT_S: Final = 15.0
"""A line that says nothing: a reader that has gone away is noticed when it cannot be written."""


class EventRoutes:
    """The handler of /api/v1/events."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub

    def routes(self) -> list[Route]:
        """The table of paths."""
        return [Route("/api/v1/events", self.events, methods=["GET"])]

    async def events(self, request: Request) -> Response:
        """Follow what happens to tasks, from now on or after `Last-Event-ID`."""
        last = request.headers.get("last-event-id", "")
        return Stream(
            self._stream(last, asker_of(request).person),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    async def _stream(self, last: str, person: str) -> AsyncIterator[bytes]:
        yield f": boot {self._hub.boot}\n\n".encode()
        number = self._hub.newest
        if last:
            number, reason = self._place_of(last)
            if reason:
                yield self._gap(number, GapLine(None, reason))
        while True:
            missed, events = self._hub.after(number)
            if missed:
                yield self._gap(number + missed, GapLine(missed, "too old to be kept"))
            for event in events:
                if event.person in (None, person):
                    yield self._line(event)
            number = max(number + missed, events[-1].number if events else 0)
            with trio.move_on_after(HEARTBEAT_S) as waiting:
                await self._hub.wait_after(number)
            if waiting.cancelled_caught:
                yield b":\n\n"

    def _place_of(self, last: str) -> tuple[int, str]:
        """The number to go on from, and why that leaves a gap."""
        boot, _, text = last.rpartition("-")
        if boot != self._hub.boot:
            return 0, "the node was started anew meanwhile"
        if not text.isdecimal() or int(text) > self._hub.newest:
            return self._hub.newest, "no such event"
        return int(text), ""

    def _line(self, event: Event) -> bytes:
        head = f"id: {self._hub.boot}-{event.number}\nevent: {event.kind}\ndata: "
        return head.encode() + event.data + b"\n\n"

    def _gap(self, number: int, line: GapLine) -> bytes:
        return self._line(Event(number, "gap", msgspec.json.encode(line)))
