"""What a job printed is on the disk before anybody is told how it ended."""

import os
import select
from pathlib import Path

import pytest

from swarmnode.executor.shim.logs import Logs


def test_all_that_was_printed_is_settled_and_what_is_empty_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: dict[str, bytes] = {}

    def note(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        settled[Path(path).name] = Path(path).read_bytes()

    logs = Logs(str(tmp_path), bytes_max=1000)
    os.write(logs.ends[0], b"the last line\n")
    logs.watch(select.poll())
    logs.hear_rest()
    monkeypatch.setattr(os, "fdatasync", note)
    logs.settle()
    assert settled == {"stdout": b"the last line\n"}
