"""One line that somebody types, or pastes, at a terminal, and that is not shown."""

import os
import select
import sys
import termios
from typing import Final

from swarmnode.cli import exits

LINE_BYTES_MAX: Final = 4095
"""Of a line a terminal keeps so much, and drops the rest without a word (n_tty, termios(3))."""
PASTED_S: Final = 0.1
"""What is pasted comes at once: more within that belongs to it."""
_FROM_FILE: Final = "nothing was kept: give it by --from FILE, or on standard input"


def unseen_line(prompt: str) -> bytes:
    """Without its end. Raises CliError where what came is more than a line, or was cut off."""
    shown = termios.tcgetattr(0)
    unseen = [*shown[:3], shown[3] & ~termios.ECHO, *shown[4:]]
    try:
        termios.tcsetattr(0, termios.TCSAFLUSH, unseen)
        sys.stderr.write(prompt)
        sys.stderr.flush()
        line = os.read(0, LINE_BYTES_MAX + 1)
        has_more = line.endswith(b"\n") and bool(select.select([0], [], [], PASTED_S)[0])
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, shown)  # what was pasted behind it goes nowhere
        sys.stderr.write("\n")
    if has_more:
        raise exits.CliError(
            f"several lines came, and a value here is one: {_FROM_FILE}", exits.USAGE
        )
    line = line.removesuffix(b"\n")
    if len(line) >= LINE_BYTES_MAX:
        raise exits.CliError(
            f"a terminal cuts lines off at {LINE_BYTES_MAX} bytes: {_FROM_FILE}", exits.USAGE
        )
    return line
