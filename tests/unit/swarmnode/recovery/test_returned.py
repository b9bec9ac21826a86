"""A machine that was thought gone asks for a while what its taker has."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from p2p.ids import PeerId
from storage.errors import StoreFullError
from swarmnode.recovery.copies.pointers import Taken
from swarmnode.recovery.returned import HAND_OVER_S, RARELY_S, TAKER_LOOK_S, TOLD_MS, TOLD_S, Return
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.seeded import simulated

TAKEN = Taken(PeerId("me"), PeerId("taker"), 7)


@dataclass
class Seen:
    """What was done, and when."""

    asked: list[tuple[float, int]] = field(default_factory=list)
    changed_s: list[float] = field(default_factory=list)
    is_alone: bool = False
    is_full: bool = False
    elsewhere: list[TaskRecord] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    async def gone_on(self, taken_over_ms: int) -> list[TaskRecord]:
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), taken_over_ms))
        return self.elsewhere

    async def leave(self, records: Sequence[TaskRecord]) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_full:
            raise StoreFullError("no room")
        self.done += [f"leave {record.task}" for record in records]

    async def let_go(self, task: TaskId, by: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        self.done.append(f"let go {task}")
        self.elsewhere = []

    def on_change(self) -> None:
        self.changed_s.append(trio.current_time())

    def make(self) -> Return:
        return Return(self, self.leave, lambda: self.is_alone, self.on_change)


@simulated
async def test_its_taker_is_asked_until_what_is_left_is_its_own() -> None:
    seen = Seen()
    back = seen.make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(back.run)
        began_s = trio.current_time()
        back.note(TAKEN)
        back.note(TAKEN)
        assert back.taken_over_ms == TAKEN.at_ms
        await trio.sleep(HAND_OVER_S + 10 * RARELY_S + 1)
        assert len(seen.asked) == HAND_OVER_S / TAKER_LOOK_S + 1 + 10
        assert [at - began_s for at in seen.changed_s] == [HAND_OVER_S]
        assert back.taken_over_ms == 0
        nursery.cancel_scope.cancel()


@simulated
async def test_it_says_for_a_day_that_it_was_taken_over_unless_that_was_long_ago() -> None:
    back, soon_ms = Seen().make(), TAKEN.at_ms + 60_000
    assert back.told(soon_ms) is None
    back.note(TAKEN)
    await trio.sleep(TOLD_S - 1)
    back.note(TAKEN)
    assert back.told(soon_ms) == TAKEN
    assert back.told(TAKEN.at_ms + TOLD_MS) is None
    await trio.sleep(2)
    assert back.told(soon_ms) is None


@simulated
async def test_another_takeover_is_another_one_to_be_asked_about() -> None:
    seen = Seen()
    back = seen.make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(back.run)
        back.note(TAKEN)
        await trio.sleep(2 * HAND_OVER_S + 1)
        seen.asked.clear()
        back.note(Taken(PeerId("me"), PeerId("other"), 9))
        assert back.taken_over_ms == 9
        await trio.sleep(1)
        assert [taken_over_ms for _, taken_over_ms in seen.asked] == [9]
        nursery.cancel_scope.cancel()


@simulated
async def test_nobody_is_asked_by_a_machine_that_was_not_taken_over_or_meets_nobody() -> None:
    seen = Seen(is_alone=True)
    back = seen.make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(back.run)
        back.note(None)
        await trio.sleep(100)
        assert back.taken_over_ms == 0
        back.note(TAKEN)
        await trio.sleep(100)
        assert seen.asked == []
        seen.is_alone = False
        await trio.sleep(2 * TAKER_LOOK_S)
        assert seen.asked
        nursery.cancel_scope.cancel()


@simulated
async def test_what_belongs_to_a_task_is_left_before_the_task_is_let_go() -> None:
    """On a full disk neither: it is tried again."""
    seen = Seen(is_full=True, elsewhere=[TaskRecord(TaskId("t"), TaskSpec(("true",)), 0)])
    back = seen.make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(back.run)
        back.note(TAKEN)
        await trio.sleep(2 * TAKER_LOOK_S)
        assert seen.done == []
        seen.is_full = False
        await trio.sleep(2 * TAKER_LOOK_S)
        assert seen.done == ["leave t", "let go t"]
        nursery.cancel_scope.cancel()
