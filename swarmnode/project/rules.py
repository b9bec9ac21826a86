"""Which names of a project's folder go along, decided by what is written in it.

The last word is `.swarmignore`'s; before it git's, or where there is no git `USUAL`'s.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.tree.names import Parts

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE: Final = ".swarmignore"
NEVER: Final = frozenset({b".git", b".hg", b".svn", b".jj", b".swarm"})
"""The history of the project, and what we keep of it: of any size, and no part of a run."""
USUAL: Final = frozenset((b".venv", b"venv", b"node_modules", b".DS_Store"))
"""What programs leave behind, for folders that no git describes: whatever it is ..."""
USUAL_FOLDERS: Final = USUAL | frozenset(
    (
        b"__pycache__",
        b".tox",
        b".nox",
        b".cache",
        b".mypy_cache",
        b".pytest_cache",
        b".ruff_cache",
        b".ipynb_checkpoints",
    )
)
"""... and only as a folder."""
USUAL_ENDS: Final = (b".pyc", b".pyo", b".pyd")


class Listing(msgspec.Struct, frozen=True):
    """What git would commit of a folder."""

    names: frozenset[Parts]
    new_folders: frozenset[Parts]
    """Folders in which nothing is tracked and that are not ignored; they may be empty."""
    ignored: frozenset[Parts] = frozenset()
    """Folders that git ignores."""
    not_here: frozenset[Parts] = frozenset()
    """Submodules that are not checked out: empty folders, as they lie here."""


class Rules:
    """What goes along of one folder."""

    def __init__(
        self, ignore: Iterable[str], listing: Listing | None, *, takes_all: bool = False
    ) -> None:
        """`ignore`: the lines of `.swarmignore`; `listing`: where git is asked.

        `takes_all`: nothing is left out but by `.swarmignore`. Raises ProjectError for a line of it
        that is no pattern.
        """
        lines = tuple(ignore)
        self._own = _spec_of(lines) if lines else None
        self._brings_back = any(line.startswith("!") for line in lines)
        """Something that git ignores may be wanted, in any folder."""
        self._takes_usual = takes_all
        self._listing = listing
        self._above = frozenset(
            parts[:depth]
            for parts in (listing.names if listing else ())
            for depth in range(len(parts))
        )
        """Folders in which git would commit something."""

    def enters(self, parts: Parts) -> bool:
        """Whether something in that folder may go along: else nobody looks into it."""
        if parts[-1] in NEVER:
            return False
        own = self._own_word(parts, is_folder=True)
        if own is not None:
            return own
        return self._brings_back or parts in self._above or self._is_plain(parts)

    def keeps_empty(self, parts: Parts) -> bool:
        """Whether a folder goes along though nothing in it does: a program may count on it."""
        own = self._own_word(parts, is_folder=True)
        return self._is_plain(parts) if own is None else own

    def _is_plain(self, parts: Parts) -> bool:
        """Neither ignored by git nor left behind by a program."""
        is_new = self._listing is None or _is_new(self._listing, parts)
        return is_new and (self._takes_usual or not _is_usual(parts, is_folder=True))

    def takes(self, parts: Parts) -> bool:
        """Whether a file or link goes along; of a folder that is entered."""
        if parts[-1] in NEVER:  # `.git` is a file in a worktree
            return False
        own = self._own_word(parts, is_folder=False)
        if own is not None:
            return own
        if self._listing is not None:
            return parts in self._listing.names
        return self._takes_usual or not _is_usual(parts, is_folder=False)

    def _own_word(self, parts: Parts, *, is_folder: bool) -> bool | None:
        """What `.swarmignore` says of it; None: nothing."""
        if self._own is None:
            return None
        said = self._own.check_file(_text(parts, is_folder=is_folder)).include
        return None if said is None else not said


def _is_new(listing: Listing, parts: Parts) -> bool:
    around = [parts[:depth] for depth in range(1, len(parts) + 1)]
    return any(one in listing.new_folders for one in around) and not any(
        one in listing.ignored for one in around
    )


def _spec_of(lines: Iterable[str]) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec  # here: few folders have such a file, and it loads slowly

    for number, line in enumerate(lines, 1):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError as error:
            raise ProjectError(f"line {number} of {IGNORE_FILE}: {error}") from error
    return GitIgnoreSpec.from_lines(lines)


def _is_usual(parts: Parts, *, is_folder: bool) -> bool:
    """Whether it, or a folder that it lies in, is named as what programs leave behind.

    Asked of every file: these few names are compared as they are, and not as patterns.
    """
    around = parts if is_folder else parts[:-1]
    is_named = not USUAL_FOLDERS.isdisjoint(around) or parts[-1] in USUAL
    return is_named or any(part.endswith(USUAL_ENDS) for part in parts)


def _text(parts: Parts, *, is_folder: bool) -> str:
    """As patterns see it; a byte that is not UTF-8 is a character of its own."""
    text = b"/".join(parts).decode("utf-8", "surrogateescape")
    return f"{text}/" if is_folder else text
