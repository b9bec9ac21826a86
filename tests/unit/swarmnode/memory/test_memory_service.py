"""Checkpoints and state of jobs, on virtual time."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import trio

from p2p.ids import PeerId
from swarmnode.executor.fake import FakeExecutor
from swarmnode.executor.fake_programs import Process, Run
from swarmnode.executor.port import JobId, JobSpec
from swarmnode.limits import STATE_VALUE_BYTES_MAX
from swarmnode.memory.service import MemoryService
from swarmnode.tasks.checkpoint import Checkpoint, WatchSpec, is_newer, resume_step
from swarmnode.tasks.ids import TaskId
from testnet.sim.clock import VirtualWall
from testnet.sim.memory_objects import MemoryNames, MemoryObjects, Pool
from testnet.sim.seeded import simulated
from tests.task_keys import STATE_KEY, grant_for

TASK = TaskId("a" * 16)
MIB = 1024 * 1024


def job_spec(job: JobId, *argv: str) -> JobSpec:
    return JobSpec(job, argv, {}, 1000, MIB * 64, 8, MIB * 64, 1e6)


@dataclass
class Lab:
    """One machine with its memory service and one job."""

    pool: Pool = field(default_factory=Pool)
    fence: int = 1
    programs: dict[str, Any] = field(default_factory=dict)
    reported: list[Checkpoint] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wall = VirtualWall()
        self.job = JobId(f"{TASK}.{self.fence}")
        self.executor = FakeExecutor(programs=self.programs, wall_ms=self.wall)
        self.objects = MemoryObjects(self.pool, PeerId("bob"), self.wall)
        self.names = MemoryNames(self.pool, PeerId("bob"))
        self.memory = MemoryService(self.executor, self.objects, self.names, wall_ms=self.wall)
        self.came = trio.Event()

    async def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        self.reported.append(checkpoint)
        self.came.set()
        self.came = trio.Event()
        await trio.lowlevel.checkpoint()

    async def on_trouble(self, words: str) -> None:
        self.troubles.append(words)
        await trio.lowlevel.checkpoint()

    def watch_spec(self, **changes: object) -> WatchSpec:
        values: dict[str, Any] = {
            "folder": "checkpoint",
            "every_ms": 1000,
            "keep": 2,
            "last_step": 0,
            "names_grant": grant_for(PeerId("bob"), self.fence),
            "state_key": STATE_KEY,
            **changes,
        }
        return WatchSpec(task=TASK, fence=self.fence, buyer=PeerId("alice"), **values)

    @asynccontextmanager
    async def watching(self, *argv: str, **changes: object) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.executor.run)
            await self.executor.prepare(self.job)
            await self.executor.start(job_spec(self.job, *(argv or ("sleep", "1000000"))))
            spec = self.watch_spec(**changes)
            nursery.start_soon(
                self.memory.watch, self.job, spec, self.on_checkpoint, self.on_trouble
            )
            with trio.fail_after(100_000):
                yield
            nursery.cancel_scope.cancel()

    async def until_step(self, step: int) -> Checkpoint:
        while not self.reported or self.reported[-1].step < step:
            await self.came.wait()
        return self.reported[-1]

    async def ask(self, **request: object) -> dict[str, Any]:
        answer = await self.executor.ask(self.job, json.dumps(request).encode())
        reply: dict[str, Any] = json.loads(answer)
        return reply

    async def write(self, name: str, data: bytes) -> None:
        await self.executor.put_file(self.job, name, _once(data))

    async def stage(self, step: int, data: bytes = b"x") -> None:
        await self.write(f"checkpoint/step-{step}/model", data)

    async def files(self) -> list[str]:
        return [one.name for one in await self.executor.list_files(self.job, "**")]

    async def read(self, name: str) -> bytes:
        return b"".join([part async for part in self.executor.read_file(self.job, name)])

    async def restored(self) -> "Lab":
        """Another machine, with what it gets of the newest checkpoint."""
        other = Lab(pool=self.pool, fence=self.fence + 1)
        await other.executor.prepare(other.job)
        await other.memory.restore(other.job, self.reported[-1])
        return other

    def acknowledge(self) -> None:
        """The submitter has the newest one."""
        self.memory.acknowledge(self.job, self.reported[-1].taken_ms)

    def kept_steps(self) -> list[int]:
        return [int(entry.name.split("/")[2]) for entry in self.objects.entries()]


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


# -- the watched folder


@simulated
async def test_numbered_checkpoints_are_stored_as_the_task_writes_them() -> None:
    lab = Lab()
    async with lab.watching("train", "60", "1", "10"):
        newest = await lab.until_step(50)
    assert [one.step for one in lab.reported] == [10, 20, 30, 40, 50]
    assert [one.step for one in newest.older] == [40]


@simulated
async def test_a_restored_checkpoint_is_the_file_that_was_stored() -> None:
    lab = Lab()
    async with lab.watching("train", "60", "1", "10"):
        newest = await lab.until_step(20)
    other = Lab(pool=lab.pool, fence=2)
    await other.executor.prepare(other.job)
    await other.memory.restore(other.job, newest)
    assert await other.files() == ["checkpoint/step-10/state.json", "checkpoint/step-20/state.json"]
    data = await other.read("checkpoint/step-20/state.json")
    assert json.loads(data) == {"step": 20, "total": sum(range(21))}


def _slow_writer(process: Process, _arguments: object) -> Run:
    """Writes a checkpoint in place, a bit each half second, against the convention."""
    for part in range(20):
        process.write("checkpoint/epoch-1/model", b"x" * (part + 1), in_place=True)
        yield 0.5
    yield 1e6
    return 0


@simulated
async def test_a_checkpoint_that_is_still_being_written_is_left_alone() -> None:
    lab = Lab(programs={"slow": _slow_writer})
    async with lab.watching("slow"):
        await lab.until_step(1)
    assert await (await lab.restored()).read("checkpoint/epoch-1/model") == b"x" * 20
    assert trio.current_time() >= 10.0


def _changes_while_read(process: Process, _arguments: object) -> Run:
    process.write("checkpoint/epoch-1/model", b"old")
    yield 3.0
    process.write("checkpoint/epoch-1/model", b"newer")
    yield 1e6
    return 0


@simulated
async def test_a_checkpoint_that_changed_while_it_was_read_is_read_again() -> None:
    lab = Lab(programs={"changes": _changes_while_read})
    lab.pool.seconds_per_put = 2.5
    async with lab.watching("changes"):
        await lab.until_step(1)
    assert await (await lab.restored()).read("checkpoint/epoch-1/model") == b"newer"
    assert len(lab.reported) == 1


@simulated
async def test_a_folder_with_a_marker_is_one_checkpoint() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.write("checkpoint/shard-0.bin", b"0")
        await lab.write("checkpoint/shard-1.bin", b"1")
        await lab.write("checkpoint/step.json", b'{"step": 7}')
        await lab.until_step(7)
    assert await (await lab.restored()).files() == [
        "checkpoint/shard-0.bin",
        "checkpoint/shard-1.bin",
        "checkpoint/step.json",
    ]


@pytest.mark.parametrize("marker", [b"", b"[]", b'{"step": "7"}', b'{"step": -1}', b"\xff" * 10])
@simulated
async def test_a_marker_that_names_no_step_is_no_checkpoint(marker: bytes) -> None:
    lab = Lab()
    async with lab.watching():
        await lab.write("checkpoint/step.json", marker)
        await trio.sleep(30)
    assert not lab.reported


@simulated
async def test_checkpoints_are_not_stored_more_often_than_asked() -> None:
    lab = Lab()
    async with lab.watching("train", "100", "1", "1", every_ms=30_000):
        await lab.until_step(60)
    assert len(lab.reported) <= 4


@simulated
async def test_what_was_told_to_a_node_that_died_before_it_stored_it_is_not_lost() -> None:
    lab = Lab()
    async with lab.watching(folder="", last_step=3):
        await trio.sleep(1)
    await lab.stage(2)
    await lab.stage(4)
    await lab.stage(5)
    async with trio.open_nursery() as nursery:
        spec = lab.watch_spec(folder="", last_step=3)
        nursery.start_soon(lab.memory.watch, lab.job, spec, lab.on_checkpoint, lab.on_trouble)
        await lab.until_step(5)
        nursery.cancel_scope.cancel()
    assert [one.step for one in lab.reported] == [5]


@simulated
async def test_what_was_restored_is_not_stored_again() -> None:
    lab = Lab()
    async with lab.watching(last_step=10, is_restored=True):
        await lab.stage(10)
        await trio.sleep(10)
        assert not lab.reported
        await lab.stage(11)
        await lab.until_step(11)


@simulated
async def test_a_pool_that_is_away_is_tried_again() -> None:
    lab = Lab()
    lab.pool.is_down = True
    async with lab.watching():
        await lab.stage(5)
        await trio.sleep(60)
        assert not lab.reported
        lab.pool.is_down = False
        await lab.until_step(5)


# -- keeping and forgetting


@simulated
async def test_older_checkpoints_go_once_the_submitter_has_a_newer_one() -> None:
    lab = Lab()
    async with lab.watching():
        for step in (1, 2, 3, 4):
            await lab.stage(step)
            await lab.until_step(step)
        assert lab.kept_steps() == [1, 2, 3, 4]
        lab.memory.acknowledge(lab.job, lab.reported[1].taken_ms)
        await trio.sleep(1)
        assert lab.kept_steps() == [1, 2, 3, 4]  # it has not heard of the newest one
        lab.acknowledge()
        await trio.sleep(1)
        assert lab.kept_steps() == [3, 4]


@simulated
async def test_a_node_that_was_restarted_still_forgets_what_it_stored_before() -> None:
    lab = Lab()
    async with lab.watching():
        for step in (1, 2):
            await lab.stage(step)
            await lab.until_step(step)
    async with trio.open_nursery() as nursery:
        spec = lab.watch_spec(last_step=2, last=lab.reported[-1])
        nursery.start_soon(lab.memory.watch, lab.job, spec, lab.on_checkpoint, lab.on_trouble)
        await lab.stage(3)
        await lab.until_step(3)
        lab.acknowledge()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert lab.kept_steps() == [2, 3]


@simulated
async def test_a_task_that_is_done_leaves_no_checkpoint() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.stage(1)
        await lab.until_step(1)
    await lab.memory.discard(TASK)
    assert not lab.objects.entries()
    assert not lab.pool.objects


@simulated
async def test_checkpoints_of_a_task_that_left_long_ago_go_after_a_month() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.stage(1)
        await lab.until_step(1)
    await lab.objects.put(_once(b"somebody's own"), name=f"checkpoint/{TASK}")
    lab.wall.step(29 * 86_400_000)
    await lab.memory.forget_stale(frozenset())
    assert len(lab.objects.entries()) == 2
    lab.wall.step(2 * 86_400_000)
    await lab.memory.forget_stale(frozenset({TASK}))
    assert len(lab.objects.entries()) == 2
    await lab.memory.forget_stale(frozenset())
    assert [entry.name for entry in lab.objects.entries()] == [f"checkpoint/{TASK}"]


@simulated
async def test_the_last_words_of_a_job_that_ended_are_kept() -> None:
    lab = Lab()
    async with lab.watching(every_ms=1_000_000):
        await lab.stage(1)
        await lab.until_step(1)
        await lab.stage(2)
        await lab.executor.stop(lab.job, 1)
        assert await lab.memory.flush(lab.job, is_orderly=True) == ""
    assert [one.step for one in lab.reported] == [1, 2]


def _in_place(process: Process, _arguments: object) -> Run:
    """A first step by renaming, two more in place; the last one when it is about to be killed."""
    process.write("checkpoint/step-1/model", b"x")
    yield 3.0
    process.write("checkpoint/step-2/model", b"x", in_place=True)
    yield 20.0
    process.write("checkpoint/step-3/model", b"x", in_place=True)
    yield 1e6
    return 0


@simulated
async def test_of_a_killed_job_only_what_had_rested_is_kept() -> None:
    lab = Lab(programs={"in_place": _in_place})
    async with lab.watching("in_place", every_ms=1_000_000):
        await lab.until_step(1)
        await trio.sleep(23)
        await lab.executor.stop(lab.job, 0)
        assert await lab.memory.flush(lab.job, is_orderly=False) == ""
    assert [(one.step, one.sure) for one in lab.reported] == [(1, True), (2, True)]


def _torn(process: Process, _arguments: object) -> Run:
    """Whole at step 1; step 2 is filled in place with a gap in which its machine may die."""
    process.write("checkpoint/step-1/model", b"one")
    yield 3.0
    process.write("checkpoint/step-2/model", b"two", in_place=True)
    yield 20.0
    process.write("checkpoint/step-2/optimizer", b"two", in_place=True)
    yield 1e6
    return 0


@simulated
async def test_a_torn_checkpoint_is_not_gone_on_from_and_a_whole_one_follows() -> None:
    lab = Lab(programs={"torn": _torn})
    async with lab.watching("torn"):
        torn = await lab.until_step(2)
        assert not torn.sure
        other = await lab.restored()
        assert await other.files() == ["checkpoint/step-1/model"]
        assert resume_step(torn) == 1
        await trio.sleep(60)
    assert [(one.step, one.sure) for one in lab.reported[-2:]] == [(2, False), (2, True)]
    assert await (await lab.restored()).files() == [
        "checkpoint/step-1/model",
        "checkpoint/step-2/model",
        "checkpoint/step-2/optimizer",
    ]
    assert all(is_newer(two, one) for one, two in pairwise(lab.reported))


@simulated
async def test_as_many_steps_as_asked_come_back_with_what_lies_beside_them() -> None:
    lab = Lab()
    async with lab.watching(keep=3):
        for step in range(1, 6):
            await lab.stage(step, b"%d" % step)
            await lab.until_step(step)
        await lab.write("checkpoint/best.txt", b"4")
        await trio.sleep(10)
        lab.acknowledge()
        await trio.sleep(1)
    other = await lab.restored()
    assert await other.files() == [
        "checkpoint/best.txt",
        *(f"checkpoint/step-{step}/model" for step in (3, 4, 5)),
    ]
    assert len(lab.objects.entries()) == 4
    async with trio.open_nursery() as nursery:
        await nursery.start(other.executor.run)
        await other.executor.start(job_spec(other.job, "sleep", "1000000"))
        spec = other.watch_spec(last_step=5, last=lab.reported[-1], is_restored=True, keep=3)
        watch, ears = other.memory.watch, (other.on_checkpoint, other.on_trouble)
        nursery.start_soon(watch, other.job, spec, *ears)
        await trio.sleep(10)
        assert not other.reported
        await other.stage(6)
        newest = await other.until_step(6)
        assert [one.step for one in newest.older] == [5, 4]
        nursery.cancel_scope.cancel()


@simulated
async def test_a_folder_without_numbers_is_kept_each_time_it_has_come_to_rest() -> None:
    lab = Lab()
    async with lab.watching():
        for version in (b"one", b"two"):
            await lab.write("checkpoint/model.pt", version)
            await lab.write("checkpoint/.metadata", version)
            await trio.sleep(10)
    assert [one.step for one in lab.reported] == [1, 2]
    other = await lab.restored()
    assert await other.files() == ["checkpoint/.metadata", "checkpoint/model.pt"]
    assert await other.read("checkpoint/model.pt") == b"two"


def _never_at_rest(process: Process, _arguments: object) -> Run:
    while True:
        process.write("checkpoint/train.log", b"x" * int(process.now_ns % 1000 + 1), in_place=True)
        yield 1.0


@simulated
async def test_a_folder_that_never_rests_is_told_of_and_kept_at_the_end() -> None:
    lab = Lab(programs={"never": _never_at_rest})
    async with lab.watching("never"):
        await trio.sleep(600)
        assert not lab.reported
        assert "has not rested for 2 min: write under another name" in lab.troubles[0]
        await lab.executor.stop(lab.job, 0)
        assert await lab.memory.flush(lab.job, is_orderly=True) == ""
    assert len(lab.reported) == 1


@simulated
async def test_what_cannot_be_kept_is_told_and_so_is_that_it_can_again() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.stage(1)
        await lab.until_step(1)
        lab.pool.is_down = True
        await lab.stage(2)
        await trio.sleep(10)
        assert len(lab.troubles) == 1
        assert "the pool cannot take it now" in lab.troubles[0]
        lab.pool.is_down = False
        await lab.until_step(2)
        await trio.sleep(1)
    assert lab.troubles[1:] == [""]


def _fast_saver(process: Process, _arguments: object) -> Run:
    """As ctx.checkpoint does: two entries stay, older ones go while they are perhaps read."""
    for step in range(1, 4):
        process.write(f"checkpoint/step-{step}/m", b"x")
        process.files.pop(f"checkpoint/step-{step - 2}/m", None)
        yield 1.0
    yield 1e6
    return 0


@simulated
async def test_a_checkpoint_told_while_an_older_one_vanishes_is_not_lost() -> None:
    lab = Lab(programs={"saver": _fast_saver})
    lab.pool.seconds_per_put = 2.5
    async with lab.watching("saver", folder="", every_ms=0):
        for step in (1, 2, 3):
            await lab.ask(op="checkpoint", step=step, name=f"step-{step}", wait=False)
            await trio.sleep(1)
        await lab.until_step(3)
    assert [one.step for one in lab.reported] == [3]


# -- ctx.checkpoint


@simulated
async def test_a_told_checkpoint_is_stored_soon_and_one_waited_for_at_once() -> None:
    lab = Lab()
    async with lab.watching(folder="", every_ms=0):
        await lab.stage(1)
        assert await lab.ask(op="checkpoint", step=1, name="step-1", wait=False) == {"ok": True}
        await lab.until_step(1)
        await lab.stage(2)
        await lab.ask(op="checkpoint", step=2, name="step-2", wait=True)
        assert lab.reported[-1].step == 2


@simulated
async def test_a_checkpoint_told_twice_is_stored_once() -> None:
    lab = Lab()
    async with lab.watching(folder=""):
        await lab.stage(1)
        for _ in range(2):
            assert "error" not in await lab.ask(op="checkpoint", step=1, name="step-1", wait=True)
    assert len(lab.reported) == 1


@simulated
async def test_a_told_checkpoint_survives_a_pool_that_is_away() -> None:
    lab = Lab()
    lab.pool.is_down = True
    async with lab.watching(folder="", every_ms=0):
        await lab.stage(1)
        await lab.ask(op="checkpoint", step=1, name="step-1", wait=False)
        refused = await lab.ask(op="checkpoint", step=1, name="step-1", wait=True)
        assert refused["error"] == "unavailable"
        lab.pool.is_down = False
        await lab.until_step(1)


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "checkpoint", "step": 0, "name": "step-0"},
        {"op": "checkpoint", "step": True, "name": "step-1"},
        {"op": "checkpoint", "step": 2, "name": "../../step-2", "wait": True},
        {"op": "checkpoint", "step": 3, "name": "step-3", "wait": True},
        {"op": "state_put", "key": "", "value": {"json": 1}},
        {"op": "state_put", "key": 7, "value": {"json": 1}},
        {"op": "state_put", "key": "k", "value": 1},
        {"op": "state_put", "key": "k", "value": {"json": "x" * STATE_VALUE_BYTES_MAX}},
        {"op": "erase the disk"},
        {},
    ],
)
@simulated
async def test_what_a_task_may_not_ask_is_refused_with_words(request_: dict[str, Any]) -> None:
    lab = Lab()
    async with lab.watching(folder="", last_step=1):
        reply = await lab.ask(**request_)
        assert reply["error"] == "bad_request"
        assert reply["message"]


@simulated
async def test_steps_only_grow() -> None:
    lab = Lab()
    async with lab.watching(folder="", last_step=10):
        reply = await lab.ask(op="checkpoint", step=9, name="step-9")
    assert "steps only grow" in reply["message"]


@simulated
async def test_thousands_of_files_are_one_checkpoint() -> None:
    lab = Lab()
    async with lab.watching():
        for number in range(3000):
            await lab.write(f"checkpoint/step-1/{number % 7}/.part-{number}", b"%d" % number)
        await lab.until_step(1)
    other = await lab.restored()
    assert len(await other.files()) == 3000
    assert await other.read("checkpoint/step-1/5/.part-2994") == b"2994"


@pytest.mark.parametrize("junk", [b"", b"\xff\xfe", b"[]", b"7", b"[" * 100_000])
@simulated
async def test_any_bytes_of_a_task_get_an_answer(junk: bytes) -> None:
    lab = Lab()
    async with lab.watching():
        assert json.loads(await lab.executor.ask(lab.job, junk))["error"] == "bad_request"


@simulated
async def test_a_job_that_asks_before_it_is_watched_again_gets_its_answer() -> None:
    lab = Lab()
    async with trio.open_nursery() as nursery:
        await nursery.start(lab.executor.run)
        await lab.executor.prepare(lab.job)
        await lab.executor.start(job_spec(lab.job, "sleep", "1000"))
        replies: list[dict[str, Any]] = []

        async def ask() -> None:
            replies.append(await lab.ask(op="state_get", key="k"))

        nursery.start_soon(ask)
        await trio.sleep(5)
        spec = lab.watch_spec()
        nursery.start_soon(lab.memory.watch, lab.job, spec, lab.on_checkpoint, lab.on_trouble)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert replies == [{"ok": True, "value": None}]


# -- ctx.state


@simulated
async def test_a_value_outlives_the_attempt_that_wrote_it() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.ask(op="state_put", key="best", value={"json": {"loss": 0.1}})
    other = Lab(pool=lab.pool, fence=2)
    async with other.watching():
        reply = await other.ask(op="state_get", key="best")
    assert reply["value"] == {"json": {"loss": 0.1}}


@simulated
async def test_whoever_keeps_the_state_reads_neither_its_keys_nor_its_values() -> None:
    lab = Lab()
    async with lab.watching():
        await lab.ask(op="state_put", key="patient", value={"json": "secret words"})
        first = dict(lab.pool.names)
        await lab.ask(op="state_put", key="patient", value={"json": "secret words"})
    seen = repr((first, lab.pool.names))
    assert "patient" not in seen
    assert "secret" not in seen
    assert [held.value for held in first.values()] != [h.value for h in lab.pool.names.values()]
    stranger = Lab(pool=lab.pool)
    async with stranger.watching(state_key=bytes(32)):  # other names, and other seals
        assert (await stranger.ask(op="state_get", key="patient"))["value"] is None


@simulated
async def test_a_task_of_an_older_version_is_told_that_it_has_no_state() -> None:
    lab = Lab()
    async with lab.watching(names_grant=None, state_key=b""):
        reply = await lab.ask(op="state_get", key="k")
    assert reply["error"] == "unavailable"
    assert "older version" in reply["message"]


@simulated
async def test_an_older_attempt_cannot_write_any_more() -> None:
    old = Lab()
    new = Lab(pool=old.pool, fence=2)
    async with old.watching(), new.watching():
        await old.ask(op="state_put", key="k", value={"json": 1})
        await new.ask(op="state_put", key="k", value={"json": 2})
        stale = [
            await old.ask(op="state_put", key="k", value={"json": 3}),
            await old.ask(op="state_cas", key="k", expected={"json": 2}, value={"json": 3}),
        ]
        assert [reply["error"] for reply in stale] == ["stale", "stale"]
        assert (await new.ask(op="state_get", key="k"))["value"] == {"json": 2}


@simulated
async def test_compare_and_set_writes_only_over_what_was_expected() -> None:
    lab = Lab()
    async with lab.watching():
        cas = {"op": "state_cas", "key": "k"}
        assert (await lab.ask(**cas, expected=None, value={"json": 1}))["done"] is True
        assert (await lab.ask(**cas, expected=None, value={"json": 2}))["done"] is False
        assert (await lab.ask(**cas, expected={"json": 1}, value={"bytes": "eA=="}))["done"] is True
        assert (await lab.ask(op="state_get", key="k"))["value"] == {"bytes": "eA=="}


@simulated
async def test_many_writers_of_one_key_all_get_through() -> None:
    lab = Lab()
    async with lab.watching():

        async def count() -> None:
            for _ in range(5):
                while True:
                    now = (await lab.ask(op="state_get", key="n"))["value"]
                    value = {"json": (now["json"] if now else 0) + 1}
                    reply = await lab.ask(op="state_cas", key="n", expected=now, value=value)
                    if reply.get("done"):
                        break

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(count)
        assert (await lab.ask(op="state_get", key="n"))["value"] == {"json": 20}


@simulated
async def test_state_says_that_the_pool_is_away() -> None:
    lab = Lab()
    async with lab.watching():
        lab.pool.is_down = True
        assert (await lab.ask(op="state_get", key="k"))["error"] == "unavailable"
