"""The version of a project that does not write it into its pyproject.toml. Reads files; blocking.

Builders find it in a module, a file or the tags of git, by code that nobody runs here: it is read
where they are told to look, or to leave it, else where the project is installed for its own person.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from swarmnode.errors import ProjectError
from swarmnode.project.environment.texts import text_of
from swarmnode.project.git import described

UNKNOWN: Final = "0+unknown"
"""A version by PEP 440 that is older than all others."""
_WRITTEN: Final = re.compile(
    r"""^(?:__version__|version|VERSION)\b[^='"\n]*=[^'"\n]*['"](\d[\w.+!-]*)['"]""", re.M
)
_VERSION: Final = re.compile(r"v?(\d[\w.+!-]*)")
_BY_TAGS: Final = re.compile(r"scm|vcs|versioningit|dunamai|dynamic-versioning")
"""What takes it from the tags of git, among what a project is built with."""
_DESCRIBED: Final = re.compile(r"(?:.*[-/_])?v?(\d[\w.]*)-(\d+)-g([0-9a-f]+)")
_FILE_BYTES_MAX: Final = 1 << 20


def version_of(
    folder: Path, name: str, modules: str, told: object, table: Mapping[str, Any]
) -> tuple[str, str]:
    """It, and where it is not known why not, with what helps. Raises ProjectError."""
    if isinstance(told, str) and _VERSION.fullmatch(told.strip()):
        return told.strip(), ""
    places = [*_told_places(folder / modules, table), *_usual_places(folder / modules, name)]
    for file in places:
        if found := _in_file(folder, file):
            return found, ""
    if found := _installed(folder, name):
        return found, ""
    needs = _at(table, "build-system", "requires")
    if any(_BY_TAGS.search(str(one)) for one in needs or ()) and (found := _of_tags(folder)):
        return found, ""
    return UNKNOWN, (
        f"{name} leaves its version to what builds it, and is {UNKNOWN} in the task: install it "
        "here (uv sync, pip install -e .), and the version of that copy is taken"
    )


def _of_tags(folder: Path) -> str:
    """As setuptools_scm and its kin have it by default: of a commit after a tag the next one's,
    marked as not there yet. What is not committed adds nothing: it would change every day."""
    match = _DESCRIBED.fullmatch(described(folder, os.environ))
    if match is None:
        return ""
    version, commits, commit = match.groups()
    if commits == "0":
        return str(version)
    begin, last = re.fullmatch(r"(.*?)(\d+)\D*", version).groups()  # type: ignore[union-attr]
    return f"{begin}{int(last) + 1}.dev{commits}+g{commit}"


def _told_places(modules: Path, table: Mapping[str, Any]) -> Iterator[Path]:
    """Files that a builder reads it from, or writes it to, from its settings."""
    tool = table.get("tool") if isinstance(table.get("tool"), dict) else {}
    folder = modules  # a whole path in `at` counts from the project, which _in_file knows
    asked: list[Any] = [
        _at(tool, "hatch", "version", "path"),
        _at(tool, "pdm", "version", "path"),
        _at(tool, "setuptools", "dynamic", "version", "file"),
        _at(tool, "setuptools_scm", "version_file"),
        _at(tool, "setuptools_scm", "write_to"),
        _at(tool, "hatch", "build", "hooks", "vcs", "version-file"),
        _at(tool, "pdm", "version", "write_to"),
    ]
    for one in asked:
        for path in one if isinstance(one, list) else [one]:
            if isinstance(path, str):
                yield Path(path)
    attribute = _at(tool, "setuptools", "dynamic", "version", "attr")
    if isinstance(attribute, str) and "." in attribute:
        parts = attribute.split(".")[:-1]
        yield folder.joinpath(*parts).with_suffix(".py")
        yield folder.joinpath(*parts, "__init__.py")


def _usual_places(modules: Path, name: str) -> Iterator[Path]:
    """Where flit looks, and where tools for tags leave it."""
    own = modules / re.sub(r"[-.]+", "_", name)
    for file in ("__init__.py", "_version.py", "__about__.py", "version.py"):
        yield own / file
    yield own.with_suffix(".py")


def _at(table: Any, *names: str) -> Any:  # noqa: ANN401  (TOML)
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table


def _in_file(root: Path, file: Path) -> str:
    path = root / file
    if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
        return ""
    if path.stat().st_size > _FILE_BYTES_MAX:
        return ""
    try:
        text = text_of(path)
    except ProjectError:  # what is in it is somebody else's affair
        return ""
    if path.suffix != ".py" and (alone := _VERSION.fullmatch(text.strip())):
        return alone[1]
    found = _WRITTEN.search(text)
    return found[1] if found else ""


def _installed(folder: Path, name: str) -> str:
    """Of the copy that its own person has installed: in .venv, or beside the modules."""
    own = re.sub(r"[-_.]+", "_", name).lower()
    infos = [
        *folder.glob(".venv/lib/python3*/site-packages/*.dist-info/METADATA"),
        *folder.glob("*.egg-info/PKG-INFO"),
        *folder.glob("src/*.egg-info/PKG-INFO"),
    ]
    for file in infos:
        begins = file.parent.name.removesuffix(".egg-info").partition("-")[0]
        if re.sub(r"[-_.]+", "_", begins).lower() == own:
            found = re.search(r"^Version: *(\S+)", text_of(file), re.M)
            return found[1] if found else ""
    return ""
