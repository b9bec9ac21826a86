"""Readers of what happens to tasks: in order, whole, or told of the gap."""

from contextlib import aclosing

import trio

from p2p.ids import PeerId
from swarmnode.limits import EVENTS_BUFFERED_MAX
from swarmnode.market.buyer.feed import EventFeed
from swarmnode.market.explain import EventsMissed
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TaskState
from testnet.sim.seeded import simulated


def changed(number: int) -> TaskChanged:
    return TaskChanged(TaskId("a" * 16), number, "x", TaskState.DONE, PeerId(""))


@simulated
async def test_every_reader_gets_every_event_in_order() -> None:
    feed = EventFeed()
    got: list[list[object]] = [[], []]

    async def read(into: list[object]) -> None:
        async with aclosing(feed.read()) as events:
            into += [await anext(events) for _ in range(3)]

    async with trio.open_nursery() as nursery:
        for into in got:
            nursery.start_soon(read, into)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            feed.tell(changed(number))
    assert got == [[changed(0), changed(1), changed(2)]] * 2


@simulated
async def test_a_slow_reader_is_told_of_its_gap_and_slows_nobody() -> None:
    feed = EventFeed()
    async with aclosing(feed.read()) as reader:
        async with trio.open_nursery() as nursery:
            first: list[object] = []

            async def begin() -> None:
                first.append(await anext(reader))

            nursery.start_soon(begin)
            await trio.testing.wait_all_tasks_blocked()
            feed.tell(changed(0))
        for number in range(1, EVENTS_BUFFERED_MAX + 11):
            feed.tell(changed(number))
        assert first == [changed(0)]
        for number in range(1, EVENTS_BUFFERED_MAX + 1):
            assert await anext(reader) == changed(number)
        assert await anext(reader) == EventsMissed(10)
        feed.tell(changed(5000))
        assert await anext(reader) == changed(5000)


# -- the submitter goes away
