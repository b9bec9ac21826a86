"""Watched checkpoint folders, on virtual time: whole, at rest, stored as often as asked."""

import json

import pytest
import trio

from swarmnode.executor.fake.programs import Process, Run
from testnet.sim.seeded import simulated
from tests.memory_lab import Lab


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
