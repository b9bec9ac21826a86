"""Words that a task spec may choose from: one list for the spec, the flags and whoever enforces.

It imports nothing heavy: the command line shows these words in its help.
"""

from enum import StrEnum
from typing import Final

NET_WORDS: Final = "none, pypi, pytorch, hf, wandb, github, HOST[:PORT], *.HOST, internet"
"""As `swarmnode.reach` knows them."""


STREAMS: Final = ("stdout", "stderr")
"""What a task prints to; whatever is told of both comes in this order."""


class PriorityClass(StrEnum):
    """Whose work goes first; members in order of urgency."""

    OWNER = "owner"
    LATENCY = "latency"
    CRITICAL = "critical"
    BATCH = "batch"
    SCAVENGER = "scavenger"


class Repeatability(StrEnum):
    """Whether running a task twice does harm."""

    IDEMPOTENT = "idempotent"
    """At least once: after a loss it runs again."""
    ONCE = "once"
    """At most once: after a loss that may have come too late it fails instead."""


class JobSignal(StrEnum):
    """What its submitter may tell the program of a task that runs; numbers are those of Linux."""

    INT = "INT"
    TERM = "TERM"
    HUP = "HUP"
    QUIT = "QUIT"
    USR1 = "USR1"
    USR2 = "USR2"


class Limit(StrEnum):
    """What a job can be limited in.

    `disk` alone is measured some times a second; with `disk-fs` the work folder is a file system of
    its own, which nothing can be written past. `io` is the rate at the machine's disk; `paths` is
    which files of the machine it can reach.
    """

    MEMORY = "memory"
    PIDS = "pids"
    CPU = "cpu"
    DISK = "disk"
    DISK_FS = "disk-fs"
    WALL = "wall"
    NET = "net"
    SYSCALLS = "syscalls"
    IO = "io"
    PATHS = "paths"


class DataWay(StrEnum):
    """How this machine shows a dataset to a task."""

    LAZY = "lazy"
    """While it arrives, at any path: what is read is fetched."""
    WHOLE = "whole"
    """At any path, after all of it has been fetched."""
    INSIDE = "inside"
    """In the work folder alone, after all of it has been fetched: the sandbox has no mounts."""
