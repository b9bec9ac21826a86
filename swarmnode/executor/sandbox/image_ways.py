"""Whether a task can write to its image on this machine, found out by trying it."""

import os
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
_AS_ROOT: Final = (
    "keep compute.tasks_folder on ext4, xfs or btrfs, and have Linux 5.19 with overlayfs "
    "(modprobe overlay)"
)
"""What showing a folder with other owners (mount_setattr(2), in an overlay) needs."""
_AS_USER: Final = (
    "have Linux 5.11 with overlayfs (modprobe overlay), and let programs of this user make "
    "namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
)


def image_trouble(folder: Path, uid: int) -> str:
    """Why images below a folder can only be read here, and the remedy behind a semicolon; empty if
    not. Blocking: some 30 ms."""
    why = _why(folder, uid)
    remedy = _AS_USER if os.geteuid() else _AS_ROOT
    return f"images can only be read here ({why}); {remedy}" if why else ""


def _why(folder: Path, uid: int) -> str:
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
        return str(error)
    said = tried.stderr.strip().splitlines()[-1:] or [f"exit code {tried.returncode}"]
    return said[0] if tried.returncode else ""
