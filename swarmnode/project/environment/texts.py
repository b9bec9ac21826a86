"""Files that name packages, as text: whatever wrote them. Reads files; blocking."""

import codecs
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from swarmnode.errors import ProjectError

FILE_BYTES_MAX: Final = 64 << 20
"""The largest uv.lock known to us has 5 MB."""
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""PowerShell writes what `>` takes as UTF-16; pip and uv read that, too."""
_BLOCK: Final = re.compile(r"(?m)^# /// script[ \t]*\r?\n((?:^#(?: .*|)\r?\n)+)^# ///[ \t]*\r?$")
"""As PEP 723 has it."""


def bytes_of(file: Path) -> bytes:
    """All of it. Raises ProjectError with what helps."""
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise ProjectError(f"{file.name} is too large to be read")
        return file.read_bytes()
    except PermissionError as error:
        raise ProjectError(
            f"{file.name} cannot be read: it is not yours to read (chmod +r {file.name})"
        ) from error
    except OSError as error:
        raise ProjectError(f"{file.name} cannot be read: {error.strerror}") from error


def decoded(name: str, data: bytes) -> str:
    """In the encoding that its first bytes tell, else UTF-8. Raises ProjectError."""
    known = (encoding for mark, encoding in _MARKS if data.startswith(mark))
    try:
        return data.decode(next(known, "utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProjectError(
            f"{name} cannot be read: line {line} is not UTF-8: save it as that"
        ) from error


def text_of(file: Path) -> str:
    """A file of any of these encodings. Raises ProjectError."""
    return decoded(file.name, bytes_of(file))


def table_in(file: Path) -> dict[str, Any]:
    """A TOML file, empty where there is none. Raises ProjectError."""
    if not file.exists():
        return {}
    return _table(file.name, text_of(file))


def block_in(file: Path) -> str:
    """The metadata that a script has of itself (PEP 723), as TOML; empty without any.

    Raises ProjectError.
    """
    found = _BLOCK.search(bytes_of(file).decode("utf-8", "replace"))
    lines = found[1].splitlines() if found else []
    return "".join(f"{line[2:]}\n" for line in lines)


def script_table(file: Path) -> dict[str, Any]:
    """That metadata. Raises ProjectError."""
    return _table(f"{file.name} (# /// script)", block_in(file))


def _table(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{name} cannot be read: {error}") from error
