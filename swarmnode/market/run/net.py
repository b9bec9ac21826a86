"""What a job's files take of the network: held to what its shape says, and counted.

Its inputs come and its outputs go while nobody else's work should suffer; what its own connections
carry is counted and held by the executor. Checkpoints and logs are small and not held up.
"""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

import trio
from msgspec.structs import replace

from swarmnode.executor.port import JobView
from swarmnode.tasks.records import Usage
from swarmnode.tasks.spec import NetWant

_AHEAD_S: Final = 0.25
"""A pause of the other side is made up for by so much, not more: the average stays what it is."""


class JobNet:
    """One attempt's transfers."""

    def __init__(self, want: NetWant) -> None:
        self._want = want
        self.down_bytes = 0
        """Of inputs, also of tries that broke off."""
        self.up_bytes = 0
        """Of outputs, likewise."""

    async def down(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The chunks of an input, no faster than the shape says."""
        async for chunk in _paced(chunks, self._want.down_bytes_per_s):
            self.down_bytes += len(chunk)
            yield chunk

    async def up(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The chunks of an output, no faster than the shape says."""
        async for chunk in _paced(chunks, self._want.up_bytes_per_s):
            self.up_bytes += len(chunk)
            yield chunk

    def added_to(self, usage: Usage, view: JobView | None) -> Usage:
        """What the attempt took, its transfers and its own connections included."""
        up_bytes, down_bytes = (view.net_up_bytes, view.net_down_bytes) if view else (0, 0)
        return replace(
            usage,
            down_bytes=self.down_bytes + down_bytes,
            up_bytes=self.up_bytes + up_bytes,
        )


async def _paced(chunks: AsyncIterable[bytes], bytes_per_s: int) -> AsyncIterator[bytes]:
    """0 bytes a second is no limit."""
    due_s = trio.current_time()
    async for chunk in chunks:
        if bytes_per_s:
            due_s = max(due_s, trio.current_time() - _AHEAD_S) + len(chunk) / bytes_per_s
            await trio.sleep_until(due_s)
        yield chunk
