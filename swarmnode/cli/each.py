"""Commands that take several things go through all of them, and say which could not be done."""

from collections.abc import Callable, Sequence
from typing import Final

from swarmnode.cli import exits
from swarmnode.cli.client import ApiError, Document
from swarmnode.cli.output import complain, printable
from swarmnode.cli.talk import EXIT_OF_CODE

_CAP_CHARS: Final = 14
"""Enough to tell one capability from another, and no help to a reader."""


def each(names: Sequence[str], act: Callable[[str], Document]) -> tuple[list[Document], int]:
    """What came of each, in order, and the exit code: of the first that failed, else 0.

    What is named twice is done once. A node that cannot be reached ends it all at once.
    """
    rows: list[Document] = []
    code = exits.OK
    for name in dict.fromkeys(names):
        try:
            rows.append(act(name))
        except ApiError as error:
            complain(f"{_shown(name)}: {error}")
            code = code or EXIT_OF_CODE.get(error.code, exits.ERROR)
        except exits.CliError as error:
            complain(f"{_shown(name)}: {error.format_message()}")
            code = code or error.exit_code
    return rows, code


def _shown(name: str) -> str:
    """For a message, which may end in a log: the whole of a capability lets others read."""
    if not name:
        return "''"
    return f"{name[:_CAP_CHARS]}..." if name.startswith("swarm:") else printable(name)
