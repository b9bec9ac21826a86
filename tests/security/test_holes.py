"""Files of nothing but holes, which cost a task no disk: what it leaves is bounded all the same."""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from swarmnode.errors import OutputUnsafeError
from swarmnode.executor.port import JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.tree.pattern import Pattern
from tests.job_lab import MIB, SH, needs_bwrap, running_executor, spec

pytestmark = needs_bwrap
JOB = JobId("t.1")


async def random_bytes(mib: int) -> AsyncGenerator[bytes, None]:
    for _ in range(mib):
        yield os.urandom(MIB)


async def left_by(executor: ProcessExecutor, script: str, disk_bytes: int = 16 * MIB) -> None:
    await executor.start(spec(JOB, SH, "-c", script, disk_bytes=disk_bytes))
    ended = await executor.wait(JOB)
    assert ended.code == 0, await executor.read_log(JOB, "stderr", 0, MIB)


HOLES = "mkdir o; for i in 1 2 3 4 5 6 7 8 9; do truncate -s 15M o/$i; done; echo x > small"


async def test_holes_make_nothing_larger_than_the_disk_that_a_task_had(tmp_path: Path) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        await left_by(executor, HOLES)
        looked, chosen = await executor.select(JOB, [Pattern("o"), Pattern("small")])
        assert [piece.name for piece in chosen.pieces] == [(b"small",)]
        assert "'o' has 135 MiB, holes included" in chosen.faults[0]
        beneath = [one for one in looked.found if one.parts[:1] == (b"o",)]
        with pytest.raises(OutputUnsafeError, match="ask for more disk"):  # as a checkpoint
            await anext(executor.pack(JOB, (b"o",), beneath))


async def test_what_a_task_was_given_may_be_larger_than_its_disk_and_an_output(
    tmp_path: Path,
) -> None:
    async with running_executor(tmp_path / "x") as executor:
        await executor.prepare(JOB)
        async with aclosing(random_bytes(24)) as given:
            await executor.put_file(JOB, "in", given)
        await left_by(executor, "mkdir o; mv in o/in; ln o/in o/again; head -c 3000000 o/in > o/x")
        _, chosen = await executor.select(JOB, [Pattern("o")])
    assert [piece.name for piece in chosen.pieces] == [(b"o",)]
