"""uv, the program: where it is, and what it says of a project. Blocking."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from swarmnode.errors import ProjectError

_RESOLVE_S: Final = 600.0
"""Resolving takes seconds; a slow index many minutes at the most."""
_OURS: Final = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


def uv_program() -> str:
    """The uv that was installed with us, else the one on the PATH. Raises ProjectError."""
    try:
        from uv import find_uv_bin

        return os.fsdecode(find_uv_bin())
    except (ImportError, FileNotFoundError):
        if found := shutil.which("uv"):
            return found
    raise ProjectError("uv is not installed beside swarm: pip install uv")


def said_by_uv(
    file: Path,
    words: Sequence[str],
    variables: Mapping[str, str],
    *,
    given: str = "",
    sandbox: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """What it answers about a file, whose folder it runs in; `sandbox` are words before its own.

    Raises ProjectError.
    """
    plain = {key: os.environ[key] for key in ("HOME", "PATH", "LANG") if key in os.environ}
    try:
        return subprocess.run(  # noqa: S603  (our own uv, no shell)
            [*sandbox, uv_program(), *words, "--no-progress"],
            env={**plain, **variables, **_OURS},
            cwd=file.parent,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_RESOLVE_S,
            check=False,
            input=given,
        )
    except subprocess.TimeoutExpired as error:
        raise ProjectError(f"{file.name}: not resolved within {_RESOLVE_S:.0f} s") from error
