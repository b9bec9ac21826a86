"""Exit codes, stable for scripts, and the error that carries one."""

from typing import Final

import click

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
"""A wrong flag, argument or configuration."""
UNREACHABLE: Final = 3
"""No node answers: start one with `swarmnode run`."""
AUTH: Final = 4
"""Not allowed: token, key or invite."""
NOT_FOUND: Final = 5
DEGRADED: Final = 6
"""It works, but not as it should: `status --check`, `doctor`."""
TEMPORARY: Final = 75
"""Try again later: no bids, a timeout (EX_TEMPFAIL of sysexits.h)."""
TASK_NOT_STARTED: Final = 125
TASK_NOT_INVOCABLE: Final = 126
TASK_NOT_FOUND: Final = 127
INTERRUPTED: Final = 130


class CliError(click.ClickException):
    """Ends the command with one line on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int = ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]
