"""A file that is kept, or comes, as the answer to a request; and what is only passed on."""

from collections.abc import Sequence
from functools import partial

import msgspec
import trio

from swarmnode.mirror.bringing import FileBringer, FileWant
from swarmnode.mirror.errors import NotKeptError
from swarmnode.mirror.exchange import Exchange, MirrorRequest
from swarmnode.mirror.rules.hub import passed_down
from swarmnode.mirror.rules.ranges import ByteRange, wanted
from swarmnode.mirror.talk import UpstreamAsk, UpstreamPlace
from swarmnode.mirror.upstream import Upstream, UpstreamAnswer

SAID = "x-swarm-mirror"
"""The header that says where an answer is from: kept, lab, upstream, passed, or stale."""
Headers = Sequence[tuple[str, str]]


class FileAnswer(msgspec.Struct, frozen=True):
    """What is known of a file that was asked for."""

    want: FileWant
    headers: Headers
    place: UpstreamPlace
    """Where the internet has it."""
    said: str = ""
    """Of what is known of it, where that is old."""


class Giver:
    """For one connection."""

    def __init__(
        self,
        exchange: Exchange,
        bringing: FileBringer,
        upstream: Upstream,
        pages: trio.CapacityLimiter,
    ) -> None:
        self.exchange, self.upstream, self._bringing = exchange, upstream, bringing
        self.pages = pages
        """Of all connections of the task: held by who has a page in memory."""

    async def give(self, request: MirrorRequest, file: FileAnswer) -> None:
        """All of it, or a part. Raises MirrorError.

        Who wants a part from the middle of what is not here gets that from the internet, unseen:
        installers read the end of a wheel so, and loaders fetch several parts at once.
        """
        is_head = request.method == "HEAD"
        part = None if is_head else wanted(request.header("range"))
        is_middle = part is not None and not part.is_from_there_on
        if (is_head or is_middle) and not self._bringing.is_near(file.want.digest):
            await self._pass_file(request, file)
            return
        try:
            await self._give_kept(file, part, is_head=is_head)
        except NotKeptError:
            if self.exchange.has_begun:
                raise
            await self._pass_file(request, file)

    async def _give_kept(self, file: FileAnswer, part: ByteRange | None, *, is_head: bool) -> None:
        exchange, status = self.exchange, 206 if part else 200
        async with self._bringing.file(file.want) as arrival:
            size = await exchange.patiently(status, arrival.known)
            start, end = part.within(size) if part else (0, size)
            piece = b""
            if start < end and not is_head:
                piece = await exchange.patiently(status, partial(arrival.read, start, end))
            told = [("content-length", str(end - start)), (SAID, file.said or arrival.origin)]
            if part:
                told.append(("content-range", f"bytes {start}-{end - 1}/{size}"))
            await exchange.begin(status, [*file.headers, *told])
            while piece:
                await exchange.send(piece)
                start += len(piece)
                piece = await arrival.read(start, end) if start < end else b""
        await exchange.end()

    async def _pass_file(self, request: MirrorRequest, file: FileAnswer) -> None:
        """From the internet, neither checked nor kept, with what is known of it."""
        part = request.header("range")
        headers = (("accept-encoding", "identity"), *([("range", part)] if part else []))
        ask = UpstreamAsk(request.method, headers)
        async with self.upstream.followed(file.place, ask) as (_, answer):
            if answer.status in (200, 206):
                told = [pair for pair in answer.headers if pair[0] == "content-range"]
                answer.headers = [*file.headers, *told, *answer.framing()]
            await self.pass_on(answer)

    async def pass_on(self, answer: UpstreamAnswer) -> None:
        """As it comes. Raises MirrorError."""
        headers = [*passed_down(answer.headers), *answer.framing(), (SAID, "passed")]
        await self.exchange.begin(answer.status, headers)
        while piece := await answer.more():
            await self.exchange.send(piece)
        await self.exchange.end()
