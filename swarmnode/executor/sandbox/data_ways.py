"""How this machine can show datasets to tasks, found out by trying it.

Whoever says so asks here: the node, its advert, and `doctor`.
"""

import subprocess
import sys
from typing import Final

from swarmnode.executor.port import DataWay
from swarmnode.executor.sandbox import bubblewrap

_TRIAL: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from swarmnode.executor.kernel import fuse_mount; fuse_mount.trial()"
)
_WHOLE: Final = "they are fetched whole before a task starts"
_REMEDY: Final = "let the node's user open /dev/fuse (sudo chmod 666 /dev/fuse), then restart it"


def data_way(sandbox: str) -> tuple[DataWay, str]:
    """The way, and why not in a better one. Blocking: some 20 ms."""
    if sandbox != "bwrap":
        return (
            DataWay.INSIDE,
            f"the container sandbox has no mounts: datasets are copied into work folders, {_WHOLE}",
        )
    why = _trouble()
    return (DataWay.WHOLE, f"{why}: {_WHOLE}; {_REMEDY}") if why else (DataWay.LAZY, "")


def _trouble() -> str:
    """Why nothing can be mounted that a node answers for; a process is tried with it."""
    try:
        tried = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-I", "-S", "-c", _TRIAL, bubblewrap.ROOT],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=bubblewrap.TRIAL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nothing can be mounted here by /dev/fuse ({error})"
    said = tried.stderr.strip().splitlines()[-1:] or [f"exit code {tried.returncode}"]
    return f"nothing can be mounted here by /dev/fuse ({said[0]})" if tried.returncode else ""
