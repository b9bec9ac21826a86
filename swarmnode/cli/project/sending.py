"""What goes along with a task: the project's folder as one object, stored once."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swarmnode.cli import exits
from swarmnode.cli.files import folders
from swarmnode.cli.files.upload import LocalFolder
from swarmnode.cli.output import printable
from swarmnode.cli.project.own import reader_in
from swarmnode.cli.project.places import name_of
from swarmnode.cli.talk import human_bytes

if TYPE_CHECKING:
    from swarmnode.project.choice import Chosen
    from swarmnode.project.root import Project
    from swarmnode.tree.names import Parts
    from swarmnode.tree.scan import Found

NAMED: Final = 4
"""Of what is left out, so many are named in the line before a run."""
_NOT_HERE: Final = " (submodules that are not checked out: git submodule update --init)"


def project_here() -> "Project":
    """The project we stand in. Raises CliError."""
    from swarmnode.errors import ProjectError
    from swarmnode.project.root import project_of

    try:
        return project_of(Path.cwd(), Path(os.path.expanduser("~")))
    except ProjectError as error:
        raise exits.CliError(str(error), exits.USAGE) from error
    except OSError as error:
        raise exits.CliError(f"the folder we are in cannot be used: {error}") from error


@dataclass(frozen=True, slots=True)
class Sending:
    """A project's folder on its way."""

    root: Path
    is_project: bool
    choice: "Chosen"

    def folder(self) -> LocalFolder:
        """All of it, ready to go up; files that have not changed are not read. Raises CliError."""
        from swarmnode.errors import OutputUnsafeError
        from swarmnode.tree.format import write_index
        from swarmnode.tree.scan import entries_of

        where = folders.shown(self.root)
        try:
            entries = entries_of(self.choice.found, (), inside=self._inside())
            index = write_index(entries)
        except OutputUnsafeError as error:
            raise exits.CliError(f"{where}: {error} (.swarmignore leaves it out)", 2) from error
        return LocalFolder(
            str(self.root),
            self.choice.found,
            entries,
            index,
            f"{where}: ",
            reader_in(self.root),
            may_grow=True,
        )

    def _inside(self) -> "Callable[[bytes], bytes]":
        """Absolute links into the project, by its own name or that under which we came here."""
        from swarmnode.tree.scan import inside_of

        names = [os.fsencode(self.root)]
        came = Path(os.environ.get("PWD", ""))
        for _ in range(len(came.parts)):
            if came.is_absolute() and came.is_dir() and came.samefile(self.root):
                names.append(os.fsencode(came))
            came = came.parent
        return inside_of(*names)

    def words(self) -> str:
        """What goes along and what does not, in one line."""
        size, left = human_bytes(self.choice.size_bytes), self.left_out()
        where = f"{folders.shown(self.root)}{'' if self.is_project else ' (no project, as it is)'}"
        files = "1 file" if self.choice.files == 1 else f"{self.choice.files} files"
        line = f"sending {files} of {where}, {size}"
        if left:
            more = len(left) - NAMED
            rest = f" and {more} more (--dry-run names all)" if more > 0 else ""
            line += f"; left out: {', '.join(left[:NAMED])}{rest}"
        return printable(f"{line}{self._pointers()}")

    def _pointers(self) -> str:
        """What is said of files whose contents git-lfs has not fetched; empty without any."""
        from swarmnode.project.pointers import pointers_in
        from swarmnode.tree.names import joined, text_of

        found = list(pointers_in(self.root, self.choice.found))
        if not found:
            return ""
        which = text_of(joined(found[0])) + (f" and {len(found) - 1} more" if found[1:] else "")
        return f"; pointers of git-lfs, without what they stand for: {which} (git lfs pull)"

    @property
    def name(self) -> str:
        """What it is called in the pool."""
        return name_of(self.root)

    def names(self) -> "dict[Parts, Found]":
        """Everything that goes along, by its place."""
        return {name.parts: name for name in self.choice.found}

    def left_out(self) -> list[str]:
        """Every name that does not go along, folders by their own."""
        from swarmnode.tree.names import joined, text_of

        with_subs = {sub[:depth] for sub in self.choice.not_here for depth in range(len(sub) + 1)}
        ruled = [
            text_of(joined(parts)) + (_NOT_HERE if parts in with_subs else "")
            for parts in self.choice.passed_over
        ]
        return [*ruled, *map(str, self.choice.specials)]


def looked_at(project: "Project", *, takes_all: bool) -> Sending:
    """What goes along of the project, as it lies there now. Raises CliError."""
    from swarmnode.errors import OutputUnsafeError, ProjectError
    from swarmnode.project.choice import choose

    try:
        chosen = choose(project.root, os.environ, takes_all=takes_all)
    except ProjectError as error:
        raise exits.CliError(str(error), exits.USAGE) from error
    except OutputUnsafeError as error:
        raise exits.CliError(f"{error} (a line in .swarmignore leaves it out)", 2) from error
    except OSError as error:
        raise folders.cannot_read(Path(error.filename or project.root), error) from error
    return Sending(
        project.root, project.is_marked, _without_copies(project.root, _without_our_own(chosen))
    )


def _without_our_own(chosen: "Chosen") -> "Chosen":
    """Without the files that our own output goes into: `swarm run -- x > run.log`."""
    from msgspec.structs import replace

    from swarmnode.tree.format import EntryKind

    ours = set[tuple[int, int]]()
    for fd in (1, 2):
        with suppress(OSError):  # a closed one
            info = os.fstat(fd)
            ours.add((info.st_dev, info.st_ino))
    kept, left = list["Found"](), list["Parts"]()
    for one in chosen.found:
        if one.kind is EntryKind.FILE and one.inode in ours:
            left.append(one.parts)
        else:
            kept.append(one)
    return replace(chosen, found=tuple(kept), passed_over=(*chosen.passed_over, *left))


def _without_copies(root: Path, chosen: "Chosen") -> "Chosen":
    """Without what tasks brought beside files of ours, as long as nobody has touched it since."""
    from msgspec.structs import replace

    from swarmnode.cli.project.brought import beside, brought
    from swarmnode.cli.project.results import mark_of

    try:
        aside, marks = beside(root), brought(root)
    except OSError:  # no folder of ours, or none to be read: nothing is known to be a copy
        return chosen
    if not aside:
        return chosen
    left = {
        one.parts
        for one in chosen.found
        if any(one.parts[:depth] in aside for depth in range(1, len(one.parts) + 1))
        and marks.get(one.parts) == mark_of(one)
    }
    kept = tuple(one for one in chosen.found if one.parts not in left)
    return replace(chosen, found=kept, passed_over=(*chosen.passed_over, *sorted(left)))
