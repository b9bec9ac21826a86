"""Whether a task can write to its image on this machine, found out by trying it."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from swarmnode.executor.sandbox import bubblewrap

_TRIAL: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from swarmnode.executor.kernel import system_overlay; "
    "system_overlay.trial(sys.argv[2], int(sys.argv[3]))"
)


def image_trouble(folder: Path, uid: int) -> str:
    """Why images below a folder can only be read here; empty if not. Blocking: some 30 ms."""
    words = [sys.executable, "-I", "-S", "-c", _TRIAL, bubblewrap.ROOT, str(folder), str(uid)]
    try:
        tried = subprocess.run(  # noqa: S603 - our own interpreter
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=bubblewrap.TRIAL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"images can only be read here ({error})"
    said = tried.stderr.strip().splitlines()[-1:] or [f"exit code {tried.returncode}"]
    return f"images can only be read here ({said[0]})" if tried.returncode else ""
