"""The `[env.NAME]` folders of this machine: which may be shown to tasks."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from swarmnode.errors import ConfigError


def checked_environment(name: str, path: Path, folder: Path) -> Path:
    """The folder as an absolute path. Raises ConfigError."""
    absolute = Path(os.path.abspath(path))  # links stay: a virtual environment may hold one
    if not absolute.is_dir():
        raise ConfigError(f"[env.{name}] path = {str(path)!r} is not a folder")
    if folder.is_relative_to(absolute) or folder.is_relative_to(absolute.resolve()):
        raise ConfigError(f"[env.{name}] path = {str(path)!r} would show tasks the node's folder")
    if os.geteuid() == 0 and absolute.stat().st_mode & 0o005 != 0o005:
        raise ConfigError(
            f"[env.{name}] path = {str(path)!r}: a node that is root runs tasks as a user without "
            f"rights, who may not read it: chmod -R o+rX {str(path)!r}"
        )
    return absolute


def pinned(paths: Iterable[Path]) -> dict[str, str]:
    """Where folders really are now: nobody swaps one, or one above it, for a way elsewhere."""
    return {str(path): os.path.realpath(path) for path in paths}


def environment_options(root: Path, sources: Callable[[Path], str]) -> list[str]:
    """Show an environment folder and, for a virtual environment, the interpreter it points to.

    Everything lies in the sandbox at the path it has outside, so that links keep working. Only
    an interpreter's own prefix is shown whole, never the folder that merely holds a link to it.
    """
    shown = [root, Path("/usr"), Path("/bin")]
    options = ["--ro-bind", sources(root), str(root)]
    for place in _places_after(root / "bin" / "python3"):
        prefix = place.parent.parent
        if any(place.is_relative_to(path) for path in shown):
            continue
        if any(prefix.glob("lib/python3.*")):
            shown.append(prefix)
            options += ["--ro-bind", sources(prefix), str(prefix)]
        elif place.is_symlink():
            options += ["--symlink", os.readlink(place), str(place)]
    return options


def _places_after(link: Path) -> Iterator[Path]:
    """Where it leads: python -> python3 -> /opt/python/bin/python3.11, one link at a time."""
    for _ in range(16):
        if not link.is_symlink():
            return
        link = Path(os.path.normpath(link.parent / os.readlink(link)))
        yield link
