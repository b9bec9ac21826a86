"""A project's folder that is only to be read: what we keep of it lies in its reader's cache."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.cli.exits import CliError
from swarmnode.cli.project.own import OWN_FOLDER, own_or_elsewhere, own_or_refuse, own_place

NOBODY = 65_534


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """We are somebody to whom all is only to be read, but for a home of their own."""
    home = Path(tempfile.mkdtemp(prefix="reader-"))
    monkeypatch.setenv("SWARM_HOME", str(home / "swarm"))
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(home, NOBODY, -1)
        os.seteuid(NOBODY)
    try:
        yield home
    finally:
        if is_root:
            os.seteuid(0)
        shutil.rmtree(home)


@pytest.mark.parametrize("has_own", [False, True])
def test_what_is_kept_of_it_lies_in_the_cache_under_its_path(reader: Path, has_own: bool) -> None:
    project = reader / "p"
    project.mkdir()
    if has_own:
        (project / OWN_FOLDER).mkdir()
        (project / OWN_FOLDER / ".gitignore").write_text("*")
        (project / OWN_FOLDER).chmod(0o555)
    project.chmod(0o555)
    (other := reader / "q").mkdir(mode=0o555)
    place = own_or_elsewhere(project)
    (place / "lock").write_text("kept")
    assert place.is_relative_to(reader / "swarm")
    assert place == own_place(project) == own_or_elsewhere(project)
    assert place != own_or_elsewhere(other)
    assert place.stat().st_mode & 0o077 == 0
    project.chmod(0o755)
    if has_own:
        (project / OWN_FOLDER).chmod(0o755)
    assert own_or_elsewhere(project) == own_place(project) == project / OWN_FOLDER


@pytest.mark.parametrize("has_own", [False, True])
def test_what_it_brings_is_refused_at_once_also_where_its_owner_has_run_it(
    reader: Path, has_own: bool
) -> None:
    project = reader / "p"
    project.mkdir()
    if has_own:
        (project / OWN_FOLDER).mkdir()
        (project / OWN_FOLDER / ".gitignore").write_text("*")
        (project / OWN_FOLDER).chmod(0o555)
    project.chmod(0o555)
    with pytest.raises(CliError, match=r"cannot write .*/p/\.swarm: Permission denied"):
        own_or_refuse(project)
    project.chmod(0o755)
    if has_own:
        (project / OWN_FOLDER).chmod(0o755)
    assert own_or_refuse(project) == project / OWN_FOLDER
