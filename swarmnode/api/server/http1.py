"""One HTTP/1.1 connection to an ASGI app: h11 decides, this moves the bytes.

Nothing here waits for a client without a bound: not for a request to begin, its head to end, its
body to go on, or the answer to be taken. HTTP/2 is not spoken. What is ambiguous (Content-Length
with Transfer-Encoding, a broken head) is answered 400 and ends the connection.
"""

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import h11
import trio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Scope

from swarmnode.api.app import GIVES_WAY
from swarmnode.api.limits import (
    API_BODY_STALL_S,
    API_HEAD_BYTES_MAX,
    API_HEAD_S,
    API_RECEIVE_BYTES,
    API_REPLY_STALL_S,
    API_SEND_BYTES,
)

log = logging.getLogger("swarm")

_UPGRADES: Final = frozenset({b"upgrade", b"http2-settings"})


class HttpConnection:
    """Serves the requests of one stream, one after another."""

    def __init__(
        self,
        app: ASGIApp,
        stream: trio.abc.Stream,
        client: tuple[str, int] | None,
        on_busy: Callable[[bool], None],
    ) -> None:
        """`on_busy` hears True when a request has come and False when it is answered."""
        self._app, self._stream, self._client, self._on_busy = app, stream, client, on_busy
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=API_HEAD_BYTES_MAX)
        self._scope = trio.CancelScope()
        """Of the answer that is made now; cancelled when the client takes no more of it."""
        self._read = trio.Lock()
        """One at a time reads from the stream."""
        self._ended = False
        """The client has gone in the middle of this request: nothing more is said."""
        self._is_head = False
        """The answer is told by its head alone: HEAD."""

    async def run(self, stopping: trio.Event) -> None:
        """Serve until either side is done, or `stopping` is set and nothing is open."""
        try:
            while not stopping.is_set() and (request := await self._next_request()) is not None:
                self._on_busy(True)
                await self._answer(request)
                self._pass_over_body()
                self._on_busy(False)
                if not self._may_go_on():
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, str(error))
        except trio.TooSlowError:
            if self._http.trailing_data[0]:
                await self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request did not come to an end")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client is gone

    def _may_go_on(self) -> bool:
        """Whether more may follow; never when the client got a part of its answer only."""
        done = (h11.DONE, h11.DONE)
        return not self._ended and (self._http.our_state, self._http.their_state) == done

    async def _next_request(self) -> h11.Request | None:
        with trio.fail_after(API_HEAD_S):
            event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        self._is_head = event.method == b"HEAD"
        if event.http_version not in (b"1.0", b"1.1"):
            raise h11.RemoteProtocolError("this speaks one version of HTTP, 1.1", 505)
        if event.method == b"CONNECT":
            raise h11.RemoteProtocolError("this is not a proxy", HTTPStatus.NOT_IMPLEMENTED)
        names = {name for name, _ in event.headers}
        if b"content-length" in names and b"transfer-encoding" in names:
            raise h11.RemoteProtocolError("Content-Length with Transfer-Encoding")
        return event

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(API_RECEIVE_BYTES)))
        return event

    def _pass_over_body(self) -> None:
        """What the app did not read of a body that has come; one that has not ends it all."""
        while self._http.their_state is h11.SEND_BODY:
            if not isinstance(self._http.next_event(), h11.Data | h11.EndOfMessage):
                return

    async def _answer(self, request: h11.Request) -> None:
        self._scope = trio.CancelScope()
        self._ended = False
        with self._scope:
            try:
                await self._app(self._asgi_scope(request), self._receive, self._send)
            except ClientDisconnect:
                self._ended = True  # in the middle of a body: nobody is there to be told
            except Exception:
                # A bug in one route: its client is told, the log has the trace, the node lives.
                # Not the whole target: what stands behind the collection may be a capability.
                where = b"/".join(request.target.partition(b"?")[0].split(b"/")[:4])
                log.exception("a request failed: %s %s", request.method.decode(), where)
            if self._http.our_state is h11.SEND_RESPONSE and not self._ended:
                await self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "see the node's log")

    def _asgi_scope(self, request: h11.Request) -> Scope:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode("ascii").upper(),
            "scheme": "http",
            "path": unquote(path.decode("ascii"), errors="replace"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(name, value) for name, value in request.headers if name not in _UPGRADES],
            "client": self._client,
            "server": None,
            GIVES_WAY: partial(self._on_busy, False),
        }

    async def _receive(self) -> Message:
        """ASGI: the next piece of the body, then, whenever that is, that the client has gone."""
        async with self._read:
            if self._http.their_state is h11.SEND_BODY:
                return await self._next_piece()
            # Whatever else the client sends meanwhile is its next request: it waits.
            while not self._ended and self._http.trailing_data == (b"", False):
                self._http.receive_data(await self._receive_some())
        if not self._http.trailing_data[1] and not self._ended:
            await trio.sleep_forever()
        return {"type": "http.disconnect"}

    async def _next_piece(self) -> Message:
        if self._http.they_are_waiting_for_100_continue:
            await self._write(
                self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
            )
        try:
            with trio.fail_after(API_BODY_STALL_S):
                event = await self._next_event()
        except (h11.RemoteProtocolError, trio.TooSlowError, trio.BrokenResourceError):
            self._ended = True  # it broke off: what came is not all
            return {"type": "http.disconnect"}
        if isinstance(event, h11.Data):
            return {"type": "http.request", "body": bytes(event.data), "more_body": True}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _receive_some(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(API_RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._ended = True
            return b""

    async def _send(self, message: Message) -> None:
        """ASGI: the head, then pieces of the body. A client that takes nothing ends its request."""
        if self._ended:
            await trio.lowlevel.checkpoint()
            return
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ())]
            await self._write(
                self._http.send(h11.Response(status_code=message["status"], headers=headers))
            )
            return
        body = message.get("body", b"")
        if body and not self._is_head:
            await self._write(self._http.send(h11.Data(data=body)))
        if not message.get("more_body", False):
            await self._write(self._http.send(h11.EndOfMessage()))

    async def _write(self, data: bytes | None) -> None:
        view = memoryview(data or b"")
        try:
            for start in range(0, len(view), API_SEND_BYTES):
                with trio.fail_after(API_REPLY_STALL_S):
                    await self._stream.send_all(view[start : start + API_SEND_BYTES])
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            self._ended = True
            self._scope.cancel()
            await trio.lowlevel.checkpoint()

    async def _refuse(self, status: int, detail: str) -> None:
        """Say why, if it can still be said, and end."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{status} {detail}\n".encode()
        head = [("content-type", "text/plain"), ("content-length", str(len(body)))]
        head.append(("connection", "close"))
        await self._write(self._http.send(h11.Response(status_code=status, headers=head)))
        if not self._is_head:
            await self._write(self._http.send(h11.Data(data=body)))
        await self._write(self._http.send(h11.EndOfMessage()))
