"""The event stream: numbered, resumable, and honest about what it has lost."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import trio
from starlette.applications import Starlette

from swarmnode.api.app import build_app
from swarmnode.api.events import EventHub
from swarmnode.api.routes.events import HEARTBEAT_S
from swarmnode.api.routes.paths import all_routes
from swarmnode.limits import EVENTS_BUFFERED_MAX
from swarmnode.market.explain import EventsMissed, TaskEvent
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.seeded import simulated
from tests.api_lab import FakeNode
from tests.asgi_lab import Answered, call

SPEC = TaskSpec(("true",))


@asynccontextmanager
async def served(node: FakeNode, boot: str = "b00t") -> AsyncIterator[Starlette]:
    hub = EventHub(node.market.buyer.events, boot)
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await trio.testing.wait_all_tasks_blocked()
        yield build_app(all_routes(node, hub))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def reading(app: Starlette, last: str = "") -> AsyncIterator[Answered]:
    answer = Answered()
    headers = {"last-event-id": last} if last else {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: call(app, "GET", "/api/v1/events", headers=headers, answered=answer)
        )
        await answer.until(b": boot ")
        await trio.testing.wait_all_tasks_blocked()
        yield answer
        nursery.cancel_scope.cancel()


def events_in(answer: Answered) -> list[tuple[str, str, dict[str, object]]]:
    found = []
    for block in bytes(answer.body).decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return found


@simulated
async def test_a_reader_hears_what_happens_from_now_on() -> None:
    node = FakeNode()
    async with served(node) as app:
        await node.market.buyer.submit(SPEC)
        async with reading(app) as answer:
            node.market.buyer.start(TaskId("t1"))
            node.market.buyer.finish(TaskId("t1"))
            await answer.until(b"finished")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [(at, kind, data["fact"]) for at, kind, data in events_in(answer)] == [
        ("b00t-2", "task", "accepted"),
        ("b00t-3", "task", "finished"),
    ]


@simulated
async def test_a_reader_that_comes_back_misses_nothing() -> None:
    node = FakeNode()
    async with served(node) as app:
        for _ in range(5):
            await node.market.buyer.submit(SPEC)
        await trio.testing.wait_all_tasks_blocked()
        async with reading(app, "b00t-3") as answer:
            await answer.until(b"b00t-5")
    assert [at for at, _, _ in events_in(answer)] == ["b00t-4", "b00t-5"]


@simulated
async def test_a_reader_of_an_earlier_life_is_told_of_the_gap() -> None:
    node = FakeNode()
    async with served(node) as app:
        await node.market.buyer.submit(SPEC)
        await trio.testing.wait_all_tasks_blocked()
        async with reading(app, "other-7") as answer:
            await answer.until(b"b00t-1")
    gap, first = events_in(answer)
    assert (gap[1], gap[2]["missed"]) == ("gap", None)
    assert (first[0], first[1]) == ("b00t-1", "task")


@simulated
async def test_a_reader_that_was_away_too_long_is_told_how_much_it_missed() -> None:
    node = FakeNode()
    async with served(node) as app:
        for _ in range(EVENTS_BUFFERED_MAX + 10):
            await node.market.buyer.submit(SPEC)
            await trio.testing.wait_all_tasks_blocked()
        async with reading(app, "b00t-4") as answer:
            await answer.until(f"b00t-{EVENTS_BUFFERED_MAX + 10}".encode())
    gap, *rest = events_in(answer)
    assert (gap[0], gap[1], gap[2]["missed"]) == ("b00t-10", "gap", 6)
    assert len(rest) == EVENTS_BUFFERED_MAX


@simulated
async def test_events_the_node_itself_lost_are_a_gap_too() -> None:
    async def source() -> AsyncGenerator[TaskEvent, None]:
        yield EventsMissed(3)
        await trio.sleep_forever()

    hub = EventHub(source, "b00t")
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await hub.wait_after(0)
        nursery.cancel_scope.cancel()
    (event,) = hub.after(0)[1]
    assert (event.kind, json.loads(event.data)["missed"]) == ("gap", 3)


@simulated
async def test_a_silent_stream_shows_that_it_lives() -> None:
    async with served(FakeNode()) as app, reading(app) as answer:
        await trio.sleep(2.5 * HEARTBEAT_S)
        assert bytes(answer.body) == b": boot b00t\n\n:\n\n:\n\n"
