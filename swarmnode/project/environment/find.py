"""Which of a project's files says what it needs, and for which Python. Reads files; blocking."""

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.project.environment.others import is_of_poetry, remedy_for
from swarmnode.project.environment.parts import Parts, compile_words, export_words
from swarmnode.project.environment.texts import block_in, script_table, table_in, text_of
from swarmnode.project.root import PROJECT_FILE

PYTHONS: Final = tuple((3, minor) for minor in range(9, 21))
"""CPython versions that a project may ask for, oldest first."""
_NO_PARTS: Final = Parts()
NONE: Final = "none"
"""As `--env`: no environment, whatever lies in the folder."""
PYTHON: Final = "python"
"""As `--env`: an interpreter without any packages."""
_CLAUSE: Final = re.compile(r"\s*(===|~=|==|!=|<=|>=|<|>)\s*(\d+(?:\.\d+)*)(\.\*)?[a-z0-9.]*\s*$")


class Kind(StrEnum):
    """What a file says, by how it is read."""

    UV_LOCK = "uv.lock"
    PYLOCK = "pylock.toml"
    REQUIREMENTS = "requirements.txt"
    PYPROJECT = "pyproject.toml"
    SCRIPT = "# /// script"
    """Of itself, in a comment (PEP 723): the one that is run."""


class NeedsFile(msgspec.Struct, frozen=True):
    """The file that an environment is made from."""

    file: Path
    kind: Kind
    python: str
    """The Python it is for, such as 3.11."""
    parts: tuple[str, ...] = ()
    """Its extras and groups that are wanted, as uv is told of them."""


def source_of(
    root: Path, wish: str, ours: tuple[int, int], parts: Parts = _NO_PARTS
) -> NeedsFile | None:
    """What `--env` or [tool.swarm] names, else the first there is; None: nothing says anything.

    `ours` is the Python of this machine, which is taken when it fits. Raises ProjectError.
    """
    if wish == NONE:
        refuse_parts(parts, f"--env {NONE}")
        return None
    file = root / wish if wish else _first(root, parts)
    if file is None:
        refuse_parts(parts, "this folder")
        return None
    if not file.is_file():
        hint = "; an image of a registry is written docker://HOST/NAME:TAG" if ":" in wish else ""
        if near := _near(file):
            hint = f": did you mean {near}?"
        raise ProjectError(f"--env {wish}: there is no such file in {root.name}{hint}")
    kind = _kind_of(file)
    return NeedsFile(
        file, kind, python_for(root, file, kind, ours), tuple(_parts(file, kind, parts))
    )


def _parts(file: Path, kind: Kind, parts: Parts) -> list[str]:
    if kind is Kind.UV_LOCK:
        return export_words(parts)
    if kind is Kind.PYPROJECT:
        return compile_words(parts, file)
    refuse_parts(parts, file.name)
    return []


def refuse_parts(parts: Parts, name: str) -> None:
    """Of what has none. Raises ProjectError where they were asked for."""
    if parts.is_asked:
        raise ProjectError(
            f"{name} has neither extras nor groups: --extra and --group are those of uv.lock or "
            "pyproject.toml (--env pyproject.toml)"
        )


def _near(file: Path) -> str:
    """A file beside the one that is not there whose name is nearly that; empty without."""
    import difflib  # here: few commands fail

    beside = file.parent.iterdir() if file.parent.is_dir() else ()
    names = sorted(path.name for path in beside if path.is_file())
    return next(iter(difflib.get_close_matches(file.name, names, n=1)), "")


def python_alone(root: Path, ours: tuple[int, int], program: str = "") -> str:
    """The version for who names no packages: the one that is typed (python3.12), or the project's.

    Raises ProjectError.
    """
    if match := re.search(r"python(3\.\d+)$", program):
        return match[1]
    return python_for(root, root / PROJECT_FILE, Kind.PYPROJECT, ours)


def is_file_wish(root: Path, wish: str) -> bool:
    """Whether `--env WISH` means a file of the project; else it is a name machines advertise."""
    return (
        "/" in wish
        or wish.endswith((".txt", ".toml", ".lock", ".in"))
        or (bool(wish) and (root / wish).is_file())
    )


def _first(root: Path, parts: Parts) -> Path | None:
    for kind in Kind:
        file = root / kind.value  # no script is called like that
        if file.is_file() and _names_something(file, kind, parts):
            return file
    return None


def _names_something(file: Path, kind: Kind, parts: Parts) -> bool:
    """A file that is empty but for comments asks for nothing; nor do dependencies that are none."""
    if kind is Kind.PYPROJECT:
        return _dependencies(table_in(file)) or bool(compile_words(parts, file))
    if kind is not Kind.REQUIREMENTS:
        return True
    lines = text_of(file).splitlines()
    return any(line.strip() and not line.strip().startswith("#") for line in lines)


def _dependencies(table: dict[str, Any]) -> bool:
    project = table.get("project")
    return isinstance(project, dict) and bool(project.get("dependencies"))


def _kind_of(file: Path) -> Kind:
    name = file.name
    if name == Kind.UV_LOCK:
        return Kind.UV_LOCK
    if name.startswith("pylock.") and name.endswith(".toml"):
        return Kind.PYLOCK
    if name.endswith((".txt", ".in")):
        return Kind.REQUIREMENTS
    if name == PROJECT_FILE and not (
        is_of_poetry(table := table_in(file)) and not _dependencies(table)
    ):
        return Kind.PYPROJECT
    if name.endswith(".py") and block_in(file):
        return Kind.SCRIPT
    raise ProjectError(
        remedy_for(file)
        or f"{name} is none that an environment can be made from: uv.lock, pylock.toml, "
        "requirements.txt (or another .txt, .in), pyproject.toml, a script with # /// script"
    )


def python_for(root: Path, file: Path, kind: Kind, ours: tuple[int, int]) -> str:
    """The version that the project asks for; ours if that fits. Raises ProjectError."""
    pinned = _pinned(root / ".python-version")
    wanted = _requires(file, kind) or _requires(root / PROJECT_FILE, Kind.PYPROJECT)
    if pinned:
        return pinned
    return choose(wanted, ours, PYTHONS)


def choose(wanted: str, ours: tuple[int, int], there_are: Sequence[tuple[int, int]]) -> str:
    """Ours if it satisfies the specifiers, else the oldest that does. Raises ProjectError."""
    for version in (ours, *there_are):
        if satisfies(version, wanted):
            return f"{version[0]}.{version[1]}"
    raise ProjectError(f"no Python satisfies requires-python = {wanted!r}")


def satisfies(version: tuple[int, int], wanted: str) -> bool:
    """Whether some 3.N.x satisfies PEP 440 specifiers, as requires-python has them."""
    return all(_holds(version, clause) for clause in wanted.split(",") if clause.strip())


def _holds(version: tuple[int, int], clause: str) -> bool:
    match = _CLAUSE.match(clause)
    if match is None:
        raise ProjectError(f"requires-python: {clause.strip()!r} is not understood")
    sign, digits = match[1], tuple(int(part) for part in match[2].split("."))
    minor, is_exact = (*digits, 0)[:2], len(digits) > 2
    match sign:
        case ">=":
            return version >= minor
        case ">":
            return version > minor or (is_exact and version == minor)
        case "<":
            return version < minor or (version == minor and is_exact and digits[2] > 0)
        case "<=":
            return version <= minor
        case "!=":
            return version != minor or is_exact
        case "~=":
            return version == minor if is_exact else version[0] == minor[0] and version >= minor
        case _:  # == and ===
            return version[: len(digits)] == digits[:2]


def _pinned(file: Path) -> str:
    """What a .python-version says, as uv and pyenv write it; empty without one."""
    try:
        lines = file.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise ProjectError(f"{file.name} cannot be read: {error}") from error
    for word in lines:
        match = re.match(r"(?:cpython-|python)?(3)\.(\d+)(?:\.\d+)?(?:[-a-z].*)?$", word)
        if match is None:
            raise ProjectError(
                f".python-version: {word!r} is not a version of CPython, such as 3.11"
            )
        return f"{match[1]}.{int(match[2])}"
    return ""


def _requires(file: Path, kind: Kind) -> str:
    if kind is Kind.REQUIREMENTS:
        return ""
    table = script_table(file) if kind is Kind.SCRIPT else table_in(file)
    place = table.get("project") if kind is Kind.PYPROJECT else table
    wanted = place.get("requires-python", "") if isinstance(place, dict) else ""
    return wanted if isinstance(wanted, str) else ""
