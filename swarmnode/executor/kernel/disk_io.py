"""What jobs may take of a disk: which disk it is, and who goes first at it. Node-side.

Linux 2.6.13 and newer: https://man7.org/linux/man-pages/man2/ioprio_set.2.html,
https://docs.kernel.org/block/ioprio.html
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from swarmnode.executor.kernel.raw import system_call

_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_WHO_PROCESS: Final = 1
_BEST_EFFORT: Final = 2
_LAST: Final = 7
IO_PRIORITY: Final = _BEST_EFFORT << 13 | _LAST
"""The last of the ordinary ones. Not `idle`: a job that holds the journal of the machine's file
system and is served after everybody else would make everybody wait (docs/decisions/disk-io.md)."""


def put_last(pid: int) -> None:
    """Have a process and its children to come go after others at the disk.

    bfq heeds it; mq-deadline and none do not. A kernel that has no such call (gVisor) has no such
    order either: nothing is claimed of it.
    """
    with contextlib.suppress(OSError):
        system_call(_IOPRIO_SET[os.uname().machine], _WHO_PROCESS, pid, IO_PRIORITY)


def disk_under(folder: str, sys: Path = Path("/sys")) -> str:
    """`MAJOR:MINOR` of the whole disk that a folder lies on, as control groups name it.

    "" where its file system has none of its own: btrfs, zfs, overlayfs, a network's. A partition
    is no name that control groups take (moby/moby#10004): its disk is.
    """
    device = os.stat(folder).st_dev
    place = sys / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    if not place.is_dir():
        return ""
    whole = place.resolve().parent if (place / "partition").exists() else place
    return (whole / "dev").read_text().strip()
