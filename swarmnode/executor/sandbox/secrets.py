"""Secrets of a job, from the node's memory into its sandbox: no file on a disk ever holds them.

The node writes them into a file that exists in memory alone and hands its descriptor to the shim;
the shim's child takes it apart (`swarmnode.executor.shim.secret_files`) and bubblewrap makes
variables of them, and files in a file system in memory that belongs to the job.
"""

import os
from typing import Final

from swarmnode.executor.port import JobSecrets
from swarmnode.executor.shim.secret_files import FD_FILES, packed
from swarmnode.tasks.secrets.wants import FOLDER

NO_PLACE: Final = (
    "this machine runs tasks without namespaces (compute.sandbox = container): they have no place "
    "of their own for secrets"
)
_SLACK_BYTES: Final = 1 << 20
"""Of the file system of the secrets: whole pages, and names."""


def in_memory(secrets: JobSecrets | None) -> int:
    """A descriptor of a file in memory, at its beginning; of /dev/null where there are none.

    Raises OSError.
    """
    if secrets is None:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    fd = os.memfd_create("swarm-secrets", os.MFD_CLOEXEC)
    try:
        data = packed([_options(secrets), *secrets.files.values()])
        while data:
            data = data[os.write(fd, data) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd


def _options(secrets: JobSecrets) -> bytes:
    """For `bwrap --args`, before all others: what comes after wins, and / is read-only then."""
    size = sum(map(len, secrets.files.values())) + _SLACK_BYTES
    options = ["--perms", "0700", "--size", str(size), "--tmpfs", FOLDER]
    for number, name in enumerate(secrets.files):
        options += ["--perms", "0400", "--file", str(FD_FILES + number), f"{FOLDER}/{name}"]
    options += ["--remount-ro", FOLDER]
    words = [option.encode() for option in options]
    for variable, value in secrets.variables.items():
        words += [b"--setenv", variable.encode(), value]
    return b"".join(word + b"\0" for word in words)
