"""Which bytes of a file are wanted (RFC 9110, 14). Decides only."""

import re
from typing import Final

import msgspec

from swarmnode.mirror.errors import AskRefusedError

_ONE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class ByteRange(msgspec.Struct, frozen=True):
    """As a request has it: from `first` to `last`, or the last `suffix` bytes."""

    first: int = 0
    last: int | None = None
    suffix: int | None = None

    @property
    def is_from_there_on(self) -> bool:
        """All that follows: who goes on with a download asks so."""
        return self.last is None and self.suffix is None

    def within(self, size: int) -> tuple[int, int]:
        """Start and end in a file of that size. Raises AskRefusedError (416)."""
        if self.suffix is not None:
            start, end = max(0, size - self.suffix), size
        else:
            start, end = self.first, size if self.last is None else min(size, self.last + 1)
        if start >= end:
            raise AskRefusedError(f"the file has {size} bytes", 416, size)
        return start, end


def wanted(header: str) -> ByteRange | None:
    """None for the whole file: also for several ranges at once, or what is no range (RFC 9110)."""
    match = _ONE.fullmatch(header.strip().replace(" ", ""))
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return ByteRange(suffix=int(last))
    if last and int(last) < int(first):
        return None
    return ByteRange(int(first), int(last) if last else None)
