"""What `bench keep` starts ends with it, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STARTER = """
import subprocess
from bench.keep import apart
subprocess.run(apart("sh", "-c", "sleep 1000 & echo begun; wait"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of its own need root")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_that_the_bench_started_ends_when_it_is_ended(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], cwd=ROOT, stdout=subprocess.PIPE
    ) as bench:
        assert bench.stdout is not None
        assert bench.stdout.readline() == b"begun\n"
        bench.send_signal(number)
        assert bench.stdout.read() == b""  # the pipe ends with the last of them that has it
