"""What a task of the sandbox `container` may use of the files there, as Landlock is told it.

The container's programs and settings, its environment, what its node has for it, and its own two
folders: not the folders of other tasks, nor the data of whoever else uses the container.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

_SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/nix/store",
    "/gnu/store", "/proc", "/sys", "/run/systemd/resolve", "/var/lib/ca-certificates",
    "/var/cache/fontconfig",
)  # fmt: skip
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
SHARED: Final = ("/dev/shm", "/tmp", "/var/tmp")  # noqa: S108
"""Where every user may write. Landlock leaves a task the first: what semaphores of the C library
live in."""
_GPU: Final = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps")


def rules(shown: Iterable[Path], own: Iterable[Path], gpus: Sequence[str]) -> list[str]:
    """As swarmnode.executor.kernel.landlock takes them. `gpus`: device files of those granted."""
    names = [*_DEVICES, *(_GPU if gpus else ())]
    return [
        *(f"use {path}" for path in (*_SYSTEM, *shown)),
        *(f"own {path}" for path in (*own, SHARED[0])),
        *(f"device /dev/{name}" for name in names),
        *(f"device {path}" for path in gpus),
    ]


def bound_by(options: Sequence[str]) -> list[Path]:
    """What options for bubblewrap show of the machine: there is no bubblewrap here."""
    return [Path(source) for option, source in pairwise(options) if option == "--ro-bind"]
