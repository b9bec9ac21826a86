"""What is typed in a folder of a project, as it is called from the project's own folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swarmnode.cli import exits
from swarmnode.cli.client import Document
from swarmnode.cli.files import folders
from swarmnode.cli.output import printable
from swarmnode.cli.task import data as task_data
from swarmnode.cli.task.inputs import WORK_FOLDER, Input, some_cap
from swarmnode.limits import OBJECT_NAME_CHARS_MAX

if TYPE_CHECKING:
    from swarmnode.project.root import Project

_TAKEN: Final = "the project itself is there: give it a name"
_WILD: Final = re.compile(r"([*?\[])")


def name_of(root: Path) -> str:
    """What a project is called where people see it: printable, and not too long."""
    return printable(folders.base_name(root))[:OBJECT_NAME_CHARS_MAX]


def _refuse_second(spec: Document) -> None:
    """The work folder's own contents are the project's. Raises CliError."""
    given = spec.get("inputs") or {}
    if isinstance(given, Mapping) and WORK_FOLDER in given:
        raise exits.CliError(f"the spec's inputs: {_TAKEN}, such as data = ...", exits.USAGE)


def stand_in() -> Input:
    """Of the project, while it is still to be stored."""
    return Input(WORK_FOLDER, cap=some_cap())


def from_here(project: "Project", spec: Document, wanted: Sequence[Input]) -> list[Input]:
    """Inputs at their places from the root. Raises CliError for one that would be the project, also
    of the spec's."""
    from swarmnode.tree.names import joined, text_of

    _refuse_second(spec)
    base = text_of(joined(project.within))
    placed = [replace(one, place=_under(base, one.place)) if base else one for one in wanted]
    if any(one.place == WORK_FOLDER for one in placed):
        raise exits.CliError(f"--in .=...: {_TAKEN}, --in NAME=...", exits.USAGE)
    return placed


def data_from_here(
    project: "Project", given: Sequence[str], spec: Document
) -> list[task_data.WantedData]:
    """Datasets at their places from the root; the spec's count from it already. CliError."""
    from swarmnode.tree.names import joined, text_of

    base = text_of(joined(project.within))
    own = {one.place for one in task_data.read((), spec, project.root)}
    return [
        one
        if one.place in own or one.place.startswith("/") or not base
        else replace(one, place=_under(base, one.place))
        for one in task_data.read(given, spec, project.root)
    ]


def pattern_from_here(project: "Project", pattern: str) -> str:
    """A pattern of results as it is meant from the root: `../x` from a folder of it is `x`."""
    from swarmnode.tree.names import text_of

    if pattern.startswith("/") or not pattern:
        return pattern  # refused with its reason
    base = [_WILD.sub(r"\\\1", text_of(part)) for part in project.within]
    return _under("/".join(base), pattern)


def _under(base: str, name: str) -> str:
    parts = base.split("/") if base else []
    for part in name.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) + "/" * (name.endswith("/") and bool(parts)) or "."
