"""Whether a uv.lock is still that of its project, as uv itself judges. Blocking."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from swarmnode.errors import ProjectError
from swarmnode.project.environment.indexes import for_uv
from swarmnode.project.environment.texts import text_of
from swarmnode.project.environment.uv import said_by_uv
from swarmnode.project.root import PROJECT_FILE

_FOLDER: Final = re.compile(r'^source = \{ (?:editable|virtual|directory) = "([^"]+)" \}', re.M)
_STALE: Final = re.compile(r"needs to be updated|No solution found", re.IGNORECASE)
"""It would have to be resolved anew, which succeeds or, without a network, does not."""


def project_files(lock: Path) -> Iterator[Path]:
    """The pyproject.toml of its project, and those of the folders that it has in it.

    Raises ProjectError.
    """
    for folder in dict.fromkeys([".", *_FOLDER.findall(text_of(lock))]):
        if (file := lock.parent / folder / PROJECT_FILE).is_file():
            yield file


def is_frozen() -> bool:
    """Whether a lock is to be taken as it is, as uv has it."""
    return os.environ.get("UV_FROZEN", "").lower() in ("1", "true", "yes", "on", "y", "t")


def refuse_stale(lock: Path, asks: Path) -> str:
    """Raises ProjectError where what it was made of, a pyproject.toml or script, asks for others.

    Empty, or why that could not be found out. UV_FROZEN takes it as it is, as with uv itself.
    """
    if is_frozen() or not asks.is_file():
        return ""
    is_script = asks.name != PROJECT_FILE
    words = ["--script", str(asks)] if is_script else []
    # Nothing of pip's: who made the lock did so with uv.
    variables = dict(for_uv({}, os.environ).variables)
    told = said_by_uv(lock, ["lock", "--check", "--offline", *words], variables)
    if not told.returncode:
        return ""
    if _STALE.search(told.stderr):
        made_by = f"uv lock --script {asks.name}" if is_script else "uv lock"
        raise ProjectError(
            f"{lock.name} is older than what {asks.name} asks for now: "
            f"{made_by} brings it up to date "
            "(UV_FROZEN=1 takes it as it is)"
        )
    lines = [line.strip() for line in told.stderr.splitlines() if line.startswith("error:")]
    return f"{lock.name} could not be compared with {asks.name}, and is taken as it is: " + (
        lines[0].removeprefix("error: ") if lines else f"uv lock --check: {told.returncode}"
    )
