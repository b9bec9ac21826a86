"""HTTP/1.1 for one task: h11 decides, this moves the bytes.

Whoever asks is a program of the task, on a listener that nobody else reaches; what it can do to
this node is to hold some connections, and those are counted.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import h11
import trio

from p2p.accepting import accept_forever
from swarmnode.datasets.limits import DATA_WEB_CONNECTIONS_MAX
from swarmnode.datasets.web.core import DataWeb, WebAnswer, WebRequest
from swarmnode.fuse.inodes import ContentPlace
from swarmnode.fuse.serve import ContentFailedError, Pieces

_CLOSE: Final = ("connection", "close")
_HEAD_BYTES_MAX: Final = 32 * 1024
_RECEIVE_BYTES: Final = 64 * 1024
_SEND_BYTES: Final = 1 << 20
"""Of a file, in one step."""
_IDLE_S: Final = 30.0
"""A connection on which nothing is asked for so long ends: others may wait for its place."""
_CROWDED_S: Final = 2.0
"""Instead of that while all places are taken."""
_STALL_S: Final = 300.0
"""Likewise when nothing is taken of an answer."""


class WebContent(Protocol):
    """Where the bytes of one dataset come from."""

    async def read(self, place: ContentPlace, size: int) -> Pieces:
        """Exactly so many. Raises ContentFailedError, having said why."""
        ...


class _Seats:
    """How many connections the task may hold; the next one waits in the kernel."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(DATA_WEB_CONNECTIONS_MAX)

    @property
    def are_taken(self) -> bool:
        """All of them: who is answered makes place for who waits."""
        return not self.limiter.available_tokens

    async def free(self) -> None:
        """Return once one more connection may be accepted."""
        async with self.limiter:
            pass


async def run(
    listener: socket.socket, web: DataWeb, contents: Sequence[WebContent], who: str
) -> None:
    """Answer until cancelled, which closes the listener."""
    seats = _Seats()
    serve = partial(_seated, seats, web, contents)
    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    await accept_forever(accepting, serve, seats, what=f"connections to the datasets of {who}")


async def _seated(
    seats: _Seats, web: DataWeb, contents: Sequence[WebContent], stream: trio.SocketStream
) -> None:
    async with seats.limiter:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            await _Connection(web, contents, stream, seats).run()


class _Connection:
    def __init__(
        self,
        web: DataWeb,
        contents: Sequence[WebContent],
        stream: trio.SocketStream,
        seats: _Seats,
    ) -> None:
        self._web, self._contents, self._stream, self._seats = web, contents, stream, seats
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES_MAX)

    async def run(self) -> None:
        """Its requests, one after another."""
        try:
            while (request := await self._next_request()) is not None:
                await self._say(self._web.answer(request), is_head=request.method == "HEAD")
                if (self._http.our_state, self._http.their_state) != (h11.DONE, h11.DONE):
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                words = f"{error}; other bytes than ASCII are written as %XX\n".encode()
                told = (("content-type", "text/plain"), ("content-length", str(len(words))))
                await self._say(WebAnswer(error.error_status_hint, (*told, _CLOSE), (words,)))
        except ContentFailedError:
            return  # fewer bytes than were promised: whoever counts them knows

    async def _next_request(self) -> WebRequest | None:
        """Of a body nothing is taken: it ends the connection."""
        with trio.fail_after(_IDLE_S):
            while True:
                with trio.move_on_after(_CROWDED_S):
                    event = await self._next_event()
                    break
                if self._seats.are_taken:
                    return None
            if not isinstance(event, h11.Request):
                return None
            headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            request = WebRequest(event.method.decode(), event.target.decode("latin-1"), headers)
            if request.method in ("GET", "HEAD"):
                await self._next_event()
        return request

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(_RECEIVE_BYTES)))
        return event

    async def _say(self, answer: WebAnswer, *, is_head: bool = False) -> None:
        headers = [*answer.headers, *([_CLOSE] if self._seats.are_taken else [])]
        await self._send(h11.Response(status_code=answer.status, headers=headers))
        for piece in () if is_head else answer.body:
            await self._send(h11.Data(data=piece))
        place, left = answer.place, answer.size
        while left:
            size = min(left, _SEND_BYTES)
            for part in await self._contents[answer.dataset].read(place, size):
                await self._send(h11.Data(data=bytes(part)))
            place, left = place.after(size), left - size
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        with trio.fail_after(_STALL_S):
            await self._stream.send_all(data or b"")
