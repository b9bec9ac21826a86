"""A file that is kept, or comes, as the answer to a request; and what is only passed on.

What is passed on whole is checked as well: each piece waits for the next one, so that the last
bytes go only when all are right. A part of a file says nothing of its digest.
"""

import logging
from collections.abc import Sequence
from functools import partial

import msgspec
import trio

from swarmnode.datasets.web import ranges
from swarmnode.datasets.web.ranges import ByteRange
from swarmnode.mirror.bringing import FileBringer, FileWant
from swarmnode.mirror.errors import AskRefusedError, NotKeptError, UpstreamError
from swarmnode.mirror.exchange import Exchange, MirrorRequest
from swarmnode.mirror.rules.digest import FileCheck
from swarmnode.mirror.rules.hub import passed_down
from swarmnode.mirror.talk import UpstreamAsk, UpstreamPlace
from swarmnode.mirror.upstream import Upstream, UpstreamAnswer

SAID = "x-swarm-mirror"
"""The header that says where an answer is from: kept, lab, upstream, passed, or stale."""
_OF_THE_BYTES = ("content-range", "content-encoding")
"""Headers without which they would be taken for others."""
log = logging.getLogger("swarm")
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
        tag = next((value for name, value in file.headers if name == "etag"), "")
        if ranges.is_known(request.header, tag):
            await self.exchange.begin(304, file.headers)
            await self.exchange.end()
            return
        await self._give_wanted(request, file, ranges.wanted(request.method, request.header, tag))

    async def _give_wanted(
        self, request: MirrorRequest, file: FileAnswer, part: ByteRange | None
    ) -> None:
        is_head = request.method == "HEAD"
        is_middle = part is not None and not part.is_from_there_on
        if (is_head or is_middle) and not self._bringing.is_near(file.want.digest):
            await self._pass_file(request, file, part)
            return
        try:
            await self._give_kept(file, part, is_head=is_head)
        except NotKeptError:
            if self.exchange.has_begun:
                raise
            await self._pass_file(request, file, part)

    async def _give_kept(self, file: FileAnswer, part: ByteRange | None, *, is_head: bool) -> None:
        exchange, status = self.exchange, 206 if part else 200
        async with self._bringing.file(file.want) as arrival:
            size = await exchange.patiently(status, arrival.known)
            start, end = _span(part, size)
            status = 206 if part and size else 200
            piece = b""
            if start < end and not is_head:
                piece = await exchange.patiently(status, partial(arrival.read, start, end))
            told = [("content-length", str(end - start)), (SAID, file.said or arrival.origin)]
            if status == 206:
                told.append(("content-range", f"bytes {start}-{end - 1}/{size}"))
            await exchange.begin(status, [*file.headers, *told])
            while piece:
                await exchange.send(piece)
                start += len(piece)
                piece = await arrival.read(start, end) if start < end else b""
        await exchange.end()

    async def _pass_file(
        self, request: MirrorRequest, file: FileAnswer, part: ByteRange | None
    ) -> None:
        """From the internet, not kept, with what is known of it; checked where it is all of it."""
        headers = (("accept-encoding", "identity"), *([("range", str(part))] if part else []))
        ask = UpstreamAsk(request.method, headers)
        async with self.upstream.followed(file.place, ask) as (_, answer):
            check = None
            if answer.status in (200, 206):
                if request.method == "GET" and answer.is_whole:
                    size = answer.length if file.want.size is None else file.want.size
                    check = FileCheck(file.want.digest, size)
                told = [pair for pair in answer.headers if pair[0] in _OF_THE_BYTES]
                answer.headers = [*file.headers, *told, *answer.framing()]
            if check is None:
                await self.pass_on(answer)
            else:
                await self._pass_checked(answer, check)

    async def pass_on(self, answer: UpstreamAnswer) -> None:
        """As it comes. Raises MirrorError."""
        await self._begin_passed(answer)
        while piece := await answer.more():
            await self.exchange.send(piece)
        await self.exchange.end()

    async def _pass_checked(self, answer: UpstreamAnswer, check: FileCheck) -> None:
        held = await _checked(answer, check)
        await self._begin_passed(answer)
        while held:
            following = await _checked(answer, check)
            await self.exchange.send(held)
            held = following
        await self.exchange.end()

    async def _begin_passed(self, answer: UpstreamAnswer) -> None:
        headers = [*passed_down(answer.headers), *answer.framing(), (SAID, "passed")]
        await self.exchange.begin(answer.status, headers)


async def _checked(answer: UpstreamAnswer, check: FileCheck) -> bytes:
    """The next piece; nothing at the end. Raises UpstreamError where all of it was not right."""
    if piece := await answer.more():
        check.update(piece)
    elif not check.is_right():
        log.warning("%s is not what its digest says: its end is not passed on", answer.place)
        raise UpstreamError(f"{answer.place} is not what its digest says")
    return piece


def _span(part: ByteRange | None, size: int) -> tuple[int, int]:
    """Raises AskRefusedError where nothing is there; of no bytes all are an answer to any part."""
    if part is None or not size:
        return 0, size
    if (there := part.within(size)) is None:
        raise AskRefusedError(f"the file has {size} bytes", 416, size)
    return there
