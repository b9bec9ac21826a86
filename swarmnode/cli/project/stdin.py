"""What is piped into a run, for its command: it goes along as one more file."""

import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from swarmnode.cli.files.local import cannot_write, standard_input
from swarmnode.cli.talk import human_bytes
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task.inputs import Input
from swarmnode.cli.task.wrapped import STDIN

PATIENCE_S: Final = 2.0
"""Then somebody should know what is waited for."""
_WAITING: Final = "reading what is piped in, to its end (-n: nothing of it)"


@contextmanager
def piped(*, is_wanted: bool) -> Iterator[Input | None]:
    """A file with all that comes through standard input, where that is a pipe or a file.

    Nothing of a terminal, a device or a socket: there may never be an end. Raises CliError.
    """
    if not is_wanted or not _has_end():
        yield None
        return
    with tempfile.TemporaryFile() as file:  # no name: nothing is left of it, whatever ends us
        _read_into(file)
        size = file.tell()
        if size:
            task_follow.say(f"standard input, {human_bytes(size)}, goes along (-n: nothing of it)")
        yield Input(STDIN, path=Path(f"/proc/self/fd/{file.fileno()}")) if size else None


def _has_end() -> bool:
    if sys.stdin is None:  # it is closed
        return False
    mode = os.fstat(0).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _read_into(file: IO[bytes]) -> None:
    timer = threading.Timer(PATIENCE_S, task_follow.say, (_WAITING,))
    timer.start()
    try:
        shutil.copyfileobj(standard_input(), file)
        file.flush()
    except OSError as error:
        raise cannot_write(f"{tempfile.gettempdir()} (TMPDIR)", error) from error
    finally:
        timer.cancel()
