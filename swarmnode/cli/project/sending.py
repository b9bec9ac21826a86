"""What goes along with a task: the project's folder as one object, stored once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swarmnode.cli import exits
from swarmnode.cli.client import Source
from swarmnode.cli.files import folders
from swarmnode.cli.talk import human_bytes

if TYPE_CHECKING:
    from swarmnode.project.choice import Chosen
    from swarmnode.project.root import Project
    from swarmnode.tree.names import Parts
    from swarmnode.tree.scan import Found

NAMED: Final = 4
"""Of what is left out, so many are named in the line before a run."""


def project_here() -> "Project":
    """The project we stand in. Raises CliError."""
    from swarmnode.errors import ProjectError
    from swarmnode.project.root import project_of

    try:
        return project_of(Path.cwd(), Path.home())
    except ProjectError as error:
        raise exits.CliError(str(error), exits.USAGE) from error
    except OSError as error:
        raise exits.CliError(f"the folder we are in cannot be used: {error}") from error


@dataclass(frozen=True, slots=True)
class Sending:
    """A project's folder on its way."""

    root: Path
    choice: "Chosen"

    @contextmanager
    def source(self) -> Iterator[Source]:
        """Its bytes. Raises CliError before the first of them, and when something changes."""
        from swarmnode.errors import OutputUnsafeError
        from swarmnode.tree.pack import packed
        from swarmnode.tree.scan import entries_of, inside_of

        where = folders.shown(self.root)
        try:
            entries = entries_of(self.choice.found, (), inside=inside_of(os.fsencode(self.root)))
            pieces = packed(str(self.root), self.choice.found, entries)
            first = next(pieces)
        except OutputUnsafeError as error:
            raise exits.CliError(f"{where}: {error} (.swarmignore leaves it out)", 2) from error
        whole = chain((first,), pieces)
        yield folders.Pieces(folders.local(whole, f"{where}: "), self.choice.size_bytes)

    def words(self) -> str:
        """What goes along and what does not, in one line."""
        size, left = human_bytes(self.choice.size_bytes), self.left_out()
        line = f"sending {self.choice.files} files of {folders.shown(self.root)}, {size}"
        if not left:
            return line
        more = f" and {len(left) - NAMED} more (--dry-run names all)" if len(left) > NAMED else ""
        return f"{line}; left out: {', '.join(left[:NAMED])}{more}"

    def names(self) -> "dict[Parts, Found]":
        """Everything that goes along, by its place."""
        return {name.parts: name for name in self.choice.found}

    def left_out(self) -> list[str]:
        """Every name that does not go along, folders by their own."""
        from swarmnode.tree.names import joined, text_of

        ruled = [text_of(joined(parts)) for parts in self.choice.passed_over]
        return [*ruled, *map(str, self.choice.specials)]


def looked_at(root: Path, *, takes_all: bool) -> Sending:
    """What goes along of the project, as it lies there now. Raises CliError."""
    from swarmnode.errors import OutputUnsafeError, ProjectError
    from swarmnode.project.choice import choose

    try:
        return Sending(root, choose(root, os.environ, takes_all=takes_all))
    except (ProjectError, OutputUnsafeError) as error:
        raise exits.CliError(str(error), exits.USAGE) from error
    except OSError as error:
        raise folders.cannot_read(Path(error.filename or root), error) from error
