"""Two folders as one: what a task was given below, what it writes above (Linux's overlayfs).

What is given lies where the node put it, as large as it may be, and is only ever read. What the
task changes, adds or removes of it is in its work disk. See docs/decisions/inputs-beneath.md and
https://docs.kernel.org/filesystems/overlayfs.html. Blocking; node-side.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from swarmnode.executor.kernel import syscalls as kernel

UPPER, SCRATCH = ".swarm.upper", ".swarm.scratch"
"""Folders of a work disk: what the task wrote, and what overlayfs needs beside it."""
_PLACE: Final = "/tmp"  # noqa: S108  (always there; covered in a namespace of our own)


def laid_over(below: str, disk: int) -> int:
    """A descriptor of a work disk over a folder, mounted nowhere. Raises OSError.

    Both must be mounted for whoever lays them (until Linux 6.15): so a thread does it, in a mount
    namespace that ends with it. The descriptor of the disk is of no more use after that.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="overlay") as thread:
        return thread.submit(_lay, below, disk).result()


def _lay(below: str, disk: int) -> int:
    kernel.new_mount_namespace()
    lower = os.open(below, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # before it may be covered
    try:
        kernel.attach(disk, _PLACE)
        return kernel.open_file_system("overlay", _settings(lower))
    finally:
        os.close(lower)


def _settings(lower: int) -> dict[str, str]:
    return {
        # By descriptor: a colon or a comma in a path would mean something else.
        "lowerdir": f"/proc/self/fd/{lower}",
        "upperdir": f"{_PLACE}/{UPPER}",
        "workdir": f"{_PLACE}/{SCRATCH}",
        "redirect_dir": "on",  # else a folder that was given could not be renamed,
        "metacopy": "on",  # and a file would be copied whole for its new name or rights
        "index": "off",
        "xino": "auto",
    }
