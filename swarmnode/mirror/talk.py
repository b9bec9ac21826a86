"""One connection to a host of the internet: requests and answers in turn, in HTTP/1.1 by h11.

Nothing waits without a bound, and nothing is read that was not asked for.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import h11
import msgspec
import trio

from swarmnode.mirror.errors import UpstreamError
from swarmnode.mirror.limits import (
    IDLE_MAX,
    IDLE_S,
    UPSTREAM_HEAD_BYTES_MAX,
    UPSTREAM_HEAD_S,
    UPSTREAM_STALL_S,
)

_RECEIVE_BYTES: Final = 64 * 1024
_MORE_BYTES: Final = 256 * 1024
_MOMENT_S: Final = 0.2
TLS_PORT: Final = 443


class UpstreamPlace(msgspec.Struct, frozen=True):
    """Where something is asked for."""

    host: str
    port: int
    target: str
    """Path and query."""

    def __str__(self) -> str:
        return f"https://{self.host}{self.target.partition('?')[0]}"


class UpstreamAsk(msgspec.Struct, frozen=True):
    """A request."""

    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    """In small letters."""
    body: AsyncIterator[bytes] | None = None
    head_s: float = UPSTREAM_HEAD_S
    """For the answer to begin."""


def _fresh() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=UPSTREAM_HEAD_BYTES_MAX)


class UpstreamTalk:
    """Over a stream that is open. Bodies whose length is told are counted here: h11 would look at
    each record of TLS."""

    def __init__(self, stream: trio.abc.Stream, place: UpstreamPlace) -> None:
        self._stream, self.place = stream, place
        """Where the request that is answered now is from."""
        self._http = _fresh()
        """Of this request."""
        self._left: int | None = None
        """Of the body, where it is counted here."""
        self._early = b""
        """What of it came with the head."""
        self._is_last = False
        """The host will not answer another request, or says more than it should."""

    async def begin(self, place: UpstreamPlace, ask: UpstreamAsk) -> h11.Response:
        """Ask; return the head of the answer. Raises UpstreamError."""
        self.place, self._http = place, _fresh()
        host = place.host if place.port == TLS_PORT else f"{place.host}:{place.port}"
        headers = as_bytes([("host", host), *ask.headers])
        await self._send(h11.Request(method=ask.method, target=place.target, headers=headers))
        if ask.body is not None:
            async for piece in ask.body:
                await self._send(h11.Data(data=piece))
        await self._send(h11.EndOfMessage())
        with told(place), trio.fail_after(ask.head_s):
            while not isinstance(event := await self._event(), h11.Response):
                pass  # 100 and the like
        self._count(event, has_body=ask.method != "HEAD" and event.status_code not in (204, 304))
        return event

    def _count(self, head: h11.Response, *, has_body: bool) -> None:
        told = dict(head.headers)
        is_counted = has_body and b"content-length" in told and b"transfer-encoding" not in told
        self._left = int(told[b"content-length"]) if is_counted else None
        if self._left is not None:
            came, _ = self._http.trailing_data
            self._is_last = self._http.their_state is h11.MUST_CLOSE or len(came) > self._left
            self._is_last |= b"close" in told.get(b"connection", b"").lower()
            self._is_last |= head.http_version != b"1.1"
            self._early = came[: self._left]

    async def more(self) -> bytes:
        """Some of the body; nothing at its end, and after it. Raises UpstreamError."""
        with told(self.place), trio.fail_after(UPSTREAM_STALL_S):
            return await (self._next_event() if self._left is None else self._next_counted())

    async def _next_event(self) -> bytes:
        while self._http.their_state is h11.SEND_BODY:
            event = await self._event()
            if isinstance(event, h11.Data) and event.data:
                return bytes(event.data)
        await trio.lowlevel.checkpoint()
        return b""

    async def _next_counted(self) -> bytes:
        """As much as is worth somebody's turn, or what has come in a moment."""
        assert self._left is not None
        held, until_s = bytearray(self._early), trio.current_time() + _MOMENT_S
        most, self._early = min(self._left, _MORE_BYTES), b""
        while len(held) < most and not (held and trio.current_time() > until_s):
            piece = await self._stream.receive_some(min(_RECEIVE_BYTES, most - len(held)))
            if not piece:
                raise UpstreamError(f"{self.place} broke off")
            held += piece
        await trio.lowlevel.checkpoint()
        self._left -= len(held)
        return bytes(held)

    def goes_on(self) -> bool:
        """Whether it has come to an end after which something else may be asked."""
        if self._left is not None:
            return not self._left and not self._is_last
        try:
            while self._http.their_state is h11.SEND_BODY:
                if not isinstance(self._http.next_event(), h11.Data | h11.EndOfMessage):
                    return False
        except h11.RemoteProtocolError:
            return False
        is_done = (self._http.our_state, self._http.their_state) == (h11.DONE, h11.DONE)
        return is_done and self._http.trailing_data == (b"", False)

    async def aclose(self) -> None:
        """Whatever is under way."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)

    async def _send(self, event: h11.Event) -> None:
        with told(self.place), trio.fail_after(UPSTREAM_STALL_S):
            if data := self._http.send(event):
                await self._stream.send_all(data)

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(_RECEIVE_BYTES)))
        return event


class IdleTalks:
    """Connections of one task that may be asked more, for a moment: many files are of one host."""

    def __init__(self) -> None:
        self._idle: list[tuple[UpstreamTalk, float]] = []
        """And until when; the newest last."""
        self._is_closed = False

    async def take(self, place: UpstreamPlace) -> UpstreamTalk | None:
        """One to that host, if there is one."""
        now_s = trio.current_time()
        old = [talk for talk, until_s in self._idle if until_s <= now_s]
        self._idle = [one for one in self._idle if one[1] > now_s]
        for talk in old:
            await talk.aclose()
        for number, (talk, _) in reversed(list(enumerate(self._idle))):
            if (talk.place.host, talk.place.port) == (place.host, place.port):
                del self._idle[number]
                return talk
        return None

    async def leave(self, talk: UpstreamTalk) -> None:
        """It was answered, or given up: it is kept, or it ends."""
        if self._is_closed or len(self._idle) >= IDLE_MAX or not talk.goes_on():
            await talk.aclose()
        else:
            self._idle.append((talk, trio.current_time() + IDLE_S))

    async def aclose(self) -> None:
        """The task has gone."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for talk, _ in idle:
            await talk.aclose()


def as_bytes(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """As they came: a value may have any byte (RFC 9110, 5.5), names of files among them."""
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]


@contextmanager
def told(place: UpstreamPlace) -> Iterator[None]:
    """What goes wrong on a connection is told in words that a program's user understands."""
    try:
        yield
    except trio.TooSlowError as error:
        raise UpstreamError(f"{place.host} is too slow", 504) from error
    except h11.RemoteProtocolError as error:
        raise UpstreamError(f"{place} broke off, or is no HTTP: {error}") from error
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        cause = error.__cause__
        why = getattr(cause, "verify_message", "") or getattr(cause, "strerror", "") or "reset"
        raise UpstreamError(f"cannot talk to {place.host}: {why}") from error
