"""What only the executor in memory can do: virtual time, crashes, programs that train."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from swarmnode.errors import ExecutorUnavailableError, JobUnknownError, LimitNotEnforceableError
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.port import JobId, Limit
from testnet.sim.seeded import simulated
from tests.job_lab import MIB, run_job, spec

JOB = JobId("t.1")


@asynccontextmanager
async def node(executor: FakeExecutor) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        yield
        nursery.cancel_scope.cancel()


async def piece(data: bytes) -> AsyncIterator[bytes]:
    yield data


@simulated
async def test_a_training_prints_its_steps_and_leaves_checkpoints() -> None:
    executor = FakeExecutor()
    async with node(executor):
        began_s = trio.current_time()
        ended, out, _ = await run_job(executor, spec("t.1", "train", "12", "0.5", "5"))
        assert trio.current_time() - began_s == pytest.approx(6.0)
        files = await executor.list_files(JOB, "checkpoint/")
    assert ended.code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0] == {"first_step": 0}
    assert [line["step"] for line in lines[1:-1]] == list(range(1, 13))
    assert lines[-1] == {"total": 78}
    names = [file.name for file in files]
    assert names == ["checkpoint/step-10/state.json", "checkpoint/step-5/state.json"]


@simulated
async def test_a_training_goes_on_from_a_restored_checkpoint() -> None:
    executor = FakeExecutor()
    async with node(executor):
        await executor.prepare(JOB)
        for step, total in ((5, 15), (10, 55)):
            state = json.dumps({"step": step, "total": total}).encode()
            await executor.put_file(JOB, f"checkpoint/step-{step}/state.json", piece(state))
        _, out, _ = await run_job(executor, spec("t.1", "train", "12", "0.5", "5"))
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines == [{"first_step": 10}, {"step": 11}, {"step": 12}, {"total": 78}]


@simulated
async def test_a_job_runs_on_while_no_node_looks() -> None:
    executor = FakeExecutor()
    async with node(executor):
        await executor.prepare(JOB)
        await executor.start(spec("t.1", "train", "10", "1", "5"))
    await trio.sleep(4.5)
    async with node(executor):
        log = await executor.read_log(JOB, "stdout", 0, MIB)
        assert log.count(b'"step"') == 4
        ended = await executor.wait(JOB)
    assert ended.wall_s == 10.0


@simulated
async def test_a_power_cut_loses_what_ran_and_keeps_the_disk() -> None:
    executor = FakeExecutor()
    async with node(executor):
        await executor.prepare(JOB)
        await executor.start(spec("t.1", "train", "10", "1", "2"))
        await trio.sleep(5.0)
    executor.power_cut()
    await trio.sleep(20.0)
    async with node(executor):
        assert (await executor.wait(JOB)).reason == "lost"
        assert len(await executor.list_files(JOB, "checkpoint/")) == 2


@simulated
async def test_a_crash_loses_everything() -> None:
    executor = FakeExecutor()
    async with node(executor):
        await executor.prepare(JOB)
        await executor.start(spec("t.1", "sleep", "10"))
    executor.crash()
    async with node(executor):
        assert executor.jobs() == []
        with pytest.raises(JobUnknownError):
            await executor.wait(JOB)


@simulated
async def test_memory_and_disk_end_a_job_that_takes_too_much() -> None:
    executor = FakeExecutor()
    async with node(executor):
        ended, _, _ = await run_job(executor, spec("a.1", "allocate", str(512 * MIB), "5"))
        assert (ended.reason, ended.code) == ("oom", 137)
        what = spec("b.1", "write", "file", "x" * 2048, disk_bytes=1024)
        assert (await run_job(executor, what))[0].reason == "disk"


@simulated
async def test_a_machine_says_what_it_cannot_do() -> None:
    executor = FakeExecutor(not_enforced={Limit.MEMORY: "no cgroup"}, environments=("torch",))
    async with node(executor):
        insist = spec("t.1", "echo", must_enforce=frozenset({Limit.MEMORY}))
        with pytest.raises(LimitNotEnforceableError, match="no cgroup"):
            await executor.start(insist)
        ended, _, _ = await run_job(executor, spec("t.2", "echo", environment="torch"))
        assert Limit.MEMORY not in ended.enforced
    sick = FakeExecutor(trouble="bubblewrap is not installed")
    async with node(sick):
        with pytest.raises(ExecutorUnavailableError, match="bubblewrap"):
            await sick.prepare(JOB)


@simulated
async def test_a_request_through_ctx_reaches_who_answers() -> None:
    async def answer(job: JobId, request: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return f"{job} ".encode() + request

    executor = FakeExecutor()
    executor.on_call(answer)
    assert await executor.ask(JOB, b"hello") == b"t.1 hello"
