"""Where a project begins, and what its pyproject.toml says of us. Blocking."""

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.project.rules import IGNORE_FILE
from swarmnode.tree.names import Parts, text_of

PROJECT_FILE: Final = "pyproject.toml"
_MARKS: Final = (PROJECT_FILE, "uv.lock", "pylock.toml", "requirements.txt", IGNORE_FILE, ".git")
"""A folder with one of these is a project; the nearest above the one we stand in counts."""


class Project(msgspec.Struct, frozen=True):
    """One project, as seen from a folder of it."""

    root: Path
    within: Parts
    """The folder we stand in, from the root; the program is started there."""
    is_marked: bool
    """Something there says that it is a project."""
    settings: dict[str, Any]
    """[tool.swarm] of its pyproject.toml: what a spec may say, as defaults."""


def project_of(folder: Path, home: Path) -> Project:
    """The project around a folder: without any mark the folder itself.

    Never the user's home folder or one above it. Raises ProjectError.
    """
    here = folder.resolve()
    around = [place for place in (here, *here.parents) if not home.resolve().is_relative_to(place)]
    if not around:
        raise ProjectError(
            f"{text_of(bytes(here))} is no project but holds your home folder: cd into the project"
        )
    marked = next((place for place in around if _is_marked(place)), None)
    root = marked or here
    within = tuple(part.encode("utf-8", "surrogateescape") for part in here.relative_to(root).parts)
    return Project(root, within, marked is not None, settings_in(root / PROJECT_FILE))


def _is_marked(folder: Path) -> bool:
    """In a folder where everybody may write (/tmp) only by what is ours."""
    marks = [folder / mark for mark in _MARKS if (folder / mark).exists()]
    if marks and folder.stat().st_mode & stat.S_IWOTH:
        return any(mark.lstat().st_uid == os.geteuid() for mark in marks)
    return bool(marks)


def settings_in(file: Path) -> dict[str, Any]:
    """[tool.swarm] of a pyproject.toml, empty where there is none. Raises ProjectError."""
    table = _table_of(file)
    tool = table.get("tool", {})
    settings = tool.get("swarm", {}) if isinstance(tool, dict) else {}
    if not isinstance(settings, dict):
        raise ProjectError(f"{text_of(bytes(file))}: [tool.swarm] is not a table")
    return settings


def scripts_in(root: Path) -> dict[str, str]:
    """[project.scripts] of a project: of each the package that can be run instead.

    Raises ProjectError.
    """
    project = _table_of(root / PROJECT_FILE).get("project", {})
    scripts = project.get("scripts", {}) if isinstance(project, dict) else {}
    if not isinstance(scripts, dict):
        return {}
    return {name: re.split(r"[.:]", str(entry))[0] for name, entry in scripts.items()}


def _table_of(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ProjectError(f"{text_of(bytes(file))} cannot be read: {error}") from error
