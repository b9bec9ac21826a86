"""What a task made, back in the project's folder; a file of ours is never lost for it.

Each result is brought whole into `.swarm/` first, and then moved to its place, or beside it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.files import folders
from swarmnode.cli.files.local import cannot_write
from swarmnode.cli.output import complain

if TYPE_CHECKING:
    from swarmnode.project.landing import FileMark
    from swarmnode.tree.names import Parts
    from swarmnode.tree.scan import Found

OWN_FOLDER: Final = ".swarm"
"""Ours in a project: never sent, and ignored by git."""
_BROUGHT: Final = "brought.json"
_TASK_CHARS: Final = 8


@dataclass(slots=True)
class Landed:
    """What came back."""

    files: int = 0
    beside: list[str] = field(default_factory=list)
    """Names under which results lie whose own place was taken."""
    code: int = exits.OK
    """Of what could not be brought."""


class Bringer:
    """One task's results on their way into a project."""

    def __init__(self, root: Path, sent: Sequence["Found"]) -> None:
        self._root = root
        self._own = root / OWN_FOLDER
        self._new = self._brought()
        """What this task and earlier ones brought, as it lay then."""
        self._known = {**self._new, **{name.parts: _mark_of(name) for name in sent}}
        """The same, and what was sent."""

    def bring(self, client: Client, detail: Document) -> Landed:
        """All outputs of a task that has ended. Raises CliError when the disk is at fault."""
        from swarmnode.cli.task.get import Bringing

        landed = Landed()
        place = self._own / f"{detail['task'][:_TASK_CHARS]}.part{os.getpid()}"
        try:
            self._make_own()
            place.mkdir()
            bringing = Bringing(client, place)
            bringing.bring(detail, ("outputs",))
            landed.code = bringing.code
            self._move(place / "outputs", f".{detail['task'][:_TASK_CHARS]}", landed)
            self._note()
        except OSError as error:
            raise cannot_write(folders.shown(self._root), error) from error
        finally:
            folders.remove(place)
        return landed

    def _make_own(self) -> None:
        self._own.mkdir(exist_ok=True)
        ignore = self._own / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    def _move(self, source: Path, suffix: str, landed: Landed) -> None:
        """Every file and link to its place; folders are made as they are needed, empty ones too."""
        for folder, inner, names in os.walk(source):
            base = tuple(map(os.fsencode, Path(folder).relative_to(source).parts))
            links = [name for name in inner if Path(folder, name).is_symlink()]
            if self._refuses(base, landed):
                inner.clear()
                continue
            self._at(base).mkdir(parents=True, exist_ok=True)
            for name in sorted((*names, *links)):
                parts = (*base, os.fsencode(name))
                if not self._refuses(parts, landed):
                    self._land(Path(folder, name), parts, suffix, landed)

    def _refuses(self, parts: "Parts", landed: Landed) -> bool:
        """What a repository runs by itself is nothing that a task may bring."""
        from swarmnode.project.rules import NEVER
        from swarmnode.tree.names import joined, text_of

        if not parts or parts[-1] not in NEVER:
            return False
        complain(f"{text_of(joined(parts))} was made by the task, and is not brought: it is git's")
        landed.code = landed.code or exits.DEGRADED
        return True

    def _land(self, source: Path, parts: "Parts", suffix: str, landed: Landed) -> None:
        from swarmnode.project.landing import landing_of
        from swarmnode.tree.names import joined, text_of

        landing = landing_of(parts, self._here, self._known, os.fsencode(suffix))
        os.replace(source, self._at(landing.place))
        landed.files += 1
        if mark := self._here(landing.place):
            self._known[landing.place] = self._new[landing.place] = mark
        if landing.is_beside:
            landed.beside.append(text_of(joined(landing.place)))

    def _at(self, parts: "Parts") -> Path:
        return self._root.joinpath(*map(os.fsdecode, parts))

    def _here(self, parts: "Parts") -> "FileMark | None":
        """What lies there, as it is now; a folder is never what was sent as a file."""
        from swarmnode.project.landing import FileMark

        try:
            info = self._at(parts).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileMark(info.st_size, info.st_mtime_ns, info.st_ino)

    def _brought(self) -> "dict[Parts, FileMark]":
        """What earlier tasks brought. Of a damaged list nothing counts: all that is here stays."""
        from swarmnode.project.landing import FileMark
        from swarmnode.tree.names import parts_in

        try:
            rows = msgspec.json.decode(
                (self._own / _BROUGHT).read_bytes(), type=dict[str, FileMark]
            )
            return {parts_in(name): mark for name, mark in rows.items()}
        except (FileNotFoundError, msgspec.DecodeError, ValueError):
            return {}

    def _note(self) -> None:
        """Write down what was brought, for the tasks to come; what is gone is forgotten."""
        from swarmnode.tree.names import joined, text_of

        kept = {parts: mark for parts, mark in self._new.items() if self._here(parts) == mark}
        rows = {text_of(joined(parts)): mark for parts, mark in kept.items()}
        part = self._own / f"{_BROUGHT}.part{os.getpid()}"
        part.write_bytes(msgspec.json.encode(rows))
        part.rename(self._own / _BROUGHT)


def _mark_of(found: "Found") -> "FileMark":
    from swarmnode.project.landing import FileMark

    return FileMark(found.size, found.modified_ns, found.inode[1])
