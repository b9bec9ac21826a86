"""Files that name packages for other programs and are not read here: which, and what to do."""

import configparser
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from swarmnode.project.environment.texts import table_in, text_of
from swarmnode.project.root import PROJECT_FILE

_CONDA: Final = (
    "{0} is not read: pack the environment that conda made of it (conda-pack -n NAME) and name it, "
    "--env NAME.tar.gz, or its folder"
)
_POETRY: Final = (
    "{0} is not read: poetry export -f requirements.txt -o requirements.txt writes what is "
    "(poetry self add poetry-plugin-export)"
)
_SETUP: Final = (
    "{0} is not read, for it would have to be run: write what it needs into requirements.txt, or "
    "as dependencies into [project] of pyproject.toml"
)
_PIPENV: Final = "{0} is not read: pipenv requirements > requirements.txt writes what is"
_PDM: Final = "{0} is not read: pdm export -o requirements.txt writes what is"
_DYNAMIC: Final = (
    "{0} leaves its dependencies to what builds it (dynamic), and is not read: name the file that "
    "has them, --env FILE, or write them into [project]"
)
_BY_NAME: Final = {
    "environment.yml": _CONDA,
    "environment.yaml": _CONDA,
    "conda-lock.yml": _CONDA,
    "pixi.lock": _CONDA,
    "poetry.lock": _POETRY,
    "Pipfile.lock": _PIPENV,
    "Pipfile": _PIPENV,
    "pdm.lock": _PDM,
    "setup.cfg": _SETUP,
    "setup.py": _SETUP,
}
"""In the order in which one of several is named."""
_NEEDS: Final = re.compile(r"\binstall_requires\b")


def remedy_for(file: Path) -> str:
    """What to do about a file that was named; empty: it is none of these. Raises ProjectError."""
    if file.name == PROJECT_FILE:
        return _POETRY.format(f"[tool.poetry] of {PROJECT_FILE}")
    words = _BY_NAME.get(file.name, _CONDA if file.suffix in (".yml", ".yaml") else "")
    return words.format(file.name)


def passed_over(root: Path) -> str:
    """What lies in a project and is not read, where nothing that is read names packages.

    Empty: nothing names any. Raises ProjectError.
    """
    table = table_in(root / PROJECT_FILE)
    if is_of_poetry(table):
        return remedy_for(root / PROJECT_FILE)
    if _is_dynamic(table):
        return _DYNAMIC.format(PROJECT_FILE)
    return next((remedy_for(file) for file in _others_in(root)), "")


def beside(file: Path) -> str:
    """Another program's lock beside the file that is read: its versions do not count."""
    if file.name != PROJECT_FILE:
        return ""
    locks = (file.parent / name for name in ("poetry.lock", "pdm.lock"))
    return next((remedy_for(lock) for lock in locks if lock.is_file()), "")


def is_of_poetry(table: Mapping[str, Any]) -> bool:
    """Whether a pyproject.toml has packages in the way that only Poetry knows."""
    tool = table.get("tool")
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    wanted = poetry.get("dependencies") if isinstance(poetry, dict) else None
    return isinstance(wanted, dict) and any(name.lower() != "python" for name in wanted)


def _is_dynamic(table: Mapping[str, Any]) -> bool:
    project = table.get("project")
    dynamic = project.get("dynamic") if isinstance(project, dict) else None
    return isinstance(dynamic, list) and "dependencies" in dynamic


def _others_in(root: Path) -> Iterator[Path]:
    for name, words in _BY_NAME.items():
        file = root / name
        if file.is_file() and (words is not _SETUP or _names_packages(file)):
            yield file


def _names_packages(file: Path) -> bool:
    """Many a setup.py and setup.cfg has settings of tools only."""
    if file.suffix == ".py":
        return _NEEDS.search(text_of(file)) is not None
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text_of(file))
    except configparser.Error:
        return False  # whose setup.cfg that is will say what is wrong with it
    return parser.has_option("options", "install_requires")
