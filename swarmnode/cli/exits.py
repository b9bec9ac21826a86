"""Exit codes, stable for scripts, and the error that carries one."""

import click

from swarmnode.boot.exit_codes import (
    AUTH,
    DEGRADED,
    ERROR,
    INTERRUPTED,
    NOT_FOUND,
    OK,
    READER_GONE,
    TASK_NOT_FOUND,
    TASK_NOT_INVOCABLE,
    TASK_NOT_STARTED,
    TEMPORARY,
    UNREACHABLE,
    USAGE,
)

__all__ = [
    "AUTH",
    "DEGRADED",
    "ERROR",
    "INTERRUPTED",
    "NOT_FOUND",
    "OK",
    "READER_GONE",
    "TASK_NOT_FOUND",
    "TASK_NOT_INVOCABLE",
    "TASK_NOT_STARTED",
    "TEMPORARY",
    "UNREACHABLE",
    "USAGE",
    "CliError",
]


class CliError(click.ClickException):
    """Ends the command with one line on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int = ERROR) -> None:
        super().__init__(message)
        # Click declares it of the class, and reads it of the error.
        self.exit_code = exit_code  # type: ignore[misc]


class ReaderGoneError(Exception):
    """Whoever read our output has what it wanted: end without a word."""
