"""The names of one owner, as they are handed to whoever works with them (storage.facade)."""

from collections.abc import Awaitable, Callable

from p2p.ids import PeerId
from storage.facade import NameValue
from storage.limits import NAME_CHARS_MAX, NAME_NUMBER_MAX, NAME_VALUE_BYTES_MAX
from storage.records.names.messages import NameRecord
from storage.records.names.rights import NameRight

Reader = Callable[[NameRight, str], Awaitable[NameValue | None]]
Writer = Callable[[NameRight, NameRecord], Awaitable[NameValue]]


class NamesOfOne:
    """Satisfies storage.facade.OwnedNames."""

    def __init__(self, right: NameRight, read: Reader, write: Writer) -> None:
        self._right, self._read, self._write = right, read, write

    @property
    def owner(self) -> PeerId:
        """The id of the key the names belong to."""
        return PeerId(self._right.owner)

    async def read(self, name: str) -> NameValue | None:
        """The newest value that was written; None when there never was one.

        Raises TooFewPeersError, ValueError (not a name).
        """
        _check_name(name)
        return await self._read(self._right, name)

    async def write(self, name: str, value: bytes, *, expected: int, fence: int) -> NameValue:
        """Replace the value of sequence `expected` (0: there is none yet).

        Repeating a write whose outcome is unknown is safe: it succeeds if it had already.
        Raises NameConflictError, StaleFenceError; TooFewPeersError, after which the write may or
        may not have happened; ValueError (not a name, too long a value, another fence than the
        granted one); PermissionError when these names are only to be read.
        """
        _check_name(name)
        if len(value) > NAME_VALUE_BYTES_MAX:
            raise ValueError(f"a value has at most {NAME_VALUE_BYTES_MAX} bytes: store an object")
        if not 0 <= fence < NAME_NUMBER_MAX or not 0 <= expected < NAME_NUMBER_MAX:
            raise ValueError("fence and expected sequence are 0 or more, and below 2^53")
        right = self._right
        if right.signer is None:
            raise PermissionError(f"the names of {right.owner} can be read here, not written")
        if right.fence not in (None, fence):
            raise ValueError(f"these names may be written under fence {right.fence} only")
        wanted = NameRecord(right.owner, name, expected + 1, fence, value, b"", right.grant)
        return await self._write(right, wanted)


def _check_name(name: str) -> None:
    if not 0 < len(name) <= NAME_CHARS_MAX:
        raise ValueError(f"a name has 1 to {NAME_CHARS_MAX} characters, not {len(name)}")
