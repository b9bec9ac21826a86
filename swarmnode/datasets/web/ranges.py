"""Which bytes of a file a request wants (RFC 9110, 13 and 14). Decides only.

What asks wrongly gets an answer that it cannot take for the bytes it meant: a file of another tag
comes whole, and a range with nothing in it, which fsspec makes of a read of no bytes, is refused.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

_ONE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class ByteRange(msgspec.Struct, frozen=True):
    """As a request has it: from `first` to `last`, or the last `suffix` bytes."""

    first: int = 0
    last: int | None = None
    suffix: int | None = None

    def __str__(self) -> str:
        if self.suffix is not None:
            return f"bytes=-{self.suffix}"
        return f"bytes={self.first}-{'' if self.last is None else self.last}"

    @property
    def is_from_there_on(self) -> bool:
        """All that follows: who goes on with a download asks so."""
        return self.last is None and self.suffix is None

    def within(self, size: int) -> tuple[int, int] | None:
        """Start and end in a file of that size, as far as there is anything; None: nothing is."""
        if self.suffix is not None:
            start, end = max(0, size - self.suffix), size
        else:
            start, end = self.first, size if self.last is None else min(size, self.last + 1)
        return (start, end) if start < end else None


def wanted(method: str, header: Callable[[str], str], tag: str) -> ByteRange | None:
    """None for the whole file: also for several ranges at once, for what is no range, for any but
    GET, and for who has a part of another one (If-Range; a date is of another one, too).

    `header` gives that of a name, empty without one; `tag` is the file's own.
    """
    match = _ONE.fullmatch(header("range").replace(" ", ""))
    if method != "GET" or match is None or not (match[1] or match[2]):
        return None
    if header("if-range").strip() not in ("", tag):
        return None
    first, last = match.groups()
    if not first:
        return ByteRange(suffix=int(last))
    return ByteRange(int(first), int(last) if last else None)


def is_known(header: Callable[[str], str], tag: str) -> bool:
    """Whether who asks has it already (If-None-Match)."""
    tags = [one.strip().removeprefix("W/") for one in header("if-none-match").split(",")]
    return tag in tags or "*" in tags
