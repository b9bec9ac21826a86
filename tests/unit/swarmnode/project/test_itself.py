"""What programs are told of a project that nobody has installed: Python itself reads it here."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmnode.project.itself.about import Distribution, distributions_in, modules_in
from swarmnode.project.itself.files import files_of
from swarmnode.project.itself.version import UNKNOWN

BUILT = '[build-system]\nrequires = ["hatchling"]\n'
WHOLE = (
    BUILT
    + """
[project]
name = "My.Tool"
version = "1.2"
description = "Does it all,\\nat once"
requires-python = ">=3.9"
authors = [{name = "A. Person", email = "a@example.org"}, {name = "Ben"}]
dependencies = ["shapes>=1; python_version > '3'"]
[project.optional-dependencies]
test = ["words", "more; sys_platform == 'linux'"]
[project.scripts]
go = "my_tool.cli:main"
deep = "my_tool.cli:App.start [test]"
"../out" = "my_tool.cli:main"
broken = "my_tool"
[project.entry-points."my_tool.shapes"]
round = "my_tool.round:Round"
"""
)
CLI = "class App:\n    def start(): print('deep')\ndef main():\n    print('went'); return 7\n"

Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def of(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "p" / name).write_text(text)
        return tmp_path / "p"

    return of


def only(root: Path) -> Distribution:
    (one,) = distributions_in(root)
    return one


def seen(root: Path, code: str) -> str:
    """What Python prints that has the project beside it, as a task has."""
    told = list(distributions_in(root))
    for place, text, is_program in files_of(told):
        file = root.parent / "told" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if is_program else 0o644)
    path = [str(root.parent / "told/lib"), *(str(root / one.modules) for one in told)]
    env = {**os.environ, "PYTHONPATH": ":".join(path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_python_tells_of_it_what_it_would_tell_of_an_installed_one(write: Write) -> None:
    root = write({"pyproject.toml": WHOLE, "src/my_tool/cli.py": CLI, "src/my_tool/round.py": ""})
    code = (
        "from importlib import metadata as m\nd = m.distribution('my-tool')\n"
        "print(d.version, d.metadata['Name'], d.metadata['Summary'])\nprint(d.requires)\n"
        "print(d.metadata.get_all('Author-email'), d.metadata.get_all('Author'))\n"
        "print([e.value for e in m.entry_points(group='my_tool.shapes')], len(d.files))\n"
    )
    needs = ["shapes>=1; python_version > '3'", 'words; extra == "test"']
    needs.append("more; (sys_platform == 'linux') and extra == \"test\"")
    assert seen(root, code).splitlines() == [
        "1.2 My.Tool Does it all, at once",
        str(needs),
        "['A. Person <a@example.org>'] ['Ben']",
        "['my_tool.round:Round'] 4",
    ]


def test_its_scripts_call_what_they_name_and_give_back_its_code(write: Write) -> None:
    root = write({"pyproject.toml": WHOLE, "src/my_tool/cli.py": CLI})
    programs = {place: text for place, text, is_program in files_of([only(root)]) if is_program}
    assert sorted(programs) == ["bin/deep", "bin/go"], "neither one elsewhere nor one of nothing"
    (root / "go").write_text(programs["bin/go"])
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run([sys.executable, root / "go"], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (7, b"went\n")


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"tool/__init__.py": '__version__ = "2.1"\n'}, "2.1"),
        ({"tool/_version.py": "__version__ = version = '3.dev1+gabc'\n"}, "3.dev1+gabc"),
        ({"tool/__init__.py": "from importlib.metadata import version\nv = version('tool')"}, ""),
        ({"tool.egg-info/PKG-INFO": "Name: tool\nVersion: 4.0\n"}, "4.0"),
        (
            {
                ".venv/lib/python3.11/site-packages/tool-5.1.dist-info/METADATA": "Version: 5.1\n",
            },
            "5.1",
        ),
    ],
)
def test_a_dynamic_version_is_read_where_builders_write_it_or_said_to_be_unknown(
    write: Write, files: dict[str, str], version: str
) -> None:
    text = f'{BUILT}[project]\nname = "tool"\ndynamic = ["version"]\n'
    one = only(write({"pyproject.toml": text, "tool/__init__.py": "", **files}))
    assert one.version == (version or UNKNOWN)
    assert ("uv sync" in one.doubt) is (one.version == UNKNOWN)


@pytest.mark.parametrize(
    ("settings", "files", "version"),
    [
        (
            '[tool.hatch.version]\npath = "tool/about.py"',
            {"tool/about.py": 'VERSION = "1.1"'},
            "1.1",
        ),
        ('[tool.setuptools.dynamic]\nversion = {file = ["VERSION"]}', {"VERSION": "v1.3\n"}, "1.3"),
        (
            '[tool.setuptools.dynamic]\nversion = {attr = "tool.meta.__version__"}',
            {"tool/meta.py": '__version__: str = "1.4"\n'},
            "1.4",
        ),
        ('[tool.setuptools_scm]\nversion_file = "v.py"', {"v.py": "__version__ = '1.5'"}, "1.5"),
        (
            '[tool.hatch.version]\npath = "../outside.py"',
            {"../outside.py": 'VERSION = "6"'},
            UNKNOWN,
        ),
    ],
)
def test_a_builder_is_believed_where_it_says_its_version_is(
    write: Write, settings: str, files: dict[str, str], version: str
) -> None:
    text = f'{BUILT}[project]\nname = "tool"\ndynamic = ["version"]\n{settings}\n'
    one = only(write({"pyproject.toml": text, "tool/__init__.py": "", **files}))
    assert one.version == version


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("tag", "version", "next_one"),
    [("v1.2.3", "1.2.3", "1.2.4"), ("tool-2.0", "2.0", "2.1"), ("1.0rc1", "1.0rc1", "1.0rc2")],
)
def test_a_version_that_is_made_of_tags_is_that_of_the_newest_one(
    write: Write, tag: str, version: str, next_one: str
) -> None:
    text = BUILT.replace('"hatchling"', '"hatchling", "hatch-vcs"')
    text += '[project]\nname = "tool"\ndynamic = ["version"]\n'
    root = write({"pyproject.toml": text, "tool/__init__.py": ""})
    git(root, "init", "-q")
    assert only(root).version == UNKNOWN
    git(root, "commit", "-q", "--allow-empty", "-m", "one")
    assert only(root).version == UNKNOWN
    git(root, "tag", tag)
    git(root, "tag", "of-no-number")
    assert only(root).version == version
    git(root, "commit", "-q", "--allow-empty", "-m", "two")
    commit = git(root, "rev-parse", "--short=7", "HEAD").strip()
    assert only(root).version == f"{next_one}.dev1+g{commit}"
    (root / "pyproject.toml").write_text(text.replace(', "hatch-vcs"', ""))
    assert only(root).version == UNKNOWN, "of another builder nobody knows what it does"


def test_poetrys_and_setuptools_older_words_are_understood(write: Write) -> None:
    poetry = (
        '[tool.poetry]\nname="tool"\nversion="0.3"\n[tool.poetry.dependencies]\npython="^3.9"\n'
    )
    poetry += '[tool.poetry.scripts]\ngo="tool:main"\nfile={reference="x.sh",type="file"}\n'
    poetry += '[tool.poetry.plugins."a.b"]\nx="tool:x"\n'
    one = only(write({"pyproject.toml": BUILT + poetry, "tool/__init__.py": ""}))
    assert (one.name, one.version, one.entries["a.b"]) == ("tool", "0.3", {"x": "tool:x"})
    assert [place for place, _, is_program in files_of([one]) if is_program] == ["bin/go"]


def test_setup_cfg_is_read_too(write: Write) -> None:
    text = "[metadata]\nname = tool\nversion = attr: tool.__version__\n[options.entry_points]\n"
    text += "console_scripts =\n    Go = tool:main\n    other=tool:main\n"
    one = only(write({"setup.cfg": text, "tool/__init__.py": '__version__ = "0.4"\n'}))
    assert one.version == "0.4"
    assert one.entries["console_scripts"] == {"Go": "tool:main", "other": "tool:main"}


def test_the_members_of_a_workspace_that_its_lock_installs_are_there(write: Write) -> None:
    lock = "".join(
        f'[[package]]\nname = "x"\nsource = {{ editable = "{place}" }}\n'
        for place in (".", "packages/part", "../outside")
    )
    part = f'{BUILT}[project]\nname = "part"\nversion = "2"\n'
    root = write(
        {
            "pyproject.toml": WHOLE,
            "src/my_tool/__init__.py": "",
            "uv.lock": lock,
            "packages/part/pyproject.toml": part,
            "packages/part/src/part/__init__.py": "",
            "../outside/pyproject.toml": part,
            "../outside/src/part/__init__.py": "",
        }
    )
    told = [(one.name, one.modules) for one in distributions_in(root)]
    assert told == [("My.Tool", "src"), ("part", "packages/part/src")]


def test_folders_that_requirements_name_as_editable_are_there(write: Write) -> None:
    part = f'{BUILT}[project]\nname = "part"\nversion = "2"\n'
    lines = "-e ./libs/part[extra]  # ours\n-e git+https://x.example/y\n-e ../z\n-e nowhere\n-e .\n"
    root = write(
        {
            "requirements.txt": lines,
            "libs/part/pyproject.toml": part,
            "libs/part/part/__init__.py": "",
            "../z/pyproject.toml": part,
            "../z/part/__init__.py": "",
        }
    )
    assert [(one.name, one.modules) for one in distributions_in(root)] == [("part", "libs/part")]


@pytest.mark.parametrize(
    "text",
    [
        '[project]\nname = "tool"\nversion = "1"\n',
        f'{BUILT}[project]\nname = "tool"\nversion = "1"\n[tool.uv]\npackage = false\n',
        f'{BUILT}[tool.poetry]\nname = "tool"\nversion = "1"\npackage-mode = false\n',
        f'{BUILT}[project]\nname = "no name\\n"\nversion = "1"\n',
    ],
)
def test_what_nobody_would_install_is_not_told_of(write: Write, text: str) -> None:
    assert not list(distributions_in(write({"pyproject.toml": text, "tool/__init__.py": ""})))


@pytest.mark.parametrize(
    ("settings", "files", "place"),
    [
        ('[tool.setuptools.package-dir]\n"" = "lib"', ["lib/tool/__init__.py"], "lib"),
        ('[tool.setuptools.packages.find]\nwhere = ["lib"]', ["lib/tool/__init__.py"], "lib"),
        ('[[tool.poetry.packages]]\ninclude = "tool"\nfrom = "py"', ["py/tool/a.py"], "py"),
        ('[tool.maturin]\npython-source = "python"', ["python/tool/a.py"], "python"),
        (
            '[tool.hatch.build.targets.wheel]\npackages = ["lib/tool"]',
            ["lib/tool/__init__.py"],
            "lib",
        ),
        ('[tool.hatch.build.targets.wheel]\npackages = ["tool"]', ["tool/__init__.py"], ""),
        ("[tool.uv]\npackage = true", ["tool.py"], ""),
    ],
)
def test_modules_are_where_its_builder_is_told_that_they_are(
    write: Write, settings: str, files: list[str], place: str
) -> None:
    text = f'{BUILT}[project]\nname = "tool"\n{settings}\n'
    assert modules_in(write({"pyproject.toml": text, **dict.fromkeys(files, "")})) == place


def test_a_setup_cfg_may_have_colons_and_names_of_any_case(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text("from setuptools import setup\nsetup()\n")
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes/__init__.py").touch()
    (tmp_path / "setup.cfg").write_text(
        "[metadata]\nName: shapes\nversion = 1.2\n[flake8]\nmax-line-length: 100\n"
        "[options.entry_points]\nMy.Group =\n    One = shapes:one\n"
    )
    (made,) = distributions_in(tmp_path)
    assert (made.name, made.version) == ("shapes", "1.2")
    assert made.entries["My.Group"] == {"One": "shapes:one"}


@pytest.mark.parametrize(
    "table",
    ['[tool.poetry]\npackages = ["x"]\n', '[tool.setuptools.packages.find]\nwhere = "src"\n'],
)
def test_what_a_builder_would_refuse_is_passed_over(tmp_path: Path, table: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[build-system]\n[project]\nname = 'x'\n{table}")
    assert list(distributions_in(tmp_path)) == []
