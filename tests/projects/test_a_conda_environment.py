"""A project's command in an environment of conda, packed or as it lies in its folder."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmnode.demo.launcher import LocalSwarm
from tests.conda_lab import PLACEHOLDER, make_prefix, pack
from tests.integration.swarm_lab import swarm_of
from tests.projects.test_packages_of_a_project import swarm


@pytest.fixture(scope="module")
def pool() -> Iterator[LocalSwarm]:
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1") as pool:
        yield pool


TOLD = "words of conda\n/env/share x\n"


def test_a_packed_environment_is_unpacked_once_and_its_tools_are_found_first(
    pool: LocalSwarm, tmp_path: Path
) -> None:
    node, folder = pool.nodes[0], tmp_path / "project"
    folder.mkdir()
    (folder / "input.txt").write_text("the project's\n")
    pack(make_prefix(tmp_path / "p", written=PLACEHOLDER), tmp_path / "lab.tar.gz")
    run = ("run", "--env", "../lab.tar.gz", "--")

    out, said = swarm(node, folder, *run, "tool")
    assert out == TOLD, said
    assert "conda environment lab.tar.gz, " in said

    began = time.monotonic()
    out, said = swarm(node, folder, *run, "sh", "-c", "tool; cat input.txt; echo $CONDA_PREFIX")
    print(f"second run: {time.monotonic() - began:.2f} s")
    assert (out, "unpacked" in said) == (f"{TOLD}the project's\n/env\n", False), said


def test_an_environment_in_a_folder_is_seen_where_it_is_here(
    pool: LocalSwarm, tmp_path: Path
) -> None:
    node, folder = pool.nodes[0], tmp_path / "project"
    folder.mkdir()
    (folder / "input.txt").write_text("the project's\n")
    prefix = make_prefix(tmp_path / "envs/lab")
    out, said = swarm(node, folder, "run", "--env", str(prefix), "--", "again")
    assert out == TOLD, said
    out, said = swarm(node, folder, "run", "--env", "../envs/lab", "--", str(prefix / "bin/tool"))
    assert (out, "unpacked" in said) == (TOLD, False), said

    other = make_prefix(tmp_path / "mac", subdir="osx-arm64")
    _, said = swarm(node, folder, "run", "--env", str(other), "--", "tool", code=2)
    assert "its packages are for osx-arm64" in said
