"""Commands that take several things go through all of them, and say which could not be done."""

from collections.abc import Callable, Sequence
from typing import Any

from swarmnode.cli import exits
from swarmnode.cli.client import ApiError
from swarmnode.cli.output import complain, printable
from swarmnode.cli.talk import EXIT_OF_CODE


def each(
    names: Sequence[str], act: Callable[[str], dict[str, Any]]
) -> tuple[list[dict[str, Any]], int]:
    """What came of each, in order, and the exit code: of the first that failed, else 0.

    A node that cannot be reached ends it all at once.
    """
    rows: list[dict[str, Any]] = []
    code = exits.OK
    for name in names:
        try:
            rows.append(act(name))
        except ApiError as error:
            complain(f"{printable(name)}: {error}")
            code = code or EXIT_OF_CODE.get(error.code, exits.ERROR)
        except exits.CliError as error:
            complain(f"{printable(name)}: {error.format_message()}")
            code = code or error.exit_code
    return rows, code
