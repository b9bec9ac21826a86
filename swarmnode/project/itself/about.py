"""What a project says of itself, as whoever installs it would read it. Reads files; blocking."""

import configparser
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.project.environment.texts import table_in, text_of
from swarmnode.project.itself.version import version_of
from swarmnode.project.root import PROJECT_FILE

SETUP: Final = ("setup.py", "setup.cfg")
"""Of older projects, what says how they are installed."""
_SOURCES: Final = "src"
_NOT_INSTALLED: Final = frozenset(("tests", "test", "docs", "examples"))
_FOLDERS: Final = {
    "uv.lock": re.compile(r'^source = \{ (?:editable|directory) = "([^"]+)" \}', re.M),
    "requirements.txt": re.compile(r"^\s*(?:-e|--editable)[\s=]+([^\s\[#;:]+)(?=[\s\[#;]|$)", re.M),
}
"""Files of a project that name folders of it, which are installed with it."""
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", re.ASCII)
"""As PEP 508 has it."""
_GROUPS: Final = {"scripts": "console_scripts", "gui-scripts": "gui_scripts"}

Entries = Mapping[str, Mapping[str, str]]
"""Entry points: by group, by name, the object that is meant."""


class Distribution(msgspec.Struct, frozen=True):
    """One project, or one folder of it, as if it were installed."""

    name: str
    version: str
    modules: str
    """The folder that its modules are imported from, from the root; empty: that itself."""
    fields: tuple[tuple[str, str], ...]
    """What its metadata has besides, in order."""
    entries: Entries
    doubt: str = ""
    """Why its version is not known, and what helps."""


def distributions_in(root: Path) -> Iterator[Distribution]:
    """The project itself, and the folders in it that its uv.lock installs with it, or that its
    requirements.txt names as editable.

    Raises ProjectError.
    """
    named = [
        os.path.normpath(path)
        for name, pattern in _FOLDERS.items()
        for path in (pattern.findall(text_of(root / name)) if (root / name).is_file() else ())
    ]
    for folder in dict.fromkeys(["", *("" if one == "." else one for one in named)]):
        place = root / folder
        is_ours = place.resolve().is_relative_to(root.resolve())
        if not is_ours or os.path.isabs(folder) or not place.is_dir():
            continue
        if one := _installed(root, folder):
            yield one


def _installed(root: Path, folder: str) -> Distribution | None:
    """None where nothing says that it is ever installed, or under which name."""
    modules = modules_in(root / folder)
    if modules is None:
        return None
    table = table_in(root / folder / PROJECT_FILE)
    about = _told(root / folder, table)
    name = about.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    version, doubt = version_of(root / folder, name, modules, about.get("version"), table)
    place = "/".join(filter(None, (folder, modules)))
    entries = {group: dict(_valid(names)) for group, names in _entries(about)}
    return Distribution(name, version, place, tuple(_fields(about)), entries, doubt)


def _told(folder: Path, table: Mapping[str, Any]) -> Mapping[str, Any]:
    """[project], else what poetry has in its place, else setup.cfg's."""
    if project := _table(table, "project"):
        return project
    if poetry := _table(table, "tool", "poetry"):
        return {**poetry, "entry-points": poetry.get("plugins"), "authors": (), "license": None}
    return _of_setup(folder / "setup.cfg")


def _of_setup(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    points = configparser.RawConfigParser(delimiters=("=",))
    points.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text_of(file))
        options = dict(parser["options.entry_points"]) if "options.entry_points" in parser else {}
        for group, lines in options.items():
            points.read_string(f"[{group}]\n{lines}")
    except configparser.Error as error:
        raise ProjectError(f"setup.cfg cannot be read: {error}") from error
    told = parser.items("metadata") if parser.has_section("metadata") else ()
    about: dict[str, Any] = {key.lower(): value for key, value in told}
    if re.match(r"(attr|file):", str(about.get("version", ""))):
        del about["version"]
    return {
        **about,
        "authors": (),
        "license": None,
        "entry-points": {g: dict(points[g]) for g in options},
    }


def _list(found: object) -> list[Any]:
    """Empty for anything else."""
    return found if isinstance(found, list) else []


def _table(table: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    found: Any = table
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _entries(about: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, group in _GROUPS.items():
        if names := _table(about, key):
            yield group, names
    for group, names in _table(about, "entry-points").items():
        if isinstance(names, Mapping) and "\n" not in group:
            yield group, names


def _valid(names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Those that can be written as entry points; poetry may say more of one in a table."""
    for name, entry in names.items():
        target = entry.get("reference") if isinstance(entry, Mapping) else entry
        if isinstance(target, str) and not set("\n=[") & set(name) and "\n" not in target:
            yield name.strip(), target.strip()


def _fields(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of its metadata what programs ask for."""
    plain = (("Summary", "description"), ("Requires-Python", "requires-python"))
    licence = about.get("license")
    if isinstance(licence, Mapping):
        licence = licence.get("text")
    found = [(field, about.get(key)) for field, key in plain]
    found += [("License", licence)]
    for person in about.get("authors") or ():
        if isinstance(person, Mapping):
            name, email = person.get("name"), person.get("email")
            of_both = f"{name} <{email}>" if name else email
            found += [("Author-email", of_both) if email else ("Author", name)]
    found += [("Classifier", one) for one in about.get("classifiers") or ()]
    found += [("Project-URL", f"{k}, {v}") for k, v in _table(about, "urls").items()]
    if isinstance(about.get("dependencies"), list):  # with poetry it is a table of its own kind
        found += [("Requires-Dist", one) for one in about["dependencies"]]
    for extra, needs in _table(about, "optional-dependencies").items():
        found += [("Provides-Extra", extra), *(("Requires-Dist", _in(extra, one)) for one in needs)]
    for field, value in found:
        if isinstance(value, str) and value.strip():
            yield field, " ".join(value.split())


def _in(extra: str, need: str) -> str:
    wanted, _, marker = str(need).partition(";")
    alone = f'extra == "{extra}"'
    return f"{wanted.strip()}; {f'({marker.strip()}) and {alone}' if marker.strip() else alone}"


def modules_in(folder: Path) -> str | None:
    """The folder whose modules are importable once a project is installed, from its own: `src`,
    or empty for that itself; None where nothing says that it is ever installed.

    One that has a module of Python's own name is none: it would come before Python's.
    Raises ProjectError.
    """
    table = table_in(folder / PROJECT_FILE)
    has_setup = any((folder / name).is_file() for name in SETUP)
    if _is_no_package(table):
        return None
    if (folder / _SOURCES).is_dir():
        return _SOURCES if has_setup or (folder / PROJECT_FILE).is_file() else None
    if not has_setup and not _is_built(table):
        return None
    if (named := _named_place(table)) is not None and (folder / named).is_dir():
        return named
    names = {path.name.removesuffix(".py") for path in folder.iterdir()}
    packages = {path.parent.name for path in folder.glob("*/__init__.py")} - _NOT_INSTALLED
    own = re.sub(r"[-.]+", "_", str(_told(folder, table).get("name", "")))
    is_there = packages or (own and (folder / f"{own}.py").is_file())
    return "" if is_there and not names & sys.stdlib_module_names else None


def _is_built(table: Mapping[str, Any]) -> bool:
    return "build-system" in table or _table(table, "tool", "uv").get("package") is True


def _is_no_package(table: Mapping[str, Any]) -> bool:
    """uv's and poetry's words for a folder of which only the packages are wanted."""
    is_virtual = _table(table, "tool", "uv").get("package") is False
    return is_virtual or _table(table, "tool", "poetry").get("package-mode") is False


def _named_place(table: Mapping[str, Any]) -> str | None:
    """The folder of modules that a builder is told of, where that is neither usual one."""
    of_setup, of_uv = ("tool", "setuptools"), ("tool", "uv", "build-backend")
    found: list[Any] = [
        _table(table, *of_setup, "package-dir").get(""),
        *_list(_table(table, *of_setup, "packages", "find").get("where")),
        _table(table, *of_uv).get("module-root"),
        _table(table, "tool", "pdm", "build").get("package-dir"),
        _table(table, "tool", "maturin").get("python-source"),
        *(
            one.get("from")
            for one in _list(_table(table, "tool", "poetry").get("packages"))
            if isinstance(one, Mapping)
        ),
    ]
    wheel = _table(table, "tool", "hatch", "build", "targets", "wheel")
    found += [
        str(one).rpartition("/")[0] for one in _list(wheel.get("packages")) if "/" in str(one)
    ]
    places = [one.strip("/") for one in found if isinstance(one, str) and ".." not in one]
    return next((one for one in places if one not in ("", ".")), None)
