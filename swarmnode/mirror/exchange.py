"""HTTP/1.1 with a task's programs, by h11.

Programs give up when no byte comes for ten to thirty seconds, and a file that another machine gives
is shown only when all of it was checked. So whoever waits is sent the first line of the answer and
a header that grows by a dot every few seconds.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Final, TypeVar

import h11
import trio

from swarmnode.mirror.errors import AskRefusedError, MirrorError
from swarmnode.mirror.limits import ASK_HEAD_BYTES_MAX, ASK_IDLE_S, PAGE_GIVEN_S
from swarmnode.mirror.talk import as_bytes

_RECEIVE_BYTES: Final = 16 * 1024
_SEND_BYTES: Final = 256 * 1024
_DOT_S: Final = 3.0
_DOTS_MAX: Final = 20_000
"""Sixteen hours; clients take lines of 64 KiB."""
ResultT = TypeVar("ResultT")


class MirrorRequest:
    """What a program asks."""

    def __init__(self, request: h11.Request, body: AsyncIterator[bytes]) -> None:
        self.method = request.method.decode()
        self.target = request.target.decode("ascii")
        self.headers = [
            (name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers
        ]
        """In small letters."""
        self.body = body

    def header(self, name: str) -> str:
        """The first of that name; empty without one."""
        return next((value for key, value in self.headers if key == name), "")


class Exchange:
    """One connection: requests and answers in turn."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=ASK_HEAD_BYTES_MAX)
        self._is_head = False
        self._dots = 0
        self._told = 0
        """The status that was told before the answer."""

    async def run(self, answer: Callable[[MirrorRequest], Awaitable[None]]) -> None:
        """Until either side is done; what cannot end in good order is left open, to be reset."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            try:
                await self._answer_all(answer)
            except h11.RemoteProtocolError as error:
                await self._refuse(AskRefusedError(str(error), error.error_status_hint))
            await self._stream.aclose()

    async def _answer_all(self, answer: Callable[[MirrorRequest], Awaitable[None]]) -> None:
        while (request := await self._next()) is not None:
            try:
                await answer(request)
            except MirrorError as error:
                await self._refuse(error)
            if not self._is_done():
                return
            self._http.start_next_cycle()

    async def _next(self) -> MirrorRequest | None:
        self._dots = self._told = 0
        with trio.fail_after(ASK_IDLE_S):
            event = await self._event()
        if not isinstance(event, h11.Request):
            return None
        self._is_head = event.method == b"HEAD"
        return MirrorRequest(event, self._body())

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(_RECEIVE_BYTES)))
        return event

    async def _body(self) -> AsyncIterator[bytes]:
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while True:
            with trio.fail_after(ASK_IDLE_S):
                event = await self._event()
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    def _is_done(self) -> bool:
        """Whether another request may follow; the rest of a body that nobody read ends it."""
        while self._http.their_state is h11.SEND_BODY:
            if not isinstance(self._http.next_event(), h11.Data | h11.EndOfMessage):
                return False
        return (self._http.our_state, self._http.their_state) == (h11.DONE, h11.DONE)

    # -- the answer

    async def patiently(self, status: int, wait: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Wait; a program that asked for bytes hears meanwhile that they come, with that status."""
        while True:
            with trio.move_on_after(_DOT_S):
                return await wait()
            if not self._is_head and self._dots < _DOTS_MAX:
                await self._tell_to_wait(status)

    async def _tell_to_wait(self, status: int) -> None:
        if not self._told:
            self._told = status
            line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nx-swarm-waits: "
            await self._stream.send_all(line.encode())
        self._dots += 1
        await self._stream.send_all(b".")

    async def begin(
        self, status: int, headers: Iterable[tuple[str, str]], reason: str = ""
    ) -> None:
        """The head of the answer; its length is among the headers, or it ends with us."""
        if self._told not in (0, status):
            raise trio.ClosedResourceError("another answer was begun")
        head = h11.Response(status_code=status, headers=as_bytes(headers), reason=reason)
        data = self._http.send(head)
        if self._told:
            data = b"\r\n" + data.partition(b"\r\n")[2]
        await self._stream.send_all(data)

    @property
    def has_begun(self) -> bool:
        """Whether some of an answer was told, besides that it comes."""
        return self._http.our_state is not h11.SEND_RESPONSE

    async def send(self, piece: bytes) -> None:
        """Some of its body; nothing of it goes to who asked for the head alone."""
        if not self._is_head:
            await self._send(h11.Data(data=piece))

    async def end(self) -> None:
        """That was all."""
        await self._send(h11.EndOfMessage())

    async def answer(
        self, status: int, headers: Iterable[tuple[str, str]], body: bytes = b""
    ) -> None:
        """All of an answer that is in memory: a program has to take it, or its connection ends."""
        with trio.fail_after(PAGE_GIVEN_S):
            await self.begin(status, [*headers, ("content-length", str(len(body)))])
            for at in range(0, len(body), _SEND_BYTES):  # no second copy of all of it
                await self.send(body[at : at + _SEND_BYTES])
            await self.end()

    async def _refuse(self, error: MirrorError) -> None:
        if self._told or (self.has_begun and self._http.our_state is not h11.IDLE):
            raise trio.BrokenResourceError from error  # it began: only a reset says that it failed
        words, body = _line(error), f"swarm mirror: {error}\n".encode()
        headers = [("content-type", "text/plain"), ("content-length", str(len(body)))]
        headers.append(("x-error-message", words))  # huggingface_hub shows this, pip the reason
        if error.size is not None:
            headers.append(("content-range", f"bytes */{error.size}"))
        await self.begin(error.status, headers, words)
        await self.send(body)
        await self.end()

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            await self._stream.send_all(data)


def _line(error: MirrorError) -> str:
    """As it fits a header."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in str(error))[:300]
