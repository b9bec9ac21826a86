r"""Which names somebody means: the pattern language of `--out`.

    *        any characters within one name, also a leading dot     ?   one character
    **       as a whole part: any number of folders, also none      [a-z] [!a-z]  one of these
    folder   a name that is a folder brings everything beneath it    folder/  only if it is one
    \*       the character itself; \xNN is the byte of that number

Matching takes time in proportion to pattern times name, whatever the pattern is.
"""

import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, TypeVar

import msgspec

from swarmnode.errors import NameRefusedError
from swarmnode.tree.limits import PATTERN_CHARS_MAX
from swarmnode.tree.names import Parts, check_parts


class Wild(Enum):
    """`*` among characters, `**` among folders."""

    RUN = "any run"


class Choice(msgspec.Struct, frozen=True):
    """One character out of some."""

    ranges: tuple[tuple[str, str], ...]
    is_not: bool = False

    def takes(self, char: str) -> bool:
        """Whether the character is one of these."""
        return any(low <= char <= high for low, high in self.ranges) is not self.is_not


Token = str | Choice | Wild
Part = tuple[Token, ...] | Wild
GivenT = TypeVar("GivenT")

_ANY_CHAR: Final = Choice((), is_not=True)
_BYTE: Final = re.compile(r"\\x([0-9a-fA-F]{2})")


class Pattern:
    """One pattern, read. Raises NameRefusedError for one that could never match."""

    def __init__(self, text: str) -> None:
        if len(text) > PATTERN_CHARS_MAX:
            raise NameRefusedError(f"a pattern of more than {PATTERN_CHARS_MAX} characters")
        if text.startswith("/"):
            raise NameRefusedError(f"{text!r} is absolute: name it inside the work folder")
        self.text = text
        self.is_folder = text.endswith("/")
        """Only folders are meant."""
        split = [part for part in text.split("/") if part not in ("", ".")]
        self._parts = [_part(part, text) for part in split]
        if not text:
            raise NameRefusedError("an empty pattern: `.` is the whole folder")

    @property
    def name(self) -> Parts | None:
        """The only name it can match, when it has no wildcard; `()` is the folder itself."""
        plain = [_plain(part) for part in self._parts]
        names = tuple(name for name in plain if name is not None)
        return names if len(names) == len(plain) else None

    def matches(self, parts: Parts) -> bool:
        """Whether the name is meant; a folder that is meant brings what is beneath it."""
        names = [part.decode("utf-8", "surrogateescape") for part in parts]
        return _greedy(self._parts, names, _part_matches)


def _greedy(
    pattern: Sequence[GivenT], given: Sequence[str], matches: Callable[[GivenT, str], bool]
) -> bool:
    """Match with wildcards for any run: going back to the last of them is always enough."""
    at = here = taken = 0
    star = -1
    while here < len(given):
        if at < len(pattern) and pattern[at] is Wild.RUN:
            star, taken = at, here
            at += 1
        elif at < len(pattern) and matches(pattern[at], given[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            taken += 1
            at, here = star + 1, taken
        else:
            return False
    return all(part is Wild.RUN for part in pattern[at:])


def _part_matches(part: Part, name: str) -> bool:
    return isinstance(part, tuple) and _greedy(part, name, _takes)


def _takes(token: Token, char: str) -> bool:
    return token.takes(char) if isinstance(token, Choice) else token == char


def _plain(part: Part) -> bytes | None:
    """The one name that a part without wildcards matches."""
    if isinstance(part, Wild) or not all(isinstance(token, str) for token in part):
        return None
    return "".join(map(str, part)).encode("utf-8", "surrogateescape")


def _part(text: str, whole: str) -> Part:
    if text == "**":
        return Wild.RUN
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        token, at = _token(text, at, whole)
        tokens.append(token)
    part = _merge_bytes(tokens)
    if (name := _plain(part)) is not None:
        check_parts((name,))
    return part


def _token(text: str, at: int, whole: str) -> tuple[Token, int]:
    """What stands there, and where the next begins."""
    if text[at] == "*":
        return Wild.RUN, at + 1
    if text[at] == "?":
        return _ANY_CHAR, at + 1
    return _choice(text, at, whole) if text[at] == "[" else _literal(text, at, whole)


def _literal(text: str, at: int, whole: str) -> tuple[str, int]:
    if text[at] != "\\":
        return text[at], at + 1
    if byte := _BYTE.match(text, at):
        return bytes([int(byte[1], 16)]).decode("ascii", "surrogateescape"), byte.end()
    if at + 1 == len(text):
        raise NameRefusedError(f"{whole!r} has a backslash with nothing after it")
    return text[at + 1], at + 2


def _choice(text: str, at: int, whole: str) -> tuple[Choice, int]:
    at += 1
    is_not = text[at : at + 1] in ("!", "^") and bool(text[at : at + 1])
    at += is_not
    ranges: list[tuple[str, str]] = []
    while at < len(text) and (text[at] != "]" or not ranges):
        low, at = _literal(text, at, whole)
        high = low
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] not in ("", "]"):
            high, at = _literal(text, at + 1, whole)
        ranges.append((low, high))
    if at >= len(text):
        raise NameRefusedError(rf"{whole!r} has a [ without its ]: write \[ for the character")
    return Choice(tuple(ranges), is_not), at + 1


def _merge_bytes(tokens: Sequence[Token]) -> tuple[Token, ...]:
    r"""`\xc3\xa4` is one character: bytes that are UTF-8 together stand for it."""
    merged: list[Token] = []
    run = ""
    for token in (*tokens, Wild.RUN):
        if isinstance(token, str):
            run += token
            continue
        merged += run.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        run = ""
        merged.append(token)
    return tuple(merged[:-1])
