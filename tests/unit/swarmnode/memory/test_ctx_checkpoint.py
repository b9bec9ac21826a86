"""`ctx.checkpoint`: told, waited for, refused."""

import json
from typing import Any

import pytest
import trio

from swarmnode.limits import STATE_VALUE_BYTES_MAX
from testnet.sim.seeded import simulated
from tests.memory_lab import Lab, job_spec


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
