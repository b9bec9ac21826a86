"""How every command prints: `-o table|json|jsonl` on stdout, errors as one line on stderr.

What a peer named is shown with its control characters replaced: a name cannot paint the terminal.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import click

from swarmnode.cli import exits

FORMATS: Final = ("table", "json", "jsonl")
SCHEMA: Final = 1
"""`v` of every JSON document: raised when a field changes its meaning or goes."""

_STRAY: Final = re.compile("[\udc80-\udcff]")
"""A byte that is not UTF-8, as Python has it in a text ..."""
_QUOTED: Final = re.compile(r"((?<!\\)(?:\\\\)*)\\udc([89a-f][0-9a-f])")
"""... and as repr() writes that, behind an even number of backslashes."""

NAME_CHARS_SHOWN: Final = 64
"""Of a name in a table on a terminal."""

CommandT = TypeVar("CommandT", bound=Callable[..., object])
Row = Mapping[str, object]


def output_option(command: CommandT) -> CommandT:
    """Give a command its `-o`; it arrives as the argument `fmt`."""
    return click.option(
        "-o",
        "--output",
        "fmt",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How to print the result.",
    )(command)


def emit(value: Row, fmt: str) -> None:
    """Print one thing with named fields."""
    if fmt == "table":
        width = max((len(key) for key in value), default=0)
        lines = (f"{_label(key):<{width}}  {_cell(item)}".rstrip() for key, item in value.items())
        click.echo("\n".join(lines))
    else:
        click.echo(_json({"v": SCHEMA, **value}, fmt))


@contextmanager
def or_said(done: str) -> Iterator[None]:
    """What is written here cannot be asked again: if nobody can read it, or it is interrupted,
    `done` is said instead."""
    try:
        yield
        sys.stdout.flush()
    except (OSError, KeyboardInterrupt):
        complain(done)
        raise


def emit_rows(rows: Sequence[Row], fmt: str, columns: Sequence[str]) -> None:
    """Print a list; in a table only `columns`, in JSON everything."""
    if fmt == "json":
        click.echo(_json({"v": SCHEMA, "items": list(rows)}, fmt))
    elif fmt == "jsonl":
        for row in rows:
            click.echo(_json(row, fmt))
    else:
        is_shown = sys.stdout is not None and sys.stdout.isatty()
        cells = [[_cell(row.get(name, "")) for name in columns] for row in rows]
        if is_shown and "name" in columns:
            at = columns.index("name")
            for line in cells:
                line[at] = _cut(line[at])
        click.echo(table(cells, columns))


def _cut(name: str) -> str:
    """One long name would make every row of a terminal as long; files and pipes get it whole."""
    return name if len(name) <= NAME_CHARS_SHOWN else f"{name[: NAME_CHARS_SHOWN - 3]}..."


def table(cells: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    """Columns aligned under their headings."""
    lines = [[_label(name).upper() for name in columns], *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def paint(text: str, colour: str) -> str:
    """Coloured for a terminal; plain for NO_COLOR (https://no-color.org), TERM=dumb and files."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    is_shown = sys.stdout is not None and sys.stdout.isatty()
    return text if plain or not is_shown else click.style(text, fg=colour)


def stamp(wall_ms: int) -> str:
    """Milliseconds since 1970 as `2026-01-31 12:00:00 UTC`; `-` for 0."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall_ms / 1000)) if wall_ms else "-"


def complain(message: str) -> None:
    """One line on stderr (further faults indented below it)."""
    plain = _QUOTED.sub(lambda match: rf"{match[1]}\x{match[2]}", message)
    first, *others = map(printable, plain.splitlines() or [""])
    click.echo("\n".join([f"error: {first}", *(f"  {line.lstrip()}" for line in others)]), err=True)


@contextmanager
def reporting() -> Iterator[None]:
    """Turn the errors of identity and configuration into exit codes and one line."""
    from p2p.errors import IdentityError, InviteError, NotEntitledError, UnsafeFileError
    from swarmnode.errors import ConfigError, PhraseError

    try:
        yield
    except InviteError as exc:
        code = exits.AUTH if exc.part == "expired" else exits.USAGE
        raise exits.CliError(str(exc), code) from exc
    except (ConfigError, PhraseError) as exc:
        raise exits.CliError(str(exc), exits.USAGE) from exc
    except (NotEntitledError, UnsafeFileError) as exc:
        raise exits.CliError(str(exc), exits.AUTH) from exc
    except IdentityError as exc:
        raise exits.CliError(str(exc)) from exc


def _json(value: object, fmt: str) -> str:
    return json.dumps(value, indent=2 if fmt == "json" else None, ensure_ascii=False)


def _label(key: str) -> str:
    return key.replace("_", " ")


def _cell(value: object) -> str:
    match value:
        case None | "" | () | []:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(_cell(item) for item in value)
    return printable(str(value))


def printable(text: str) -> str:
    """Text of somebody else, harmless for a terminal; a byte that is not UTF-8 as `\\xNN`."""
    if text.isprintable():
        return text
    plain = _STRAY.sub(lambda stray: f"\\x{ord(stray[0]) - 0xDC00:02x}", text)
    return "".join(char if char.isprintable() else "?" for char in plain)
