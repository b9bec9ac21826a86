"""Answers as PyPI, whose index pages lead to files that are kept here."""

import zlib
from functools import partial
from typing import Final

from p2p.workers import Workers
from swarmnode import reach
from swarmnode.mirror.bringing import FileWant
from swarmnode.mirror.errors import AskRefusedError, UpstreamError
from swarmnode.mirror.exchange import MirrorRequest
from swarmnode.mirror.giving import SAID, FileAnswer, Giver
from swarmnode.mirror.limits import INDEX_BYTES_MAX
from swarmnode.mirror.pages import Pages, ToldPage
from swarmnode.mirror.rules import asked, simple
from swarmnode.mirror.talk import UpstreamAsk, UpstreamPlace
from swarmnode.mirror.upstream import Upstream, UpstreamAnswer

_INDEX: Final = "pypi.org"
_MIRROR: Final = f"http://{reach.MIRRORS['pypi']}"
_FRESH_S: Final = 60.0
"""PyPI itself lets its pages be kept for ten minutes; a resolution asks for some twice."""
_FILE_HEADERS: Final = (
    ("content-type", "application/octet-stream"),
    ("accept-ranges", "bytes"),
    ("cache-control", "public, max-age=31536000, immutable"),
)


class PypiMirror:
    """For all tasks."""

    def __init__(self, pages: Pages, workers: Workers) -> None:
        self._pages, self._workers = pages, workers

    async def answer(self, request: MirrorRequest, giver: Giver) -> None:
        """Raises MirrorError."""
        if request.method not in ("GET", "HEAD"):
            raise AskRefusedError("this mirror is only read", 405)
        ask = asked.pypi(request.target)
        if isinstance(ask, asked.IndexAsk):
            async with giver.pages:
                await self._give_index(ask.project, request, giver)
            return
        place = UpstreamPlace(ask.host, asked.PYPI_PORT, ask.path)
        wanted = UpstreamAsk("GET", (("accept-encoding", "identity"),))
        want = FileWant(ask.digest, partial(giver.upstream.answered, place, wanted))
        etag = ("etag", f'"{ask.digest}"')
        await giver.give(request, FileAnswer(want, (*_FILE_HEADERS, etag), place))

    async def _give_index(self, project: str, request: MirrorRequest, giver: Giver) -> None:
        place = UpstreamPlace(_INDEX, asked.PYPI_PORT, f"/simple/{project}/")
        ask = partial(self._ask, place, giver.upstream)
        page, stale = await self._pages.told(str(place), ask, fresh_s=_FRESH_S)
        kind = simple.preferred(request.header("accept"))
        body = await self._workers.run(partial(_page, page.body, str(place), kind))
        del page  # as large once more
        told = [("content-type", kind), ("cache-control", "max-age=0, must-revalidate")]
        await giver.exchange.answer(200, [*told, (SAID, stale or "upstream")], body)

    async def _ask(
        self, place: UpstreamPlace, upstream: Upstream, kept: ToldPage | None
    ) -> ToldPage:
        known = [("if-none-match", kept.etag)] if kept and kept.etag else []
        headers = (("accept", simple.JSON), ("accept-encoding", "gzip"), *known)
        wanted = UpstreamAsk("GET", headers)
        async with upstream.followed(place, wanted, is_same_host=True) as (_, answer):
            if answer.status == 304 and kept is not None:
                return kept
            if answer.status != 200:
                is_gone = answer.status in (404, 410)
                words = f"{place} answers {answer.status}"
                raise UpstreamError(words, 404 if is_gone else 503)
            body = await self._unpacked(answer)
            await self._workers.run(partial(simple.mirrored, body, str(place), _MIRROR))
            return ToldPage(str(place), 0, answer.header("etag"), (), body)

    async def _unpacked(self, answer: UpstreamAnswer) -> bytes:
        """Raises UpstreamError, also for a page that is a bomb."""
        encoding = answer.header("content-encoding")
        data = await answer.whole(INDEX_BYTES_MAX)
        if encoding == "gzip":
            return await self._workers.run(partial(_unzipped, data))
        if encoding not in ("", "identity"):
            raise UpstreamError(f"{answer.place} comes as {encoding[:20]!r}")
        return data


def _unzipped(data: bytes) -> bytes:
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        page = unpacking.decompress(data, INDEX_BYTES_MAX)
    except zlib.error as error:
        raise UpstreamError(f"an index page is packed wrongly: {error}") from error
    if not unpacking.eof:
        raise UpstreamError("an index page is too long, or broke off")
    return page


def _page(body: bytes, base: str, kind: str) -> bytes:
    page = simple.mirrored(body, base, _MIRROR)
    return page if kind == simple.JSON else simple.as_html(page)
