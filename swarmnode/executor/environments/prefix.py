"""An environment of conda, as a task sees it: at /env, and where it was if it was not packed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from swarmnode.errors import EnvironmentUnknownError
from swarmnode.executor.environments.image import about_in, variables_in
from swarmnode.executor.environments.shown import PLACE, Shown
from swarmnode.tasks.environments.naming import can_be_prefix

_META: Final = "conda-meta"


def is_prefix(root: Path) -> bool:
    """Whether it is one: packages of conda are named in it."""
    return os.path.isdir(root / _META)


def prefix_shown(root: Path, sources: Callable[[Path], str]) -> Shown:
    """Raises EnvironmentUnknownError for one that no build of ours would have made."""
    about = about_in(root)
    options = ["--ro-bind", sources(root), PLACE]
    if about.prefix:
        if not can_be_prefix(about.prefix):
            raise EnvironmentUnknownError(f"the environment cannot be shown at {about.prefix[:99]}")
        options += ["--symlink", PLACE, about.prefix]
    return Shown(tuple(options), (f"{PLACE}/bin",), variables_in(about))
