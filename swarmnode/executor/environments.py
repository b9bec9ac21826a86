"""The `[env.NAME]` folders of this machine: which may be shown to tasks."""

import os
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
