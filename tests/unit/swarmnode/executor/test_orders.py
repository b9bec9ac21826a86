"""What a job's shim and sandbox are told: a text of a stranger's is one text, whatever is in it."""

import os
from pathlib import Path

import pytest

from swarmnode.errors import GpuUnknownError
from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.shim.pairs import read_pairs, write_pairs
from tests.job_lab import needs_bwrap, running_executor, spec


@pytest.mark.parametrize(
    "entry",
    [("argv", "x\0uid=0"), ("env", "A=x\0bwrap_args=/etc/passwd"), ("a=b", "x"), ("a\0b=c", "x")],
)
def test_what_would_be_read_as_more_than_one_entry_is_not_written(
    tmp_path: Path, entry: tuple[str, str]
) -> None:
    place = str(tmp_path / "order")
    with pytest.raises(ValueError, match="more than one entry"):
        write_pairs(place, [("uid", "7"), entry], durable=False)
    assert not list(tmp_path.iterdir())
    write_pairs(place, [("argv", "a=b\n\udcff"), ("argv", "")], durable=False)
    assert read_pairs(place) == [("argv", "a=b\n\udcff"), ("argv", "")]


@needs_bwrap
async def test_no_job_starts_whose_variables_would_be_options_of_the_sandbox(
    tmp_path: Path,
) -> None:
    async with running_executor(tmp_path) as executor:
        job = spec("a.1", "true", env={"A": "x\0--ro-bind\0/\0/run/host"})
        await executor.prepare(job.job)
        with pytest.raises(ValueError, match="more than one option"):
            await executor.start(job)
        assert not executor.jobs()


@needs_bwrap
async def test_a_start_that_comes_to_nothing_leaves_no_control_group(tmp_path: Path) -> None:
    def gone(uuid: str) -> str:
        raise GpuUnknownError(f"no GPU {uuid} on this machine")

    async with running_executor(tmp_path, gpu_device=gone) as executor:
        job = spec("a.1", "true", gpus=("GPU-1",))
        await executor.prepare(job.job)
        with pytest.raises(GpuUnknownError):
            await executor.start(job)
        record = JobFolder(tmp_path / "jobs" / "a.1").read_record()
        assert record is not None
        assert not [path for path in record.cgroup.values() if os.path.exists(path)]  # noqa: ASYNC240
