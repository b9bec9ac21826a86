"""Results come whole or not at all, and our own folder in a project is no way out of it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from swarmnode.cli import exits
from swarmnode.cli.client import Client
from swarmnode.cli.project.results import Bringer
from swarmnode.tree.scan import scan

TASK = "t" * 16


class Store:
    """Answers what is in it; what is cut short ends early."""

    def __init__(self, **objects: bytes) -> None:
        self._objects = objects

    def download(self, _path: str, asked: Mapping[str, str]) -> Iterator[bytes]:
        data = self._objects[asked["cap"]]
        yield data.removesuffix(b"CUT")
        if data.endswith(b"CUT"):
            raise EOFError("the stream was cut short")


def detail(*names: str) -> dict[str, Any]:
    outputs = [{"name": name, "size": 1, "cap": name[0], "tree": False} for name in names]
    spec = {"outputs": ["a", "b"]}
    return {"task": TASK, "state": "done", "outputs": outputs, "spec": spec, "checkpoints": []}


def brought(project: Path, store: Store, *names: str) -> int:
    bringer = Bringer(project, scan(str(project)).found)
    return bringer.bring(cast("Client", store), detail(*names))


def test_what_is_cut_short_replaces_nothing_and_the_rest_comes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_text("mine")
    code = brought(tmp_path, Store(a=b"halfCUT", b=b"whole"), "a", "b")
    assert code == exits.DEGRADED
    assert (tmp_path / "a").read_text() == "mine"
    assert (tmp_path / "b").read_text() == "whole"
    said = capfd.readouterr().err
    assert "cut short" in said
    assert "1 file of its results is here" in said
    assert brought(tmp_path, Store(a=b"whole"), "a") == exits.OK
    assert (tmp_path / "a").read_text() == "whole"


def test_no_link_in_our_own_folder_leads_a_write_away(tmp_path: Path) -> None:
    project, victim = tmp_path / "p", tmp_path / "victim"
    (project / ".swarm").mkdir(parents=True)
    victim.write_text("precious")
    for name in (".gitignore", "lock", "brought.json"):
        (project / ".swarm" / name).symlink_to(victim)
    code = brought(project, Store(a=b"x"), "a")
    assert code == exits.ERROR
    assert victim.read_text() == "precious"
    (project / ".swarm" / "lock").unlink()
    (project / ".swarm" / "brought.json").unlink()
    assert brought(project, Store(a=b"x"), "a") == exits.OK
    assert victim.read_text() == "precious"
    os.rename(project / ".swarm", tmp_path / "own")
    (project / ".swarm").symlink_to(tmp_path / "own")
    with pytest.raises(exits.CliError):
        Bringer(project, ())
