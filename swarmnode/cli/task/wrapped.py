"""What `run` puts before a command, and the command that was typed behind it."""

from collections.abc import Sequence
from typing import Final

STDIN: Final = ".swarm/stdin"
"""In the work folder: no project has a file there."""
FROM_FILE: Final = (
    "sh",
    "-c",
    'exec < "$0" && rm -- "$0"; rmdir .swarm 2>/dev/null; exec "$@"',
    STDIN,
)
"""Starts what follows with it."""
ITSELF: Final = ".swarm/project"
"""In the work folder, until the command starts: what is told of an installed project."""
INSTALLED: Final = (
    "sh",
    "-c",
    's_at=$(mktemp -d) && s_at=$(cd "$s_at" && pwd) && mv -- "$0" "$s_at/project" && '
    "s_at=$s_at/project || s_at=$PWD/$0; s_all=; "
    "rmdir .swarm 2>/dev/null; set -f; IFS=:; "
    'for s_one in $1; do s_all="$s_all:$PWD${s_one:+/}$s_one"; s_all=${s_all%/.}; done; '
    'unset IFS; shift; export PATH="$s_at/bin:$PATH" '
    'PYTHONPATH="$s_at/lib${PYTHONPATH:+:$PYTHONPATH}$s_all"; exec "$@"',
    ITSELF,
)
"""Starts what follows with the project's own scripts, with what is told of it, and with its
modules, whose folders are named next, with a colon between two; wherever the work folder is. What
is told leaves that: nothing of it is among results."""
INTO: Final = ("sh", "-c", 'unset CDPATH; cd -- "./$0" && exec "$@"')
"""Starts what follows in a folder of the work folder, which is named next."""


def typed(run: Sequence[str]) -> str:
    """The command as its person typed it, in one line."""
    words = tuple(run)
    for before, more in ((INSTALLED, 1), (FROM_FILE, 0), (INTO, 1)):
        if words[: len(before)] == before:
            words = words[len(before) + more :]
    return " ".join(words)
