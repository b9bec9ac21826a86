"""How soon what has changed is in the copy of a keyring, whatever holds a copy up."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import trio

from p2p.ids import PeerId
from p2p.wire.codec import encode
from storage.engine.memory_tables import MemoryTables
from swarmnode.market.explain import TaskEvent
from swarmnode.recovery.copies.pointers import Taken
from swarmnode.recovery.service import COPIES_BYTES_PER_S, COPY_AGAIN_S, EVERY_S, RecoveryService
from swarmnode.recovery.things import Things
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec
from swarmnode.tasks.store import TASKS, task_key
from testnet.sim.memory_objects import MemoryObjects, Pool
from testnet.sim.seeded import simulated

ME = PeerId("me")


@dataclass
class FakeVault:
    def is_recovering(self) -> bool:
        return False

    def keys(self) -> tuple[bytes, bytes]:
        return b"", b""

    def names(self) -> tuple[str, str]:
        return "ann", ""


@dataclass
class FakePlace:
    pointed_s: list[float] = field(default_factory=list)

    async def taken(self) -> Taken | None:
        await trio.lowlevel.checkpoint()
        return None

    async def point(self, _cap: str, _known: Taken | None) -> None:
        await trio.lowlevel.checkpoint()
        self.pointed_s.append(trio.current_time())


@dataclass
class FakeKeyring:
    rows: list[tuple[bytes, bytes]] = field(default_factory=list)

    def on_change(self, _listener: Callable[[], None]) -> None: ...

    def dump(self) -> list[tuple[bytes, bytes]]:
        return self.rows


class FakeTasks:
    """Something happens to a task whenever `happen` is called."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[TaskEvent](100)

    async def events(self) -> AsyncIterator[TaskEvent]:
        async for event in self._receive:
            yield event

    def keep_copies(self, on_removed: Callable[[], None]) -> None:
        self.copied_s: list[float] = []

    def uncopied(self) -> frozenset[TaskId]:
        return frozenset({ENDED.task, TaskId("b" * 16)})

    def copied(self, tasks: frozenset[TaskId]) -> None:
        if tasks:
            assert tasks == {ENDED.task}, "the copy does not know of the other one"
            self.copied_s.append(trio.current_time())

    def happen(self) -> None:
        task = TaskChanged(TaskId("a" * 16), 1000, "submitted", TaskState.SUBMITTED, PeerId(""))
        self._send.send_nowait(task)


class FakeMachines:
    """The other machines of this one's person."""

    def __init__(self) -> None:
        self.hand_over = self

    async def gone_on(self, taken_over_ms: int) -> list[TaskRecord]:
        raise AssertionError("nobody took this machine over")

    async def let_go(self, task: TaskId) -> None:
        raise AssertionError("nobody took this machine over")


ENDED = TaskRecord(TaskId("a" * 16), TaskSpec(("true",)), 1000, TaskState.DONE)


class FakeLogs:
    """Every log is in the pool, or none."""

    def __init__(self) -> None:
        self.are_in_the_pool = True
        self.copies = 0
        """How often it was said that a copy stands."""

    async def settled(self, ended: frozenset[TaskId]) -> frozenset[TaskId]:
        await trio.lowlevel.checkpoint()
        return ended if self.are_in_the_pool else frozenset()

    async def copied(self) -> None:
        await trio.lowlevel.checkpoint()
        self.copies += 1


async def _leave(records: Sequence[TaskRecord]) -> None:
    raise AssertionError("nobody took this machine over")


class Lab:
    def __init__(self) -> None:
        self.pool, self.place, self.logs = Pool(), FakePlace(), FakeLogs()
        self.objects = MemoryObjects(self.pool, ME)
        self.keyring, self.tasks, self.tables = FakeKeyring(), FakeTasks(), MemoryTables()
        self.service = RecoveryService(
            Things(
                FakeVault(),  # type: ignore[arg-type]
                self.objects,
                self.keyring,  # type: ignore[arg-type]
                self.tasks,  # type: ignore[arg-type]
                FakeMachines(),  # type: ignore[arg-type]
                self.tables,
                ME,
                lambda: 1000,
            ),
            self.place,
            lambda: False,
            self.logs,
            _leave,
        )


@simulated
async def test_a_copy_that_a_silent_holder_held_up_makes_the_next_one_no_later() -> None:
    lab = Lab()
    async with trio.open_nursery() as nursery:
        lab.pool.seconds_per_put = 30.0
        await nursery.start(lab.service.run)
        await trio.sleep(40)
        lab.pool.seconds_per_put = 0.0
        lab.tasks.happen()
        await trio.sleep(2 * EVERY_S)
        assert len(lab.place.pointed_s) == 2
        nursery.cancel_scope.cancel()


@simulated
async def test_copies_of_a_long_keyring_come_no_faster_than_the_network_is_theirs() -> None:
    lab = Lab()
    lab.keyring.rows = [(b"a" * 32, bytes(60 * COPIES_BYTES_PER_S))]
    async with trio.open_nursery() as nursery:
        await nursery.start(lab.service.run)
        for _ in range(300):
            await trio.sleep(1)
            lab.tasks.happen()
        assert 4 <= len(lab.place.pointed_s) <= 6
        nursery.cancel_scope.cancel()


@simulated
async def test_who_remembers_ends_is_told_when_the_pool_has_them() -> None:
    lab = Lab()
    await lab.tables.transact(lambda view: view.put(TASKS, task_key(ENDED.task), encode(ENDED)))
    async with trio.open_nursery() as nursery:
        lab.pool.seconds_per_put = 30.0
        await nursery.start(lab.service.run)
        await trio.sleep(20)
        assert lab.tasks.copied_s == []
        await trio.sleep(20)
        assert len(lab.tasks.copied_s) == 1
        assert lab.tasks.copied_s >= lab.place.pointed_s
        nursery.cancel_scope.cancel()


@simulated
async def test_logs_that_newer_ones_replaced_may_go_once_a_copy_stands_and_not_before() -> None:
    lab = Lab()
    lab.pool.is_down = True
    async with trio.open_nursery() as nursery:
        await nursery.start(lab.service.run)
        await trio.sleep(20)
        assert lab.logs.copies == 0
        lab.pool.is_down = False
        await trio.sleep(2 * COPY_AGAIN_S)
        assert lab.logs.copies == len(lab.place.pointed_s) == 1
        nursery.cancel_scope.cancel()


@simulated
async def test_nobody_is_told_of_a_copy_without_the_logs() -> None:
    lab = Lab()
    lab.logs.are_in_the_pool = False
    await lab.tables.transact(lambda view: view.put(TASKS, task_key(ENDED.task), encode(ENDED)))
    async with trio.open_nursery() as nursery:
        await nursery.start(lab.service.run)
        await trio.sleep(20)
        assert len(lab.place.pointed_s) == 1
        assert lab.tasks.copied_s == []
        nursery.cancel_scope.cancel()
