"""The loop between a core and the world: order, batches, timers, a bounded inbox."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import trio

from p2p.effects import Effect, Notify, Persist, Send, WakeAt
from p2p.host.rpc.messages import Cast
from p2p.ids import PeerId
from p2p.service import Driver, Performer, persist_nothing
from testnet.sim.seeded import simulated

ALICE = PeerId("alice")


@dataclass
class Scripted:
    """A core that does what each event says."""

    seen: list[tuple[object, float]] = field(default_factory=list)

    def handle(self, event: object, now_s: float) -> list[Effect[object, object]]:
        self.seen.append((event, now_s))
        if isinstance(event, Exception):
            raise event
        return list(event) if isinstance(event, tuple) else []


@dataclass
class World:
    """Records what was performed."""

    done: list[object] = field(default_factory=list)
    disk_s: float = 0.0

    def performer(self) -> Performer[object]:
        return Performer(self.done.append, self.done.append, self.persist)

    async def persist(self, writes: Sequence[Persist]) -> None:
        self.done.append(("begin", *writes))
        await trio.sleep(self.disk_s)
        self.done.append("durable")


async def driven(
    steps: Callable[[Driver[object, object], World], object], world: World, core: Scripted
) -> None:
    driver = Driver(core, world.performer())
    async with trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        result = steps(driver, world)
        if hasattr(result, "__await__"):
            await result
        await trio.sleep(100)
        nursery.cancel_scope.cancel()


@simulated
async def test_everything_persisted_is_durable_before_the_first_message_leaves() -> None:
    world, core = World(disk_s=5), Scripted()
    one, two = Persist("t", b"1", b""), Persist("t", b"2", None)
    send, note = Send(ALICE, Cast(b"hello")), Notify("told")

    def steps(driver: Driver[object, object], world: World) -> None:
        driver.post((send, one))
        driver.post((note, two))

    await driven(steps, world, core)
    assert world.done == [("begin", one, two), "durable", send, "told"]


@simulated
async def test_events_are_handled_in_the_order_in_which_they_came() -> None:
    world, core = World(), Scripted()

    def steps(driver: Driver[object, object], world: World) -> None:
        for event in range(10):
            driver.post(event) if event % 2 else driver.order(event)

    await driven(steps, world, core)
    assert [event for event, _ in core.seen] == list(range(10))


@simulated
async def test_timers_come_back_at_their_time_the_earliest_first_equal_ones_in_order() -> None:
    world, core = World(), Scripted()

    def steps(driver: Driver[object, object], world: World) -> None:
        driver.post((WakeAt(3, "late"), WakeAt(1, "early"), WakeAt(3, "last"), WakeAt(-1, "past")))

    await driven(steps, world, core)
    assert core.seen[1:] == [("past", 0.0), ("early", 1.0), ("late", 3.0), ("last", 3.0)]


@simulated
async def test_what_comes_while_the_disk_is_busy_makes_one_batch_after_it() -> None:
    world, core = World(disk_s=5), Scripted()
    writes = [Persist("t", b"%d" % at, b"") for at in range(4)]

    async def steps(driver: Driver[object, object], world: World) -> None:
        driver.post((writes[0],))
        await trio.sleep(1)
        for write in writes[1:]:
            driver.post((write,))

    await driven(steps, world, core)
    assert world.done == [("begin", writes[0]), "durable", ("begin", *writes[1:]), "durable"]


@simulated
async def test_do_returns_once_everything_it_caused_has_been_performed() -> None:
    world, core = World(disk_s=5), Scripted()

    async def steps(driver: Driver[object, object], world: World) -> None:
        await driver.do((Persist("t", b"", b""), Send(ALICE, Cast(b"x"))))
        assert trio.current_time() == 5
        assert len(world.done) == 3

    await driven(steps, world, core)


@simulated
async def test_a_full_inbox_drops_and_counts_the_newest_but_not_what_is_our_own() -> None:
    world, core = World(), Scripted()
    driver = Driver(core, world.performer(), inbox_max=3)
    assert [driver.post(event) for event in range(5)] == [True, True, True, False, False]
    driver.order("own")
    assert driver.dropped == 2
    async with trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        await driver.do("awaited")
        nursery.cancel_scope.cancel()
    assert [event for event, _ in core.seen] == [0, 1, 2, "own", "awaited"]


@simulated
async def test_what_a_core_raises_is_a_bug_and_escapes() -> None:
    world, core = World(), Scripted()
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await driven(lambda driver, world: driver.post(ZeroDivisionError()), world, core)


async def test_a_core_without_tables_may_not_persist() -> None:
    await persist_nothing([])
    with pytest.raises(AssertionError, match="persist t"):
        await persist_nothing([Persist("t", b"", b"")])


@simulated
async def test_a_step_is_not_cut_short_by_a_timer_that_falls_due_meanwhile() -> None:
    world, core = World(disk_s=5), Scripted()
    write, note = Persist("t", b"1", b""), Notify("told")

    def steps(driver: Driver[object, object], world: World) -> None:
        driver.post((WakeAt(3, ("timer",)),))
        driver.post((write, note))

    await driven(steps, world, core)
    assert world.done == [("begin", write), "durable", "told"]
    assert core.seen[-1] == (("timer",), 5)


@pytest.mark.parametrize("seed", range(20))
@simulated
async def test_an_event_and_a_timer_of_the_same_moment_are_both_handled_whole(seed: int) -> None:
    world, core = World(disk_s=5), Scripted()
    write, note = Persist("t", b"1", b""), Notify("told")

    async def steps(driver: Driver[object, object], world: World) -> None:
        driver.post((WakeAt(3, ("timer",)),))
        await trio.sleep_until(3)
        driver.post((write, note))

    await driven(steps, world, core)
    assert world.done == [("begin", write), "durable", "told"]
    assert (("timer",), 3) in core.seen or (("timer",), 8) in core.seen


async def test_a_flood_of_events_does_not_keep_the_node_from_other_work() -> None:
    class Slow:
        def handle(self, event: object, now_s: float) -> list[Effect[object, object]]:
            until_s = trio.current_time() + 0.001
            while trio.current_time() < until_s:
                pass
            return []

    driver, turns = Driver(Slow(), World().performer()), 0
    for event in range(50):
        driver.post(event)

    async def other_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        nursery.start_soon(other_work)
        await driver.do("the last of all")
        nursery.cancel_scope.cancel()
    assert turns >= 10
