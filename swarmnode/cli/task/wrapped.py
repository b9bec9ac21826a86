"""What `run` puts before a command, and the command that was typed behind it."""

from collections.abc import Sequence
from typing import Final

STDIN: Final = ".swarm/stdin"
"""In the work folder: no project has a file there."""
FROM_FILE: Final = ("sh", "-c", 'exec < "$0" && rm -r .swarm; exec "$@"', STDIN)
"""Starts what follows with it."""
ITSELF: Final = ".swarm/project"
"""In the work folder, until the command starts: what is told of an installed project."""
INSTALLED: Final = (
    "sh",
    "-c",
    'at=${TMPDIR:-/tmp}/.swarm-project; mv -- "$0" "$at" || at=$PWD/$0; rmdir .swarm 2>/dev/null; '
    'export PATH="$at/bin:$PATH" PYTHONPATH="$at/lib${PYTHONPATH:+:$PYTHONPATH}"; exec "$@"',
    ITSELF,
)
"""Starts what follows with the project's own scripts, and with what is told of it. It leaves the
work folder: nothing of it is among results."""
INTO: Final = ("sh", "-c", 'unset CDPATH; cd -- "./$0" && exec "$@"')
"""Starts what follows in a folder of the work folder, which is named next."""


def typed(run: Sequence[str]) -> str:
    """The command as its person typed it, in one line."""
    words = tuple(run)
    for before in (INSTALLED, FROM_FILE):
        if words[: len(before)] == before:
            words = words[len(before) :]
    if words[: len(INTO)] == INTO:
        words = words[len(INTO) + 1 :]
    return " ".join(words)
