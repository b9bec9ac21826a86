"""Both bodies of an Executor, under every test of this folder."""

from pathlib import Path

import pytest

from swarmnode.executor.fake.executor import FakeExecutor
from tests.executor_lab import Machine, fake_node, process_node, real_argv, ticks
from tests.job_lab import needs_bwrap


@pytest.fixture(params=["real", "fake"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    if request.param == "real":
        if needs_bwrap.args[0]:
            pytest.skip(needs_bwrap.kwargs["reason"])
        return Machine(lambda: process_node(tmp_path / "x"), real_argv)
    fake = FakeExecutor(programs={"ticks": ticks})
    return Machine(lambda: fake_node(fake), lambda words: tuple(words.split()))
