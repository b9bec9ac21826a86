"""What a task sees and gets of processors and memory is what it asked for."""

import os
from pathlib import Path

import pytest

from swarmnode.executor.cpus import as_list, choose
from swarmnode.executor.port import JobId, Limit
from tests.job_lab import (
    MIB,
    PYTHON,
    SH,
    needs_bwrap,
    needs_python,
    needs_root,
    run_job,
    running_executor,
    spec,
)

pytestmark = needs_bwrap
COUNT = (
    "import os, subprocess\n"
    "print(os.cpu_count(), len(os.sched_getaffinity(0)), subprocess.getoutput('nproc'),\n"
    "      os.sysconf('SC_NPROCESSORS_ONLN'))\n"
)


@needs_python
@pytest.mark.parametrize(("cpu_millis", "seen"), [(500, 1), (1000, 1), (1100, 2), (2000, 2)])
async def test_a_program_sees_the_processors_it_asked_for(
    tmp_path: Path, cpu_millis: int, seen: int
) -> None:
    if len(os.sched_getaffinity(0)) < seen:
        pytest.skip(f"this machine has fewer than {seen} processors")
    async with running_executor(tmp_path / "x") as executor:
        what = spec("t.1", PYTHON, "-c", COUNT, cpu_millis=cpu_millis)
        _, out, err = await run_job(executor, what)
    assert out.split() == [str(seen)] * 4, err


@needs_python
@needs_root
async def test_in_a_container_too(open_path: Path) -> None:
    script = "import os; print(len(os.sched_getaffinity(0)))"
    async with running_executor(open_path / "x", sandbox="container") as executor:
        _, out, err = await run_job(executor, spec("t.1", PYTHON, "-c", script))
    assert out == "1\n", err


async def test_tasks_do_not_share_one_processor_while_another_is_free(tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one processor")
    async with running_executor(tmp_path / "x") as executor:
        for job in ("t.1", "t.2"):
            await executor.start(spec(job, "/bin/sleep", "60"))
        used = [executor._known(JobId(job)).record.cpus for job in ("t.1", "t.2")]
        for job in ("t.1", "t.2"):
            await executor.stop(JobId(job), 0)
    assert len({cpu for cpus in used for cpu in cpus}) == 2


async def test_half_a_processor_is_a_bound_for_all_processes_of_a_task(tmp_path: Path) -> None:
    script = "for i in 1 2; do (while :; do :; done) & done; sleep 2; kill 0"
    async with running_executor(tmp_path / "x") as executor:
        if why := executor.enforceable()[Limit.CPU]:
            pytest.skip(why)
        ended, _, _ = await run_job(executor, spec("t.1", SH, "-c", script, cpu_millis=500))
    assert ended.wall_s >= 1.9
    assert ended.cpu_s <= 0.5 * ended.wall_s + 0.2


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
async def test_scratch_is_as_large_as_the_memory_and_counts_as_memory(
    tmp_path: Path, place: str
) -> None:
    script = f"head -c 230000000 /dev/zero > {place}/f && echo held; df -k {place} | tail -n 1"
    async with running_executor(tmp_path / "x") as executor:
        is_counted = not executor.enforceable()[Limit.MEMORY]
        ended, out, err = await run_job(
            executor, spec("t.1", SH, "-c", script, memory_bytes=256 * MIB)
        )
        small, _, said = await run_job(
            executor, spec("t.2", SH, "-c", script, memory_bytes=32 * MIB)
        )
    assert out.startswith("held"), err
    assert not is_counted or ended.memory_peak_bytes >= 230_000_000
    assert "No space left" in said or small.reason == "oom"


def test_the_least_promised_processors_are_taken() -> None:
    assert choose(1000, (0, 1, 2, 3), [((0, 1), 2000), ((3,), 500)], 0) == (2,)
    assert choose(2500, (0, 1, 2, 3), [((0,), 1000)], 0) == (1, 2, 3)
    assert choose(9000, (4, 5), [], 1) == (4, 5)
    assert {choose(1000, (0, 1, 2), [], turn) for turn in range(3)} == {(0,), (1,), (2,)}
    assert choose(1, (0,), [((7,), 1000)], 0) == (0,)
    assert [as_list(cpus) for cpus in ((0,), (0, 1, 2, 5), (3, 1))] == ["0", "0-2,5", "1,3"]
