"""A folder as it comes to the node that puts it.

length (4 bytes, big-endian)  names       swarmnode.tree.folder.write_names
count  (4 bytes)              numbers     4 bytes each, ascending: which contents follow
contents                                  in the order of the numbers
"""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Final

from swarmnode.errors import TreeRefusedError
from swarmnode.tree.limits import FOLDER_NAMES_BYTES_MAX

NUMBER_BYTES: Final = 4


def head_of(names: bytes, numbers: list[int]) -> bytes:
    """Everything that comes before the contents."""
    listed = b"".join(number.to_bytes(NUMBER_BYTES) for number in numbers)
    counts = len(names).to_bytes(NUMBER_BYTES), len(numbers).to_bytes(NUMBER_BYTES)
    return counts[0] + names + counts[1] + listed


class Arriving:
    """Takes the parts off a stream, in their order. Raises TreeRefusedError for what is none."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self._held = memoryview(b"")

    async def names(self) -> bytes:
        """See swarmnode.tree.folder.write_names."""
        size = int.from_bytes(await self._take(NUMBER_BYTES))
        if size > FOLDER_NAMES_BYTES_MAX:
            raise TreeRefusedError(f"the names take {size} bytes: split the folder")
        return await self._take(size)

    async def numbers(self, files: int) -> list[int]:
        """Of the contents that follow, of so many files."""
        count = int.from_bytes(await self._take(NUMBER_BYTES))
        if count > files:
            raise TreeRefusedError(f"{count} contents of {files} files")
        data = await self._take(count * NUMBER_BYTES)
        cuts = range(0, len(data), NUMBER_BYTES)
        numbers = [int.from_bytes(data[at : at + NUMBER_BYTES]) for at in cuts]
        is_rising = all(one < other for one, other in pairwise(numbers))
        if not is_rising or (numbers and numbers[-1] >= files):
            raise TreeRefusedError("the numbers of the contents are not those of its files")
        return numbers

    async def pieces(self, size: int) -> AsyncIterator[bytes]:
        """So many, in pieces as they come."""
        while size:
            if not self._held:
                self._held = memoryview(await self._more())
            piece = self._held[:size]
            self._held = self._held[len(piece) :]
            size -= len(piece)
            yield bytes(piece)

    async def end(self) -> None:
        """Nothing follows."""
        if self._held or [piece async for piece in self._stream if piece]:
            raise TreeRefusedError("bytes follow the end of the folder")

    async def _take(self, size: int) -> bytes:
        return b"".join([piece async for piece in self.pieces(size)])

    async def _more(self) -> bytes:
        while (piece := await anext(self._stream, None)) is not None:
            if piece:
                return piece
        raise TreeRefusedError("the folder ends early")
