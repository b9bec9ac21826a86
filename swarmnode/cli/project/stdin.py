"""What is piped into a run, for its command: it goes along as one more file."""

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from swarmnode.cli.files.local import cannot_write, standard_input
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task.inputs import Input

PLACE: Final = ".swarm/stdin"
"""In the work folder: no project has a file there."""
FROM_FILE: Final = ("sh", "-c", 'exec "$@" < "$0"', PLACE)
"""Starts what follows with it."""
PATIENCE_S: Final = 2.0
"""Then somebody should know what is waited for."""
_WAITING: Final = "reading what is piped in, to its end (with < /dev/null nothing is)"


@contextmanager
def piped() -> Iterator[Input | None]:
    """A file with all that comes through standard input, where that is a pipe or a file.

    Nothing of a terminal, a device or a socket: there may never be an end. Raises CliError.
    """
    if not _has_end():
        yield None
        return
    with tempfile.NamedTemporaryFile(prefix="swarm-stdin-") as file:
        _read_into(file)
        yield Input(PLACE, path=Path(file.name)) if file.tell() else None


def _has_end() -> bool:
    try:
        mode = os.fstat(0).st_mode
    except OSError:  # it is closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _read_into(file: IO[bytes]) -> None:
    timer = threading.Timer(PATIENCE_S, task_follow.say, (_WAITING,))
    timer.start()
    try:
        shutil.copyfileobj(standard_input(), file)
        file.flush()
    except OSError as error:
        raise cannot_write(file.name, error) from error
    finally:
        timer.cancel()
