"""Which packages of a project are wanted besides those that it always needs. Reads files; blocking.

Extras (`[project.optional-dependencies]`) are asked for by name; dependency groups (PEP 735), too,
and without being asked for those are there that uv takes by itself: `default-groups` of its
settings, else the one called dev.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.project.environment.texts import table_in

_USUAL: Final = ("dev",)
_WITHOUT: Final = ("UV_NO_DEFAULT_GROUPS", "UV_NO_DEV")
_TRUE: Final = ("1", "true", "yes", "on", "y", "t")
_NO_DEFAULTS: Final = "--no-default-groups"


class Parts(msgspec.Struct, frozen=True):
    """The extras and groups that somebody asked for."""

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    is_asked: bool = False
    """By whoever types the command: where there can be none, it is refused."""


def parts_in(
    settings: Mapping[str, Any], extras: tuple[str, ...], groups: tuple[str, ...]
) -> Parts:
    """What a project's [tool.swarm] asks for, and what was asked for besides.

    Raises ProjectError.
    """
    return Parts(
        (*_names(settings, "extras"), *extras),
        (*_names(settings, "groups"), *groups),
        is_asked=bool(extras or groups),
    )


def _names(settings: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = settings.get(key, ())
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise ProjectError(f'[tool.swarm]: {key} is a list of names: ["test"]')
    return tuple(found)


def export_words(parts: Parts) -> list[str]:
    """For `uv export`, which knows by itself what is there unasked."""
    return [*_words(parts.extras, parts.groups), *([_NO_DEFAULTS] if _is_without() else [])]


def compile_words(parts: Parts, file: Path) -> list[str]:
    """For `uv pip compile` of a pyproject.toml. Raises ProjectError."""
    return _words(parts.extras, tuple(dict.fromkeys((*_unasked(table_in(file)), *parts.groups))))


def _words(extras: tuple[str, ...], groups: tuple[str, ...]) -> list[str]:
    asked = [word for name in extras for word in ("--extra", name)]
    return [*asked, *(word for name in groups for word in ("--group", name))]


def _unasked(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of its groups that uv would take."""
    groups, tool = table.get("dependency-groups"), table.get("tool")
    if not isinstance(groups, dict) or _is_without():
        return ()
    of_uv = tool.get("uv") if isinstance(tool, dict) else None
    wanted = of_uv.get("default-groups", _USUAL) if isinstance(of_uv, dict) else _USUAL
    if not isinstance(wanted, list | tuple) and wanted != "all":
        raise ProjectError('[tool.uv]: default-groups is a list of names, or "all"')
    return tuple(name for name in groups if wanted == "all" or name in wanted)


def _is_without() -> bool:
    """As uv is told by its own variables."""
    return any(os.environ.get(key, "").lower() in _TRUE for key in _WITHOUT)
