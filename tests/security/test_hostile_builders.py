"""A builder of a package that has to be run to learn what the package needs: on whose machine?"""

import os
from functools import partial
from pathlib import Path

import pytest

from swarmnode.cli import exits
from swarmnode.cli.project.locked_in import sandbox_for
from swarmnode.project.environment.find import source_of
from swarmnode.project.environment.indexes import Indexes
from swarmnode.project.environment.lock import lock_of
from tests.job_lab import needs_bwrap
from tests.wheel_lab import make_sdist

TRIES = """
import os, pathlib
told = pathlib.Path("/tmp/told")
pathlib.Path("{beside}").write_text("into a /tmp of its own")
for path in {places}:
    try:
        pathlib.Path(path).write_text("pwned")
        told.open("a").write(path)
    except OSError:
        pass
if "hush" in str(os.environ) + open("/proc/1/environ", errors="replace").read():
    told.open("a").write("a password")
if os.path.exists("{secret}") or len([p for p in os.listdir("/proc") if p.isdigit()]) > 20:
    told.open("a").write("seen")
if told.exists():
    raise SystemExit("out of the box: " + told.read_text())
"""


def hostile(folder: Path) -> tuple[Path, Indexes, Path]:
    """A project that needs one, where that is had, and something of ours beside it."""
    secret = folder / "home/secret"
    secret.parent.mkdir()
    secret.write_text("a key")
    project = folder / "project"
    (project / ".swarm").mkdir(parents=True)
    (project / "requirements.txt").write_text("evil\n")
    places = [str(secret), str(project / "train.py"), "/usr/lib/evil.py"]
    act = TRIES.format(places=places, secret=secret, beside=folder / "beside")
    make_sdist(folder / "wheels", "evil", "1.0", act, says_what_it_needs=False)
    links = f"{folder / 'wheels'},https://me:hush@corp.example/links"
    found = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": links, "UV_INDEX_CORP_PASSWORD": "hush"}
    return project, Indexes(found), secret


@needs_bwrap
def test_it_runs_in_a_sandbox_on_the_machine_of_who_asks_for_it(tmp_path: Path) -> None:
    project, indexes, secret = hostile(tmp_path)
    source = source_of(project, "", (3, 11))
    assert source is not None
    box = partial(sandbox_for, project, indexes)
    made = lock_of(source, project / ".swarm", indexes, allow_build=True, sandbox=box)
    assert made.text.startswith("evil==1.0 --hash=sha256:")
    assert secret.read_text() == "a key"
    assert sorted(os.listdir(project)) == [".swarm", "requirements.txt"]
    assert not (tmp_path / "beside").exists()


def test_where_no_sandbox_works_it_does_not_run_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, indexes, _ = hostile(tmp_path)
    monkeypatch.setattr("swarmnode.executor.sandbox.bubblewrap.find", lambda: "")
    source = source_of(project, "", (3, 11))
    assert source is not None
    box = partial(sandbox_for, project, indexes)
    with pytest.raises(exits.CliError, match="in a sandbox, and none works here"):
        lock_of(source, project / ".swarm", indexes, allow_build=True, sandbox=box)
    assert list((project / ".swarm").iterdir()) == []
