"""What `swarm run` says of the files that name packages, before it asks any node."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmnode.cli.main import run
from tests.wheel_lab import make_wheel

Said = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without anything in it; the only packages there are lie in a folder."""
    for key in [key for key in os.environ if key.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(key)
    make_wheel(tmp_path / "wheels", "shapes", "1.2", {"shapes.py": "x = 1\n"})
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SWARM_API", str(tmp_path / "nobody.sock"))
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    project = tmp_path / "digits"
    project.mkdir()
    (project / "train.py").write_text("print(1)\n")
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What a run prints on stderr: 3 is no node, 2 refused before one was looked for."""

    def of(*words: str, code: int) -> str:
        assert run(["run", "-n", *(words or ("--", "python", "train.py"))]) == code
        return capsys.readouterr().err

    return of


POETRY = '[tool.poetry.dependencies]\npython = "^3.11"\nshapes = "*"\n'
SETUP = "from setuptools import setup\nsetup(install_requires=['shapes'])\n"


@pytest.mark.parametrize(
    ("name", "text", "helps"),
    [
        ("environment.yml", "dependencies: [numpy]\n", "conda-pack -n NAME"),
        ("pyproject.toml", POETRY, "[tool.poetry] of pyproject.toml is not read: poetry export"),
        ("pyproject.toml", "[project]\nname='x'\ndynamic=['dependencies']\n", "(dynamic)"),
        ("poetry.lock", "", "poetry.lock is not read: poetry export"),
        ("Pipfile", "", "pipenv requirements > requirements.txt"),
        ("setup.py", SETUP, "setup.py is not read, for it would have to be run"),
        ("setup.cfg", "[options]\ninstall_requires = shapes\n", "setup.cfg is not read"),
    ],
)
def test_a_file_that_is_not_read_is_named_with_what_to_do(
    folder: Path, said: Said, name: str, text: str, helps: str
) -> None:
    (folder / name).write_text(text)
    assert helps in said(code=3).splitlines()[0]
    line = said("--", "make", code=3).splitlines()[0]
    assert line.startswith("no environment: the machine's own programs; ")
    assert helps in line


def test_what_names_no_packages_is_not_spoken_of(folder: Path, said: Said) -> None:
    (folder / "setup.py").write_text("from setuptools import setup\nsetup()\n")
    (folder / "setup.cfg").write_text("[flake8]\nmax-line-length = 100\n")
    (folder / "pyproject.toml").write_text("[tool.poetry.dependencies]\npython = '^3.11'\n")
    line = said("--", "make", code=3).splitlines()[0]
    assert line == "no environment: the machine's own programs"


@pytest.mark.parametrize(
    ("name", "helps"),
    [("environment.yml", "conda-pack"), ("poetry.lock", "poetry export"), ("setup.py", "not read")],
)
def test_one_that_is_named_is_refused_with_the_same_words(
    folder: Path, said: Said, name: str, helps: str
) -> None:
    (folder / name).write_text("")
    assert helps in said("--env", name, "--", "true", code=2)


def test_poetrys_lock_beside_a_project_that_is_read_does_not_count_which_is_said(
    folder: Path, said: Said
) -> None:
    (folder / "pyproject.toml").write_text(
        "[project]\nname='x'\nversion='1'\ndependencies=['shapes']\n"
    )
    (folder / "poetry.lock").write_text("")
    assert "poetry.lock is not read: poetry export" in said(code=3)


LOCKED = """\
version = 1
requires-python = ">=3.9"

[[package]]
name = "digits"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "shapes" }]

[package.metadata]
requires-dist = [{ name = "shapes" }]

[[package]]
name = "shapes"
version = "1.2"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.pythonhosted.org/s/shapes-1.2-py3-none-any.whl", hash = "HASH" }]
""".replace("HASH", f"sha256:{'0' * 64}")
ASKS = "[project]\nname='digits'\nversion='1'\nrequires-python='>=3.9'\ndependencies=['shapes']\n"


def test_a_uv_lock_that_is_older_than_what_its_project_asks_for_is_refused(
    folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "uv.lock").write_text(LOCKED)
    (folder / "pyproject.toml").write_text(ASKS)
    assert "could not be compared" not in said(code=3)
    (folder / "pyproject.toml").write_text(ASKS.replace("'shapes'", "'shapes', 'words'"))
    refused = said(code=2)
    assert "uv.lock is older than what pyproject.toml asks for now: uv lock brings" in refused
    (folder / "pyproject.toml").write_text(ASKS.replace("'shapes'", "'shapes>=2'"))
    assert "uv.lock is older" in said(code=2)
    monkeypatch.setenv("UV_FROZEN", "1")
    assert "uv.lock is" not in said(code=3)
    monkeypatch.delenv("UV_FROZEN")
    assert "uv.lock is older" in said(code=2), "what was taken as it is then, is not now"


def test_where_a_lock_cannot_be_compared_that_is_said_and_it_is_taken(
    folder: Path, said: Said
) -> None:
    wants = ">=3.99"
    (folder / "uv.lock").write_text(LOCKED.replace(">=3.9", wants))
    (folder / "pyproject.toml").write_text(ASKS.replace(">=3.9", wants))
    (folder / ".python-version").write_text("3.11\n")
    assert "uv.lock could not be compared with pyproject.toml, and is taken as it is: " in said(
        code=3
    )


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        ("# ä\nnumpy=>1.2\n", "requirements.txt, line 2: 'numpy=>1.2' is no requirement: no such"),
        ("six 1.17\n", "requirements.txt, line 1: 'six 1.17' is no requirement: Expected one of"),
        (
            "six\n<<<<<<< HEAD\n",
            "line 2: '<<<<<<< HEAD' is no requirement: it is left from a merge",
        ),
        ("-r more.txt\n", "more.txt, line 1: 'words=>1' is no requirement"),
        ("shapes==9.9\n", "the index has no such version of it"),
        ("shapse\n", "is its name spelt as the index has it?"),
    ],
)
def test_what_is_wrong_in_a_requirements_file_is_said_with_its_line(
    folder: Path, said: Said, text: str, helps: str
) -> None:
    (folder / "requirements.txt").write_text(text, encoding="utf-8")
    (folder / "more.txt").write_text("words=>1\n")
    assert helps in said(code=2)


def test_what_is_wrong_in_a_pyproject_is_no_package_without_a_wheel(
    folder: Path, said: Said
) -> None:
    (folder / "pyproject.toml").write_text(ASKS.replace("'shapes'", "'shapes', 'six=>1'"))
    refused = said(code=2)
    assert "pyproject.toml: 'six=>1' is no requirement: no such comparison operator" in refused
    assert "--allow-build" not in refused


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_list_that_powershell_wrote_is_read(folder: Path, said: Said, encoding: str) -> None:
    (folder / "requirements.txt").write_text("shapes==1.2\r\n", encoding=encoding)
    said(code=3)
    (kept,) = (folder / ".swarm").glob("environment-*.txt")
    assert "shapes==1.2 --hash" in kept.read_text()


def test_a_list_that_is_no_text_is_refused_with_its_line(folder: Path, said: Said) -> None:
    (folder / "requirements.txt").write_bytes(b"shapes\n# gr\xfc\xdfe\n")
    assert "requirements.txt cannot be read: line 2 is not UTF-8" in said(code=2)


SCRIPT = "# /// script\n# requires-python = '>=3.9'\n# dependencies = ['shapes']\n# ///\n"


def test_a_script_that_says_what_it_needs_is_asked_before_the_project(
    folder: Path, said: Said
) -> None:
    (folder / "requirements.txt").write_text("no-such-package\n")
    (folder / "train.py").write_text(f"#!/usr/bin/env python3\n{SCRIPT}import shapes\n")
    said(code=3)
    (kept,) = (folder / ".swarm").glob("environment-*.txt")
    assert "shapes==1.2 --hash" in kept.read_text()
    (folder / "train.py").write_text(f"{SCRIPT}import shapes, os\n")
    said(code=3)
    assert [kept] == list((folder / ".swarm").glob("environment-*.txt")), (
        "the program, not its needs"
    )
    assert "no-such-package" in said("--env", "requirements.txt", "--", "true", code=2)
    (folder / "train.py").write_text(SCRIPT.replace("shapes", "shapes=>1"))
    assert "no such comparison operator" in said(code=2)


def test_a_misspelt_file_is_refused_with_what_was_meant(folder: Path, said: Said) -> None:
    (folder / "requirements.txt").write_text("shapes\n")
    line = said("--env", "requirments.txt", "--", "python", "train.py", code=2)
    assert "there is no such file in" in line
    assert "did you mean requirements.txt?" in line


PARTS = """\
[project]
name = 'digits'
version = '1'
dependencies = ['shapes']
[project.optional-dependencies]
plots = ['words']
[dependency-groups]
dev = ['checks']
docs = ['pages']
"""


def wanted_in(folder: Path) -> set[str]:
    """The packages of the lock that was made last; there is no other one after this."""
    (kept,) = (folder / ".swarm").glob("environment-*.txt")
    names = {line.partition("==")[0] for line in kept.read_text().splitlines()[1:]}
    kept.unlink()
    return names


@pytest.fixture
def with_parts(folder: Path) -> Path:
    for name in ("words", "checks", "pages"):
        make_wheel(folder.parent / "wheels", name, "1", {f"{name}.py": ""})
    (folder / "pyproject.toml").write_text(PARTS)
    return folder


def test_extras_and_groups_are_there_as_with_uv_dev_unasked(with_parts: Path, said: Said) -> None:
    said(code=3)
    assert wanted_in(with_parts) == {"shapes", "checks"}
    said("--extra", "plots", "--group", "docs", "--", "true", code=3)
    assert wanted_in(with_parts) == {"shapes", "checks", "words", "pages"}
    (with_parts / "pyproject.toml").write_text(f"{PARTS}[tool.swarm]\nextras = ['plots']\n")
    said("--group", "docs", "--", "true", code=3)
    assert wanted_in(with_parts) == {"shapes", "checks", "words", "pages"}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ("default-groups = []", {"shapes"}),
        ("default-groups = ['docs']", {"shapes", "pages"}),
        ("default-groups = 'all'", {"shapes", "checks", "pages"}),
    ],
)
def test_the_groups_that_are_there_unasked_are_those_of_uvs_settings(
    with_parts: Path, said: Said, settings: str, names: set[str]
) -> None:
    (with_parts / "pyproject.toml").write_text(f"{PARTS}[tool.uv]\n{settings}\n")
    said(code=3)
    assert wanted_in(with_parts) == names


def test_uvs_variable_leaves_the_groups_out_that_nobody_asked_for(
    with_parts: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_NO_DEV", "1")
    said("--group", "docs", "--", "true", code=3)
    assert wanted_in(with_parts) == {"shapes", "pages"}


def test_a_project_that_names_tools_only_has_them(with_parts: Path, said: Said) -> None:
    text = "[project]\nname='digits'\nversion='1'\n[dependency-groups]\ndev=['checks']\n"
    (with_parts / "pyproject.toml").write_text(text)
    assert "no environment" not in said(code=3)
    assert wanted_in(with_parts) == {"checks"}


def test_extras_and_groups_that_there_are_not_are_refused(with_parts: Path, said: Said) -> None:
    assert "extra not found: nope" in said("--extra", "nope", "--", "true", code=2)
    assert "group 'nope' was not found" in said("--group", "nope", "--", "true", code=2)
    assert "--env none has neither" in said(
        "--env", "none", "--extra", "plots", "--", "true", code=2
    )
    (with_parts / "requirements.txt").write_text("shapes\n")
    refused = said("--extra", "plots", "--", "true", code=2)
    assert "requirements.txt has neither extras nor groups" in refused
    assert "(--env pyproject.toml)" in refused
    (with_parts / "pyproject.toml").write_text(f"{PARTS}[tool.swarm]\nextras = 'plots'\n")
    assert "extras is a list of names" in said(code=2)


def test_a_uv_lock_has_the_group_dev_unless_it_is_not_wanted(
    folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = LOCKED[LOCKED.rindex("[[package]]") :].replace("shapes", "checks")
    listed = 'dependencies = [{ name = "shapes" }]\n'
    dev = '[package.dev-dependencies]\ndev = [{ name = "checks" }]\n'
    told = 'requires-dist = [{ name = "shapes" }]\n'
    of_dev = '[package.metadata.requires-dev]\ndev = [{ name = "checks" }]\n'
    text = LOCKED.replace(listed, listed + dev).replace(told, told + of_dev)
    head, _, last = text.rpartition("[[package]]")
    (folder / "uv.lock").write_text(f"{head}{checks}\n[[package]]{last}")
    (folder / "pyproject.toml").write_text(f"{ASKS}[dependency-groups]\ndev = ['checks']\n")
    said(code=3)
    assert wanted_in(folder) == {"shapes", "checks"}
    monkeypatch.setenv("UV_NO_DEFAULT_GROUPS", "1")
    said(code=3)
    assert wanted_in(folder) == {"shapes"}
