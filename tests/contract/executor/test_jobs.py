"""What every Executor promises of jobs: they start once, end, are found and forgotten."""

import pytest
import trio

from swarmnode.errors import (
    EnvironmentUnknownError,
    JobRunningError,
    JobUnknownError,
)
from swarmnode.executor.port import JobId, JobSignal
from tests.executor_lab import JOB, Machine, pieces, start
from tests.job_lab import MIB, run_job, spec


async def test_a_job_prints_and_ends_and_is_remembered(machine: Machine) -> None:
    async with machine.node() as executor:
        ended, out, err = await run_job(executor, spec("t.1", *machine.argv("echo hello swarm")))
        (view,) = executor.jobs()
        await executor.forget(JOB)
        assert executor.jobs() == []
    assert (ended.code, ended.reason, out, err) == (0, "exit", "hello swarm\n", "")
    assert (view.job, view.exit) == (JOB, ended)
    assert view.pid > 0
    assert view.started_ms >= 0


async def test_the_code_of_a_failing_program_is_kept(machine: Machine) -> None:
    async with machine.node() as executor:
        ended, _, _ = await run_job(executor, spec("t.1", *machine.argv("exit 9")))
        await executor.forget(JOB)
    assert (ended.code, ended.reason) == (9, "exit")


async def test_a_program_that_is_not_there_ends_with_127_and_words(machine: Machine) -> None:
    async with machine.node() as executor:
        ended, _, err = await run_job(executor, spec("t.1", *machine.argv("missing")))
        await executor.forget(JOB)
    assert ended.code == 127
    assert "missing" in err


async def test_the_job_of_an_id_starts_only_once(machine: Machine) -> None:
    what = spec("t.1", *machine.argv("sleep 60"))
    async with machine.node() as executor:
        await executor.prepare(JOB)
        first = await executor.start(what)
        assert (await executor.start(what)).pid == first.pid
        await executor.stop(JOB, 0)
        assert (await executor.start(what)).exit is not None
        await executor.forget(JOB)


async def test_a_job_has_a_folder_from_its_preparation_until_it_is_forgotten(
    machine: Machine,
) -> None:
    async with machine.node() as executor:
        assert not executor.is_prepared(JOB)
        await executor.prepare(JOB)
        assert executor.is_prepared(JOB)
        await executor.start(spec("t.1", *machine.argv("exit 0")))
        await executor.wait(JOB)
        assert executor.is_prepared(JOB)
        await executor.forget(JOB)
        assert not executor.is_prepared(JOB)


async def test_a_job_over_its_wall_clock_is_killed(machine: Machine) -> None:
    what = spec("t.1", *machine.argv("stubborn 60"), wall_s=0.3)
    async with machine.node() as executor:
        ended, _, _ = await run_job(executor, what)
        await executor.forget(JOB)
    assert ended.reason == "wall"
    assert 0.3 <= ended.wall_s < 10


async def test_stop_ends_a_job_and_may_be_repeated(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("sleep 60")))
        with pytest.raises(JobRunningError):
            await executor.forget(JOB)
        ended = await executor.stop(JOB, 30.0)
        assert await executor.stop(JOB, 30.0) == ended
        await executor.forget(JOB)
    assert (ended.reason, ended.code) == ("killed", 143)
    assert ended.wall_s < 25


async def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("stubborn 60")))
        await trio.sleep(0.3)  # the real one must come to say that it ignores it
        ended = await executor.stop(JOB, 0.3)
        await executor.forget(JOB)
    assert (ended.reason, ended.code) == ("killed", 137)


async def test_a_signal_reaches_the_program_and_none_that_has_ended(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("sleep 60")))
        assert executor.signal(JOB, JobSignal.INT)
        ended = await executor.wait(JOB)
        assert not executor.signal(JOB, JobSignal.INT)
        await executor.forget(JOB)
        with pytest.raises(JobUnknownError):
            executor.signal(JOB, JobSignal.INT)
    assert (ended.code, ended.reason) == (130, "signal")


async def test_a_log_is_followed_by_offset_to_its_end(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("ticks 10")))
        log = b""
        while executor.jobs()[0].exit is None:
            log += await executor.read_log(JOB, "stdout", len(log), 3)
            await executor.log_grew(JOB, "stdout", len(log))
        while piece := await executor.read_log(JOB, "stdout", len(log), 3):
            log += piece
        await executor.log_grew(JOB, "stdout", len(log))
        assert executor.log_length(JOB, "stdout") == len(log)
        assert executor.log_length(JOB, "stderr") == 0
        await executor.forget(JOB)
        with pytest.raises(JobUnknownError):
            executor.log_length(JOB, "stdout")
    assert log.split() == [str(tick).encode() for tick in range(10)]


async def test_a_job_outlives_the_node_and_loses_no_byte(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("ticks 40")))
        await executor.log_grew(JOB, "stdout", 0)
        pid = executor.jobs()[0].pid
    async with machine.node() as executor:
        assert [view.pid for view in executor.jobs()] == [pid]
        ended = await executor.wait(JOB)
        log = await executor.read_log(JOB, "stdout", 0, MIB)
        await executor.forget(JOB)
    assert (ended.code, ended.reason) == (7, "exit")
    assert log.split() == [str(tick).encode() for tick in range(40)]


async def test_a_job_that_ended_while_no_node_ran_is_found(machine: Machine) -> None:
    async with machine.node() as executor:
        await start(executor, spec("t.1", *machine.argv("ticks 10")))
    await trio.sleep(0.5)
    async with machine.node() as executor:
        ended = await executor.wait(JOB)
        await executor.forget(JOB)
    assert (ended.code, ended.reason) == (7, "exit")


async def test_the_sweep_keeps_what_it_is_told_and_nothing_else(machine: Machine) -> None:
    async with machine.node() as executor:
        for job in ("keep.1", "stray.1"):
            await start(executor, spec(job, *machine.argv("sleep 60")))
        await executor.prepare(JobId("halfway.1"))
    async with machine.node() as executor:
        removed = await executor.sweep(frozenset({JobId("keep.1")}))
        assert removed == (JobId("halfway.1"), JobId("stray.1"))
        assert [view.job for view in executor.jobs()] == [JobId("keep.1")]
        assert executor.jobs()[0].exit is None
        assert await executor.sweep(frozenset()) == (JobId("keep.1"),)


async def test_a_job_that_was_only_prepared_can_be_forgotten(machine: Machine) -> None:
    async with machine.node() as executor:
        await executor.prepare(JOB)
        await executor.put_file(JOB, "data", pieces(b"x"))
        await executor.forget(JOB)
        with pytest.raises(JobUnknownError):
            await executor.list_files(JOB, "**")


async def test_what_nobody_knows_is_an_error(machine: Machine) -> None:
    async with machine.node() as executor:
        with pytest.raises(JobUnknownError):
            await executor.wait(JOB)
        with pytest.raises(JobUnknownError):
            await executor.stop(JOB, 0)
        with pytest.raises(JobUnknownError):
            await executor.read_log(JOB, "stdout", 0, 1)
        with pytest.raises(JobUnknownError):
            await executor.forget(JOB)
        with pytest.raises(EnvironmentUnknownError, match="torch"):
            await executor.start(spec("t.1", "x", environment="torch"))
        await executor.sweep(frozenset())


async def test_a_job_may_ask_for_a_network_and_what_it_carried_is_told(machine: Machine) -> None:
    async with machine.node() as executor:
        if trouble := executor.net_trouble():
            pytest.skip(trouble)
        what = spec("t.1", *machine.argv("echo hello"), net=("pypi",))
        ended, out, _ = await run_job(executor, what)
        (view,) = executor.jobs()
        await executor.forget(JOB)
    assert (ended.code, out) == (0, "hello\n")
    assert (view.net_up_bytes, view.net_down_bytes) == (0, 0)
