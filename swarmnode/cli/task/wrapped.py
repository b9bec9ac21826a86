"""What `run` puts before a command, and the command that was typed behind it."""

from collections.abc import Sequence
from typing import Final

STDIN: Final = ".swarm/stdin"
"""In the work folder: no project has a file there."""
FROM_FILE: Final = ("sh", "-c", 'exec < "$0" && rm -r .swarm; exec "$@"', STDIN)
"""Starts what follows with it."""
INTO: Final = ("sh", "-c", 'unset CDPATH; cd -- "./$0" && exec "$@"')
"""Starts what follows in a folder of the work folder, which is named next."""


def typed(run: Sequence[str]) -> str:
    """The command as its person typed it, in one line."""
    words = tuple(run)
    if words[: len(FROM_FILE)] == FROM_FILE:
        words = words[len(FROM_FILE) :]
    if words[: len(INTO)] == INTO:
        words = words[len(INTO) + 1 :]
    return " ".join(words)
