"""What git would commit of a folder: what is tracked, and what is new and not ignored. Blocking.

Asked of git itself, so that every rule it knows holds: those of all folders, of the user, of
`.git/info/exclude`. Nothing that a repository configures is run by that.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from swarmnode.errors import ProjectError
from swarmnode.project.rules import Listing
from swarmnode.tree.names import Parts, parts_of, text_of

GIT_TIMEOUT_S: Final = 60.0
"""A listing of 100,000 files takes a second or two; a folder on a slow server more."""
_LIST: Final = ("git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--exclude-standard")
"""Without the setting a hook of the repository would be run."""
_NAMES: Final = ("--cached", "--others")
_NEW: Final = ("--others", "--directory")
"""Folders of which nothing is tracked end with a slash, empty ones as well."""


def is_in_git(folder: Path) -> bool:
    """Whether the folder, or one above it, is a repository; nothing is run for that."""
    return any((above / ".git").exists() for above in (folder, *folder.parents))


def listed(folder: Path, environ: Mapping[str, str]) -> Listing:
    """Everything beneath the folder, with submodules and repositories within it.

    Raises ProjectError, which says what git said.
    """
    clean = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    names: set[Parts] = set()
    new_folders: set[Parts] = set()
    bases: list[Parts] = [()]
    while bases:
        base = bases.pop()
        place = _at(folder, base)
        for name in _asked(place, _NAMES, clean):
            parts = (*base, *parts_of(name))
            if not _is_folder(_at(folder, parts)):
                names.add(parts)
            elif (_at(folder, parts) / ".git").exists():  # a submodule, or one of its own
                bases.append(parts)
        new = (name for name in _asked(place, _NEW, clean) if name.endswith(b"/"))
        new_folders.update((*base, *parts_of(name)) for name in new)
    return Listing(frozenset(names), frozenset(new_folders))


def _at(folder: Path, parts: Parts) -> Path:
    return folder.joinpath(*map(os.fsdecode, parts))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


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
        raise ProjectError(f"git does not list {shown}: {words}")
    return [name for name in done.stdout.split(b"\0") if name]
