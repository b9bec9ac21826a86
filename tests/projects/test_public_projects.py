"""Projects as people have them, with packages of the public index, each by one command.

A project is a folder of tests/projects/public, copied, with the lock that uv makes of it, and
otherwise untouched. What it prints and leaves is compared with a run here, in an environment that
uv makes of the same files. They need the package index: `make test-projects`.
"""

import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from swarmnode.demo.launcher import LocalNode
from tests.integration.swarm_lab import swarm_of

PROJECTS = Path(__file__).parent / "public"
INDEX = os.environ.get("UV_DEFAULT_INDEX", os.environ.get("PIP_INDEX_URL", "https://pypi.org/"))
BINARIES = "files.pythonhosted.org"
FIRST_RUN_S = 900
"""With an environment to build, on a machine that has other things to do."""


class Project(msgspec.Struct, frozen=True):
    """One folder and what is run in it."""

    name: str
    argv: tuple[str, ...]
    result: str = ""
    """A file that it leaves; empty: none."""
    packages: tuple[str, ...] = ("pip", "install", "-r", "requirements.txt")
    """What uv is told to do, for the run here."""

    def __str__(self) -> str:
        return self.name


LOCKED = ("sync", "--frozen", "--no-install-project", "--active")
EACH = [
    Project("digits", ("python", "train.py", "--trees", "60"), "importance.npy", LOCKED),
    Project("words", ("python", "-m", "wordcount", "text.txt", "--top", "3")),
    Project("jax_line", ("python", "fit.py")),
    Project("text_rows", ("python", "prepare.py"), "long.jsonl"),
]


@pytest.fixture(scope="module")
def node() -> Iterator[LocalNode]:
    """One that has never seen any of them."""
    with swarm_of(1, STORAGE__MIN_FREE_GIB="1", **_reach()) as pool:
        yield pool.nodes[0]


def _reach() -> dict[str, str]:
    """Where the index is in a network of one's own, the owner has to say so."""
    hosts = dict.fromkeys((urlsplit(INDEX).hostname or "", BINARIES))
    try:
        told = {host: socket.getaddrinfo(host, 443)[0][4][0] for host in hosts}
    except OSError as exc:
        pytest.skip(f"the package index cannot be reached: {exc}")
    inside = [host for host, at in told.items() if not ipaddress.ip_address(at).is_global]
    return {"COMPUTE__NET_PRIVATE": ",".join(f"{host}:443" for host in inside)} if inside else {}


def _uv(folder: Path, *words: str, **settings: str) -> None:
    uv = str(Path(sys.executable).parent / "uv")
    env = {**os.environ, **settings}
    subprocess.run([uv, *words], cwd=folder, env=env, check=True, capture_output=True)


def _run(node: LocalNode, folder: Path, project: Project) -> tuple[str, str, float]:
    """What it printed and what was said of it; seconds from the command to the first line."""
    out = ("--out", project.result) if project.result else ()
    command = [sys.executable, "-m", "swarmnode.cli.main", "run", *out, "--", *project.argv]
    env = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    said = folder.parent / "said"
    began = time.monotonic()
    with (
        said.open("w") as stderr,
        subprocess.Popen(
            command, env=env, cwd=folder, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=stderr,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        first_s = time.monotonic() - began
        rest = process.stdout.read()
        code = process.wait(FIRST_RUN_S)
    assert code == 0, said.read_text()
    return first + rest, said.read_text(), first_s


def _locally(folder: Path, project: Project) -> str:
    """What the same command prints here."""
    place = folder.parent / "venv"
    env = {**os.environ, "VIRTUAL_ENV": str(place), "COLUMNS": "80"}
    _uv(folder, "venv", "--python", sys.executable, str(place))
    _uv(folder, *project.packages, VIRTUAL_ENV=str(place))
    argv = [str(place / "bin" / project.argv[0]), *project.argv[1:]]
    done = subprocess.run(argv, cwd=folder, env=env, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("project", EACH, ids=str)
def test_a_project_gives_what_it_gives_here_and_starts_at_once_the_second_time(
    project: Project, node: LocalNode, tmp_path: Path
) -> None:
    here, there = tmp_path / "here" / project.name, tmp_path / "there" / project.name
    shutil.copytree(PROJECTS / project.name, here)
    if project.packages == LOCKED:
        _uv(here, "lock", "--python", sys.executable)
    shutil.copytree(here, there)
    expected = _locally(here, project)
    printed, said, first_s = _run(node, there, project)
    assert printed == expected, said
    print(f"{project}: {first_s:.1f} s to the first line, all built")
    if project.result:
        assert (there / project.result).read_bytes() == (here / project.result).read_bytes()
    printed, said, first_s = _run(node, there, project)
    assert (printed, "installing" in said) == (expected, False), said
    print(f"{project}: {first_s:.2f} s to the first line, the second time")
