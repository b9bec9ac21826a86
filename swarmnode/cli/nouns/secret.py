"""`secret`: values that tasks are given and that nobody is shown; never in arguments."""

import os
import sys
from pathlib import Path
from typing import Final

import click

from swarmnode.cli import exits
from swarmnode.cli.each import each
from swarmnode.cli.files.local import standard_input
from swarmnode.cli.groups import NearestGroup
from swarmnode.cli.output import emit, emit_rows, output_option, stamp
from swarmnode.cli.talk import in_path, node
from swarmnode.tasks.secrets.limits import SECRET_BYTES_MAX

_NO_ARGUMENT: Final = (
    "a value is no argument, as everybody can read those: give it on standard input, or --from "
    "FILE; one that you have typed here is in your shell's history"
)


@click.group(cls=NearestGroup)
def secret() -> None:
    """Keys and passwords for your tasks: kept sealed, never shown."""


@secret.command("set")
@click.argument("name")
@click.argument("more", nargs=-1, metavar="")
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path),
    help="Read the value from this file, every byte of it.",
)
@output_option
def secret_set(name: str, more: tuple[str, ...], file: Path | None, fmt: str) -> None:
    """Keep a value under NAME, in place of an older one.

    It is what standard input holds, every byte of it; at a terminal it is asked for and not shown,
    and its line's end is no part of it. Tasks that were submitted before keep what they had.
    """
    if more or "=" in name:  # perhaps the value: it is not told again
        raise click.UsageError(_NO_ARGUMENT)
    _refuse_bad_name(name)
    value = _value(name, file)
    with node() as client:
        kept = client.upload(f"/api/v1/secrets/{in_path(name)}", _Whole(value))
    emit(kept, fmt)


@secret.command("ls")
@output_option
def secret_ls(fmt: str) -> None:
    """List your secrets on this machine: names and sizes."""
    with node() as client:
        rows = client.get("/api/v1/secrets")
    if fmt == "table":
        for row in rows:
            row["set"] = stamp(row["set_ms"])
    emit_rows(rows, fmt, ("name", "size", "set"))


@secret.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@output_option
def secret_rm(names: tuple[str, ...], fmt: str) -> int:
    """Forget secrets. What runs keeps them; open tasks that want one start nowhere any more."""
    with node() as client:
        rows, code = each(
            names,
            lambda name: {
                "name": name,
                **client.call("DELETE", f"/api/v1/secrets/{in_path(name)}"),
            },
        )
    if rows or fmt != "table":
        emit_rows(rows, fmt, ("name", "changed"))
    return code


class _Whole:
    """A value, as an upload reads it."""

    def __init__(self, value: bytes) -> None:
        self._left = value

    def read(self, size: int = -1, /) -> bytes:
        """Up to so many bytes of what is left; all of it for -1."""
        end = len(self._left) if size < 0 else size
        piece, self._left = self._left[:end], self._left[end:]
        return piece


def _refuse_bad_name(name: str) -> None:
    from swarmnode.tasks.secrets.wants import checked_name

    try:
        checked_name(name)
    except ValueError as error:
        raise exits.CliError(str(error), exits.USAGE) from error


def _value(name: str, file: Path | None) -> bytes:
    """Of the file, of standard input, or of whoever sits at the terminal. Raises CliError."""
    if file is not None:
        with file.open("rb") as source:
            return _not_too_long(source.read(SECRET_BYTES_MAX + 1))
    if sys.stdin is not None and os.isatty(0):
        from swarmnode.cli.files.terminal import unseen_line

        return _not_too_long(unseen_line(f"value of {name} (not shown): "))
    if sys.stdin is None:
        raise exits.CliError("standard input is closed: give --from FILE", exits.USAGE)
    return _not_too_long(standard_input().read(SECRET_BYTES_MAX + 1))


def _not_too_long(value: bytes) -> bytes:
    """Raises CliError, also for none."""
    if not value:
        raise exits.CliError("the value is empty: nothing was kept", exits.USAGE)
    if len(value) > SECRET_BYTES_MAX:
        raise exits.CliError(
            f"the value has more than {SECRET_BYTES_MAX} bytes: encrypt the file, make it an input "
            "(--in), and keep the key to it as the secret",
            exits.USAGE,
        )
    return value
