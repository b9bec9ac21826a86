r"""File names as they are, and as text: whatever Linux allows is allowed here.

A name is bytes without NUL. In JSON, TOML, records and on screens it is text: what is UTF-8
stands as it is, any other byte as `\xNN`, and a backslash as two of them. So every name has one
text and every such text one name; only names with a backslash look different from `ls`.
"""

import re
from functools import partial
from typing import Final

from swarmnode.errors import NameRefusedError
from swarmnode.limits import NAME_PART_BYTES_MAX
from swarmnode.tree.limits import FILE_NAME_BYTES_MAX, PATH_PARTS_MAX

Parts = tuple[bytes, ...]
"""A relative name, split: `()` is the folder itself."""

_NO_NAMES: Final = frozenset((b"", b".", b".."))
_ESCAPE: Final = re.compile(r"\\(?:\\|x([0-9a-fA-F]{2})|)")
_STRAY: Final = re.compile("[\udc80-\udcff]")


def text_of(name: bytes) -> str:
    """The name as text, without loss."""
    text = name.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    return _STRAY.sub(lambda stray: f"\\x{ord(stray[0]) - 0xDC00:02x}", text)


def bytes_of(text: str) -> bytes:
    """The name that such a text means. Raises NameRefusedError."""
    return plain_of(text).encode("utf-8", "surrogateescape")


def plain_of(text: str) -> str:
    """The same with stray bytes as lone surrogates, as Python itself has them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NameRefusedError(rf"{text!r}: write a byte that is not UTF-8 as \xNN") from None
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(partial(_meant, text), text)  # bytes that are UTF-8 together: characters
    return plain.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _meant(text: str, escape: re.Match[str]) -> str:
    """The character or stray byte that an escape of that text stands for."""
    if escape[0] == "\\":
        raise NameRefusedError(rf"{text!r}: write \\ for a backslash, \xNN for a byte")
    if escape[1] is None:
        return "\\"
    return bytes([int(escape[1], 16)]).decode("ascii", "surrogateescape")


def parts_of(name: bytes) -> Parts:
    """A relative name as its parts; `./`, doubled and closing slashes mean nothing.

    Raises NameRefusedError for what is absolute, has `..`, or is longer than Linux or we allow.
    """
    if name.startswith(b"/"):
        raise NameRefusedError(f"{text_of(name)!r} is absolute: name it inside the folder")
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    check_parts(parts)
    return parts


def check_parts(parts: Parts) -> None:
    """Raises NameRefusedError unless these can be the parts of a name inside a folder."""
    if len(parts) > PATH_PARTS_MAX:
        raise NameRefusedError(f"{_shown(parts)} lies more than {PATH_PARTS_MAX} folders deep")
    if sum(map(len, parts)) + len(parts) > FILE_NAME_BYTES_MAX:
        raise NameRefusedError(f"{_shown(parts)} is longer than {FILE_NAME_BYTES_MAX} bytes")
    path = b"/".join(parts)
    is_cut = not parts or path.count(b"/") == len(parts) - 1
    if not is_cut or b"\0" in path or not _NO_NAMES.isdisjoint(parts):
        raise NameRefusedError(f"{_shown(parts)} is not a name inside the folder")
    if max(map(len, parts), default=0) > NAME_PART_BYTES_MAX:
        raise NameRefusedError(
            f"{_shown(parts)} has a part of more than {NAME_PART_BYTES_MAX} bytes"
        )


def parts_in(text: str) -> Parts:
    """The same from text."""
    return parts_of(bytes_of(text))


def joined(parts: Parts) -> bytes:
    """The parts with slashes between them."""
    return b"/".join(parts)


def normal(text: str) -> str:
    """The one text of a name: `./a//b/` is `a/b`; `.` is the folder itself."""
    return text_of(joined(parts_in(text))) or "."


def _shown(parts: Parts) -> str:
    text = text_of(b"/".join(parts))
    return repr(text if len(text) <= 80 else f"{text[:40]}...{text[-37:]}")
