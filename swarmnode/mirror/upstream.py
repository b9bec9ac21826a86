"""Requests to hosts of the internet, over TLS, by the rules of the task that asks."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urljoin, urlsplit

import h11
import trio

from swarmnode import reach
from swarmnode.errors import HostUnreachedError, NetRefusedError
from swarmnode.executor.port import WayOut
from swarmnode.mirror.errors import AskRefusedError, UpstreamError
from swarmnode.mirror.limits import REDIRECTS_MAX, UPSTREAM_HEAD_S
from swarmnode.mirror.talk import (
    TLS_PORT,
    IdleTalks,
    UpstreamAsk,
    UpstreamPlace,
    UpstreamTalk,
    told,
)

_LEADS_ON: Final = frozenset({301, 302, 303, 307, 308})


class UpstreamAnswer:
    """What a host says; its body comes while it is read."""

    def __init__(self, place: UpstreamPlace, head: h11.Response, talk: "UpstreamTalk") -> None:
        self.place, self.status, self._talk = place, head.status_code, talk
        self.headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
        ]
        """In small letters."""

    def header(self, name: str) -> str:
        """The first of that name; empty without one."""
        return next((value for key, value in self.headers if key == name), "")

    def framing(self) -> list[tuple[str, str]]:
        """How long its body is, where it says so."""
        return [("content-length", str(self.length))] if self.length is not None else []

    @property
    def length(self) -> int | None:
        """Bytes of its body, where it says so.

        Beside chunks a length means nothing (RFC 9112, 6.3): by it more would be shown than was
        checked.
        """
        text = "" if self.header("transfer-encoding") else self.header("content-length")
        return int(text) if text.isdigit() and len(text) < 16 else None

    @property
    def is_whole(self) -> bool:
        """Whether its body is the file as it is: no part of it, and not packed."""
        if self.header("content-encoding") not in ("", "identity"):
            return False
        all_of_it = f"bytes 0-{(self.length or 0) - 1}/{self.length}"
        return self.status == 200 or (
            self.status == 206 and self.header("content-range") == all_of_it
        )

    async def more(self) -> bytes:
        """The next piece of its body; nothing at the end that was announced.

        Raises UpstreamError where it breaks off before that.
        """
        return await self._talk.more()

    async def whole(self, bytes_max: int) -> bytes:
        """All of it. Raises UpstreamError."""
        data = bytearray()
        while piece := await self.more():
            data += piece
            if len(data) > bytes_max:
                raise UpstreamError(f"{self.place} is longer than {bytes_max} bytes")
        return bytes(data)


def place_of(url: str, base: str = "") -> UpstreamPlace:
    """Raises UpstreamError for what is no address of a host that TLS vouches for."""
    try:
        parts = urlsplit(urljoin(base, url))
        host, port = (parts.hostname or "").removesuffix("."), parts.port or TLS_PORT
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    if (
        parts.scheme != "https"
        or parts.username
        or not reach.is_name(host)
        or reach.is_literal(host)
    ):
        raise UpstreamError(f"it leads to {url[:80]!r}, which is no address by https")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or not target.isprintable() or " " in target:
        raise UpstreamError("it leads to an address that is none")
    return UpstreamPlace(host, port, target)


def _leads_to(answer: UpstreamAnswer, *, is_same_host: bool) -> UpstreamPlace | None:
    """Where it is to be asked for instead. Raises UpstreamError."""
    here = answer.place
    if answer.status not in _LEADS_ON or not (where := answer.header("location")):
        return None
    there = place_of(where, f"https://{here.host}:{here.port}{here.target}")
    is_here = (there.host, there.port) == (here.host, here.port)
    return None if is_same_host and not is_here else there


class Upstream:
    """One task's way to the internet."""

    def __init__(self, way: WayOut, tls: ssl.SSLContext, idle: IdleTalks) -> None:
        self._way, self._tls, self._idle = way, tls, idle

    @asynccontextmanager
    async def asked(self, place: UpstreamPlace, ask: UpstreamAsk) -> AsyncIterator[UpstreamAnswer]:
        """One answer. Raises UpstreamError, AskRefusedError (the task may not go there)."""
        talk, head = await self._begun(place, ask)
        try:
            yield UpstreamAnswer(place, head, talk)
        finally:
            await self._idle.leave(talk)

    async def _begun(
        self, place: UpstreamPlace, ask: UpstreamAsk
    ) -> tuple[UpstreamTalk, h11.Response]:
        if ask.method in ("GET", "HEAD") and (old := await self._idle.take(place)) is not None:
            with suppress(UpstreamError):  # its host may have ended it meanwhile: anew, then
                return old, await self._asked_on(old, place, ask)
        talk = UpstreamTalk(await self._connected(place), place)
        return talk, await self._asked_on(talk, place, ask)

    async def _asked_on(
        self, talk: UpstreamTalk, place: UpstreamPlace, ask: UpstreamAsk
    ) -> h11.Response:
        try:
            return await talk.begin(place, ask)
        except BaseException:
            await talk.aclose()
            raise

    @asynccontextmanager
    async def followed(
        self, place: UpstreamPlace, ask: UpstreamAsk, *, is_same_host: bool = False
    ) -> AsyncIterator[tuple[list[UpstreamAnswer], UpstreamAnswer]]:
        """The answer where it leads to, and those on the way to it, that one the last of them.

        With `is_same_host` nothing is asked elsewhere: then an answer that leads there is the last
        one. What is asked so proves nobody: it goes to any of them. Raises as `asked`.
        """
        before: list[UpstreamAnswer] = []
        while True:
            async with self.asked(place, ask) as answer:
                before.append(answer)
                following = _leads_to(answer, is_same_host=is_same_host)
                if following is None:
                    yield before, answer
                    return
            if len(before) > REDIRECTS_MAX:
                raise UpstreamError(f"{before[0].place} leads on and on")
            place = following

    @asynccontextmanager
    async def answered(
        self, place: UpstreamPlace, ask: UpstreamAsk
    ) -> AsyncIterator[UpstreamAnswer]:
        """The same, the last one alone."""
        async with self.followed(place, ask) as (_, answer):
            yield answer

    async def _connected(self, place: UpstreamPlace) -> trio.SSLStream[trio.SocketStream]:
        try:
            sock = await self._way.connect(place.host, place.port)
        except NetRefusedError as error:
            raise AskRefusedError(str(error), 403) from error
        except HostUnreachedError as error:
            raise UpstreamError(str(error)) from error
        plain = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        stream = trio.SSLStream(plain, self._tls, server_hostname=place.host)
        try:
            with told(place), trio.fail_after(UPSTREAM_HEAD_S):
                await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream
