"""Projects that name packages, run by one command on a node that has never seen them.

The packages are small wheels that the test makes, in a folder that pip's settings name; what comes
out is compared with what the project's own Python gives here.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarmnode.demo.launcher import LocalNode, LocalSwarm
from swarmnode.demo.report import until
from tests.integration.swarm_lab import swarm_of
from tests.wheel_lab import make_wheel

SHAPES = {"shapes/__init__.py": "def area(a, b):\n    return a * b\n"}
WORDS = {
    "words/__init__.py": "from shapes import area\n",
    "words/tool.py": "import sys, words\ndef main():\n    print(words.area(6, 7), sys.argv[1:])\n",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "wheels"
    make_wheel(folder, "shapes", "1.2", SHAPES)
    make_wheel(folder, "words", "0.3", WORDS, script="words=words.tool:main", needs=("shapes>=1",))
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    return folder


@pytest.fixture(scope="module")
def pool(wheels: Path) -> Iterator[LocalSwarm]:
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    with pytest.MonkeyPatch.context() as patch:
        for key in [key for key in os.environ if key.startswith(("PIP_", "UV_"))]:
            patch.delenv(key)
        for key, value in settings.items():
            patch.setenv(key, value)
        with swarm_of(2, STORAGE__MIN_FREE_GIB="1") as swarm:
            yield swarm


@pytest.fixture
def node(pool: LocalSwarm) -> LocalNode:
    return pool.nodes[0]


def swarm(
    node: LocalNode, cwd: Path, *words: str, code: int = 0, limit_s: int = 180
) -> tuple[str, str]:
    """What a command prints: stdout and stderr; it must end with the code."""
    env = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "swarmnode.cli.main", *words]
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        input="",
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def locally(folder: Path, wheels: Path, *argv: str) -> str:
    """What the same command prints here."""
    path = ":".join(map(str, [*wheels.glob("*.whl"), folder / "src"]))
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_requirements_project_is_built_for_once_and_then_starts_at_once(
    pool: LocalSwarm, node: LocalNode, wheels: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "requirements-project"
    folder.mkdir()
    (folder / "requirements.txt").write_text("words  # brings shapes\n")
    (folder / "train.py").write_text("import words, shapes\nprint(words.area(3, 4))\n")
    out, said = swarm(node, folder, "run", "--dry-run", "--", "python", "train.py")
    assert "environment of requirements.txt: 2 packages, CPython 3.11; it is built once" in said
    assert any(f"it would be built on {one.name}" in said for one in pool.nodes), said

    out, said = swarm(node, folder, "run", "--", "python", "train.py")
    assert out == locally(folder, wheels, "train.py") == "12\n"
    assert "installing packages" in said

    began = time.monotonic()
    out, said = swarm(node, folder, "run", "--", "python", "train.py")
    assert (out, "installing" in said) == ("12\n", False)
    print(f"second run: {time.monotonic() - began:.2f} s")

    kept = "/api/v1/environments"
    until(lambda: node.client.get(kept)[0]["warm"], within_s=60, what="an advert of it")
    _, said = swarm(node, folder, "run", "--dry-run", "--", "python", "train.py")
    assert re.search(r"MiB, on \d machines?: \w+", said), said

    out, _ = swarm(node, folder, "run", "--", "words", "a")
    assert out == "42 ['a']\n", "a console script of a package"

    elsewhere = tmp_path / "of-another"
    elsewhere.mkdir()
    (elsewhere / "requirements.txt").write_text("words\n")
    (elsewhere / "train.py").write_text("import words\nprint(words.area(1, 2))\n")
    out, said = swarm(pool.nodes[1], elsewhere, "run", "--", "python", "train.py")
    assert (out, "installing" in said) == ("2\n", False), "what one has built all of the lab use"

    out, _ = swarm(node, folder, "env", "ls", "-o", "jsonl")
    assert '"source": "requirements.txt"' in out
    assert len(out.splitlines()) == 1

    _, said = swarm(node, folder, "run", "--", "python", "-c", "import nothing_of_it", code=1)
    assert "the environment has no nothing_of_it: name what brings it" in said

    _, said = swarm(node, folder, "run", "--", "python", "-m", "pip", "install", "x", code=1)
    assert "an environment is not changed by tasks: name the package in the file" in said
    _, said = swarm(node, folder, "run", "--", "uv", "run", "train.py", code=127)
    assert "no program uv there, and none is needed" in said

    _, said = swarm(node, folder, "run", "--env", "none", "--", "python3", "train.py", code=1)
    assert "no environment: the machine's own programs" in said


def test_a_package_with_its_modules_in_src_runs_as_a_module(
    node: LocalNode, wheels: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "package-project"
    (folder / "src/tool").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "tool"\nversion = "1"\nrequires-python = ">=3.9"\n'
        'dependencies = ["shapes"]\n'
    )
    (folder / "src/tool/__main__.py").write_text("import shapes\nprint(shapes.area(5, 5))\n")
    out, _ = swarm(node, folder, "run", "--", "python", "-m", "tool")
    assert out == locally(folder, wheels, "-m", "tool") == "25\n"
    out, said = swarm(node, folder, "run", "--", "python", "-m", "tool")
    assert (out, "installing" in said) == ("25\n", False)


ITSELF = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "itself"
version = "{version}"
dependencies = ["shapes"]
[project.scripts]
say-area = "itself.cli:main"
[project.entry-points."shapes.plugins"]
square = "itself.cli:square"
"""
CLI = """\
import os, shapes, subprocess, sys
from importlib import metadata
def square(a):
    return shapes.area(a, a)
def main():
    (found,) = metadata.entry_points(group="shapes.plugins")
    print(metadata.version("itself"), found.load()(int(sys.argv[1])), os.listdir("."))
    if len(sys.argv) > 2:
        subprocess.run(["say-area", "4"])
    return int(sys.argv[1])
"""


def test_the_scripts_and_plugins_of_a_project_are_there_as_if_it_were_installed(
    node: LocalNode, tmp_path: Path
) -> None:
    folder = tmp_path / "itself-project"
    (folder / "src/itself").mkdir(parents=True)
    (folder / "inner").mkdir()
    (folder / "inner/a").touch()
    (folder / "src/itself/cli.py").write_text(CLI)
    (folder / "pyproject.toml").write_text(ITSELF.format(version="1.5"))
    swarm(node, folder, "env", "build")
    out, _ = swarm(node, folder / "inner", "run", "--", "say-area", "3", "again", code=3)
    assert out == "1.5 9 ['a']\n1.5 16 ['a']\n"
    (folder / "pyproject.toml").write_text(ITSELF.format(version="1.6"))
    out, said = swarm(node, folder, "run", "--out", ".", "--", "say-area", "0")
    assert out.startswith("1.6 0 "), "its folder as it is now"
    assert "installing" not in said, "in the environment that there is"
    assert ".swarm" not in out + said, "which is no part of what it leaves"


def test_a_script_that_names_its_packages_needs_no_other_file(
    node: LocalNode, tmp_path: Path
) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    needs = "# /// script\n# requires-python = '>=3.9'\n# dependencies = ['shapes']\n# ///\n"
    (folder / "area.py").write_text(f"{needs}import shapes\nprint(shapes.area(3, 3))\n")
    out, said = swarm(node, folder, "run", "--", "python", "area.py")
    assert "environment of area.py: 1 package" in said
    assert out == "9\n"


def test_a_package_beside_its_scripts_and_tests_is_found_by_them(
    node: LocalNode, tmp_path: Path
) -> None:
    folder = tmp_path / "flat-project"
    for name in ("tool", "scripts"):
        (folder / name).mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "tool"\nversion = "1"\n'
    )
    (folder / "tool/__init__.py").write_text("eight = 8\n")
    (folder / "scripts/go.py").write_text("import tool\nprint(tool.eight)\n")
    out, said = swarm(node, folder, "run", "--", "python3", "scripts/go.py")
    assert out == "8\n", said
    (folder / "src").mkdir()
    (folder / "tool").rename(folder / "src/tool")
    out, said = swarm(node, folder, "run", "--", "python3", "scripts/go.py")
    assert out == "8\n", "without any package, too"


def test_an_environment_is_built_by_hand_and_forgotten(node: LocalNode, tmp_path: Path) -> None:
    folder = tmp_path / "by-hand"
    folder.mkdir()
    _, said = swarm(node, folder, "env", "build", code=2)
    assert "nothing here says which packages it needs" in said
    (folder / "dev.in").write_text("words\n")
    out, _ = swarm(node, folder, "env", "build", "dev.in")
    key = out.strip()
    assert swarm(node, folder, "env", "rm", key)[0].split()[-1] == "yes"
    assert key not in swarm(node, folder, "env", "ls")[0]
    _, said = swarm(node, folder, "env", "rm", key, code=5)
    assert "no environment of that key" in said


def test_what_cannot_be_had_is_said_before_anything_is_sent(
    node: LocalNode, tmp_path: Path
) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "requirements.txt").write_text("shapse\n")
    _, said = swarm(node, folder, "run", "--", "python", "-V", code=2)
    assert "requirements.txt cannot be resolved" in said
    assert "shapse" in said
    assert "sending" not in said


def test_a_dry_run_says_beforehand_that_nobody_can_build(node: LocalNode, tmp_path: Path) -> None:
    folder = tmp_path / "of-tomorrow"
    folder.mkdir()
    (folder / "requirements.txt").write_text("shapes\n")
    (folder / ".python-version").write_text("3.20\n")
    _, said = swarm(node, folder, "run", "--dry-run", "--", "python", "-V", code=75)
    assert "no machine would build it now: no machine can run this: has no CPython 3.20" in said
    assert "Machines have CPython 3.11" in said


def test_who_tried_to_build_what_only_this_machine_has_is_named(
    pool: LocalSwarm, node: LocalNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "own-wheels", "alone", "1.0", {"alone/__init__.py": ""})
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "own-wheels"))
    folder = tmp_path / "of-own"
    folder.mkdir()
    (folder / "requirements.txt").write_text("alone\n")
    _, said = swarm(node, folder, "run", "--", "python", "-V", code=65)
    assert "environment of requirements.txt: 1 package, CPython" in said
    last = said.splitlines()[-1]
    assert all(other.name in last for other in pool.nodes), last
    assert "cannot reach the index or folder where these packages are" in last


def test_two_runs_at_once_have_what_both_need_built_once(
    node: LocalNode, wheels: Path, tmp_path: Path
) -> None:
    make_wheel(wheels, "twice", "1.0", {"twice/__init__.py": "four = 4\n"})
    folder = tmp_path / "at-once"
    folder.mkdir()
    (folder / "requirements.txt").write_text("twice\n")
    (folder / "train.py").write_text("import twice\nprint(twice.four)\n")
    with ThreadPoolExecutor() as pool_of_two:
        runs = [
            pool_of_two.submit(swarm, node, folder, "run", "--", "python", "train.py")
            for _ in range(2)
        ]
        told = [run.result() for run in runs]
    assert [out for out, _ in told] == ["4\n", "4\n"]
    assert sorted("it is being built already" in said for _, said in told) == [False, True]
    rows = node.client.get("/api/v1/tasks")
    done = [row["name"] for row in rows if row["state"] == "done"]
    built = [name for name in done if name.startswith("environment of ")]
    assert len(built) == len(set(built)), "each of them once"


def test_who_leaves_during_a_build_is_not_told_that_it_failed(
    node: LocalNode, wheels: Path, tmp_path: Path
) -> None:
    make_wheel(wheels, "unread", "1.0", {"unread/__init__.py": ""})
    folder = tmp_path / "unread"
    folder.mkdir()
    (folder / "requirements.txt").write_text("unread\n")
    command = [sys.executable, "-m", "swarmnode.cli.main", "run", "--", "python", "-V"]
    env = {**os.environ, "SWARM_API": str(node.client.socket_path), "HOME": "/nonexistent"}
    reader, writer = os.pipe()
    os.close(reader)  # as of `| head -0`
    done = subprocess.run(
        command, env=env, cwd=folder, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.returncode == 141, done.stderr
    assert "nobody reads its output" in done.stderr
    assert "could not be built" not in done.stderr
