"""A node that does what a test says, behind a real socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api_lab import ServedNode, served_node


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedNode]:
    """The command stands beside its home."""
    (tmp_path / "home").mkdir()
    socket = tmp_path / "home/api.sock"
    monkeypatch.setenv("SWARM_API", str(socket))
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with served_node(socket) as served:
        yield served
