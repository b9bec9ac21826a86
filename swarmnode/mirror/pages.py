"""What was told last at an address of the internet: asked anew, and used alone when none answers.

Nobody could tell whether it is right, so it is this machine's own: no other is given it.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from blake3 import blake3
from msgspec.structs import replace

from p2p.errors import WireError
from p2p.wire.codec import Record, decode_as, encode
from p2p.workers import Workers
from swarmnode.mirror.errors import UpstreamError
from swarmnode.mirror.limits import INDEX_BYTES_MAX, MIB
from swarmnode.mirror.shelf import MirrorShelf


class ToldPage(Record, frozen=True):
    """An answer."""

    address: str
    at_ms: int
    """When it was told."""
    etag: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Pages:
    """Of one machine."""

    def __init__(self, shelf: MirrorShelf, workers: Workers, wall_ms: Callable[[], int]) -> None:
        self._shelf, self._workers, self._wall_ms = shelf, workers, wall_ms

    async def told(
        self,
        address: str,
        ask: Callable[[ToldPage | None], Awaitable[ToldPage]],
        *,
        fresh_s: float,
    ) -> tuple[ToldPage, str]:
        """What is told there, and words where that is old because nobody answers now.

        `ask` is given what is kept. Raises what it raises, where nothing is.
        """
        kept = await self._read(address)
        if kept is not None and 0 <= self._wall_ms() - kept.at_ms < 1000 * fresh_s:
            return kept, ""
        try:
            page = await ask(kept)
        except UpstreamError as error:
            return await self.last(address, error)
        await self.keep(page)
        return page, ""

    async def last(self, address: str, error: UpstreamError) -> tuple[ToldPage, str]:
        """What was told there before nobody answered, and words that say so.

        Raises that error where nothing was, or where somebody does answer: that it is gone.
        """
        kept = await self._read(address)
        if kept is None or error.status < 500:
            raise error
        return kept, f"stale: as of {_time(kept.at_ms)}"

    async def keep(self, page: ToldPage) -> None:
        """As of now."""
        data = encode(replace(page, at_ms=self._wall_ms()))
        await self._workers.run(partial(self._shelf.write_page, _name(page.address), data))

    async def _read(self, address: str) -> ToldPage | None:
        data = await self._workers.run(partial(self._shelf.read_page, _name(address)))
        try:
            page = decode_as(ToldPage, data, INDEX_BYTES_MAX + MIB) if data else None
        except WireError:  # of another version
            return None
        return page if page is not None and page.address == address else None


def _name(address: str) -> str:
    return blake3(address.encode()).hexdigest()


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
