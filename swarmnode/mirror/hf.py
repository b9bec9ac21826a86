"""Answers as the Hugging Face Hub: files that everybody may read are kept, all else is passed on.

What is asked for with a token is asked for without it first. Where the hub gives it to everybody
the token is not needed; else the request goes to the hub as it is, and nothing of it is kept.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Final

from p2p.errors import WireError
from p2p.wire.codec import decode_as, encode
from swarmnode.mirror.bringing import FileWant
from swarmnode.mirror.errors import AskRefusedError, UpstreamError
from swarmnode.mirror.exchange import MirrorRequest
from swarmnode.mirror.giving import SAID, FileAnswer, Giver
from swarmnode.mirror.limits import PAGE_BYTES_MAX, PASSED_HEAD_S
from swarmnode.mirror.pages import Pages, ToldPage
from swarmnode.mirror.rules import asked, hub
from swarmnode.mirror.rules.hub import HubFile
from swarmnode.mirror.talk import UpstreamAsk, UpstreamPlace
from swarmnode.mirror.upstream import Upstream, UpstreamAnswer

_HOST: Final = "huggingface.co"
_PORT: Final = 443
_PLAIN: Final = (("accept-encoding", "identity"), ("user-agent", "swarm-mirror"))
_PINNED_S: Final = 10 * 365 * 86_400.0
"""A commit names the same for ever."""
_PASSED: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""CONNECT and the like make something else of a connection than requests and answers."""
_MOVING_S: Final = 10.0
"""A program asks for the head of a file, then for the file: once the hub is asked for both."""


class _NotPublicError(Exception):
    """The hub does not tell everybody of that file, or says too little to keep it."""

    def __init__(self, status: int, headers: hub.Headers) -> None:
        super().__init__(status)
        self.status, self.headers = status, headers


class HubMirror:
    """For all tasks."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def answer(self, request: MirrorRequest, giver: Giver) -> None:
        """Raises MirrorError."""
        ask = asked.hub(request.target)
        is_read = request.method in ("GET", "HEAD")
        if isinstance(ask, asked.HubFileAsk) and is_read:
            await self._give_file(ask, request, giver)
        elif request.method == "GET" and not request.header("authorization"):
            async with AsyncExitStack() as turn:
                await turn.enter_async_context(giver.pages)
                await self._give_page(request, giver, turn)
        else:
            await _pass(request, giver)

    # -- files

    async def _give_file(self, ask: asked.HubFileAsk, request: MirrorRequest, giver: Giver) -> None:
        place = UpstreamPlace(_HOST, _PORT, ask.target)
        address = f"HEAD {_HOST}{ask.target}"
        about = partial(self._ask_about, address, place, giver.upstream)
        fresh_s = _PINNED_S if ask.is_pinned else _MOVING_S
        try:
            page, stale = await self._pages.told(address, about, fresh_s=fresh_s)
        except _NotPublicError as error:
            if error.status < 400 or request.header("authorization"):
                await _pass(request, giver)
            else:
                told = [*hub.passed_down(error.headers), (SAID, "passed")]
                await giver.exchange.answer(error.status, told)
            return
        file = _file_in(page)
        if (named := file.digest) is None:
            raise UpstreamError("what is kept of it is damaged")
        if request.method == "HEAD":
            told = [("content-length", str(file.size)), (SAID, stale or "upstream")]
            await giver.exchange.begin(200, [*file.headers(), *told])
            await giver.exchange.end()
            return
        # At that commit: the branch may move between what was told and what is fetched.
        there = UpstreamPlace(_HOST, _PORT, ask.at(file.commit))
        want = FileWant(named, partial(_fetched, there, giver.upstream), file.size)
        await giver.give(request, FileAnswer(want, file.headers(), there, stale))

    async def _ask_about(
        self, address: str, place: UpstreamPlace, upstream: Upstream, _kept: ToldPage | None
    ) -> ToldPage:
        wanted = UpstreamAsk("HEAD", _PLAIN)
        async with upstream.followed(place, wanted, is_same_host=True) as (before, answer):
            if answer.status >= 500 or answer.status == 429:
                raise UpstreamError(f"{place} answers {answer.status}", 503)
            file = hub.file_of([_by_name(one) for one in before])
            if answer.status >= 400 or file is None:
                raise _NotPublicError(answer.status, answer.headers)
            return ToldPage(address, 0, "", (), encode(file))

    # -- what the hub tells

    async def _give_page(self, request: MirrorRequest, giver: Giver, turn: AsyncExitStack) -> None:
        """Of its API; the last answer is kept for when it does not answer, for who asks alike.

        What is no page and may be long gives its turn among pages back.
        """
        place = UpstreamPlace(_HOST, _PORT, request.target)
        address = f"GET {_HOST}{request.target} {request.header('accept')}".removesuffix(" */*")
        address = address.rstrip()
        wanted = UpstreamAsk("GET", tuple(hub.passed_up(request.headers)))
        try:
            async with giver.upstream.asked(place, wanted) as answer:
                if answer.status >= 500:
                    raise UpstreamError(f"{place} answers {answer.status}")
                if answer.status != 200 or not 0 < (answer.length or 0) <= PAGE_BYTES_MAX:
                    await turn.aclose()
                    await giver.pass_on(answer)
                    return
                headers = tuple(hub.passed_down(answer.headers))
                page = ToldPage(address, 0, "", headers, await answer.whole(PAGE_BYTES_MAX))
                await self._pages.keep(page)
                stale = "upstream"
        except UpstreamError as error:
            if giver.exchange.has_begun:
                raise
            page, stale = await self._pages.last(address, error)
        await giver.exchange.answer(200, [*page.headers, (SAID, stale)], page.body)


def _fetched(
    place: UpstreamPlace, upstream: Upstream
) -> AbstractAsyncContextManager[UpstreamAnswer]:
    return upstream.answered(place, UpstreamAsk("GET", _PLAIN))


async def _pass(request: MirrorRequest, giver: Giver) -> None:
    """As it is, with what proves who asks, to the hub and nowhere else. Raises MirrorError."""
    if request.method not in _PASSED:
        raise AskRefusedError("the hub has no such method", 405)
    headers = hub.passed_up(request.headers)
    body = None
    # Of two lengths the chunks count, for they are what is read here (RFC 9112, 6.3).
    if request.header("transfer-encoding"):
        headers.append(("transfer-encoding", "chunked"))
        body = request.body
    elif length := request.header("content-length"):
        headers.append(("content-length", length))
        body = request.body
    wanted = UpstreamAsk(request.method, tuple(headers), body, PASSED_HEAD_S)
    async with giver.upstream.asked(UpstreamPlace(_HOST, _PORT, request.target), wanted) as answer:
        await giver.pass_on(answer)


def _by_name(answer: UpstreamAnswer) -> Mapping[str, str]:
    return dict(reversed(answer.headers))


def _file_in(page: ToldPage) -> HubFile:
    """Raises UpstreamError for one of another version."""
    try:
        return decode_as(HubFile, page.body)
    except WireError as error:
        raise UpstreamError("what is kept of it is of another version") from error
