"""What git would commit of a folder: what is tracked, and what is new and not ignored. Blocking.

Asked of git itself, so that every rule it knows holds: those of all folders, of the user, of
`.git/info/exclude`. Nothing that a repository configures is run by that.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from swarmnode.errors import ProjectError
from swarmnode.project.rules import Listing
from swarmnode.tree.names import Parts, parts_of, text_of

GIT_TIMEOUT_S: Final = 60.0
"""A listing of 100,000 files takes a second or two; a folder on a slow server more."""
_LIST: Final = ("git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--exclude-standard")
"""Without the setting a hook of the repository would be run."""
_DESCRIBE: Final = ("git", "-c", "core.fsmonitor=false", "describe", "--tags", "--long")
_WITH_DIGITS: Final = ("--abbrev=7", "--match", "*[0-9]*")
_NAMES: Final = ("--cached", "--others")
_NEW: Final = ("--others", "--directory")
"""Folders of which nothing is tracked end with a slash, empty ones as well."""
_IGNORED: Final = ("--others", "--ignored", "--directory")
_MISLEADING: Final = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"),
        *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"),
        *("GIT_IMPLICIT_WORK_TREE", "GIT_SHALLOW_FILE", "GIT_CEILING_DIRECTORIES"),
    }
)
"""Of a hook or script that is about another repository; what configures git stays."""
_HARMLESS: Final = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what it lacks, by its own commands
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


def is_in_git(folder: Path) -> bool:
    """Whether the folder, or one above it, is a repository; nothing is run for that."""
    return any((above / ".git").exists() for above in (folder, *folder.parents))


def listed(folder: Path, environ: Mapping[str, str]) -> Listing:
    """Everything beneath the folder, with submodules and repositories within it.

    Raises ProjectError, which says what git said.
    """
    clean = _without_misleading(environ)
    names, new, ignored, not_here = set[Parts](), set[Parts](), set[Parts](), set[Parts]()
    bases: list[Parts] = [()]
    for base in bases:  # it grows meanwhile
        place = _at(folder, base)
        if base:  # what only looks like a repository must not stand for the one around it
            clean["GIT_CEILING_DIRECTORIES"] = str(place.parent)
        for parts in _beneath(base, _asked(place, _NAMES, clean)):
            if not _is_folder(_at(folder, parts)):
                names.add(parts)
            elif (_at(folder, parts) / ".git").exists():  # a submodule, or one of its own
                bases.append(parts)
            elif _is_empty(_at(folder, parts)):
                not_here.add(parts)
        new.update(_beneath(base, _folders(_asked(place, _NEW, clean))))
        ignored.update(_beneath(base, _folders(_asked(place, _IGNORED, clean))))
    return Listing(
        frozenset(names), frozenset(new - set(bases)), frozenset(ignored), frozenset(not_here)
    )


def described(folder: Path, environ: Mapping[str, str]) -> str:
    """The newest tag with a number before what is checked out, commits since, and which it is, as
    `git describe --long` has it; empty where there is none, or no git to be asked."""
    if not is_in_git(folder):
        return ""
    try:
        done = subprocess.run(  # noqa: S603
            (*_DESCRIBE, *_WITH_DIGITS),
            cwd=folder,
            env=_without_misleading(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""  # whoever lists the folder says what is wrong
    return "" if done.returncode else done.stdout.decode("utf-8", "replace").strip()


def _without_misleading(environ: Mapping[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in environ.items() if name not in _MISLEADING}
    return {**clean, **_HARMLESS}


def _folders(names: Iterable[bytes]) -> Iterator[bytes]:
    return (name for name in names if name.endswith(b"/"))


def _beneath(base: Parts, names: Iterable[bytes]) -> Iterator[Parts]:
    """Of what git lists, with the folder it was asked in before it; never that folder itself."""
    return ((*base, *parts) for name in names if (parts := parts_of(name)))


def _at(folder: Path, parts: Parts) -> Path:
    return folder.joinpath(*map(os.fsdecode, parts))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_empty(folder: Path) -> bool:
    with suppress(OSError):  # whoever looks into it says what is wrong
        return not any(folder.iterdir())
    return False


def _asked(folder: Path, what: Sequence[str], environ: Mapping[str, str]) -> list[bytes]:
    shown = text_of(os.fsencode(folder))
    try:
        done = subprocess.run(  # noqa: S603
            (*_LIST, *what),
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise ProjectError(f"{shown} has just gone") from error
        raise ProjectError(
            f"{shown} is a git repository, and there is no git here to say what it ignores: "
            "install git, or send everything with --all-files"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ProjectError(
            f"git did not list {shown} within {GIT_TIMEOUT_S:.0f} s: try again, or --all-files"
        ) from error
    if done.returncode:
        words = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise ProjectError(f"git does not list {shown}: {words} (--all-files does not ask it)")
    return [name for name in done.stdout.split(b"\0") if name]
