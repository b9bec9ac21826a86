"""JSON in and out of Starlette, by msgspec."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

BODY_BYTES_MAX = 1024 * 1024
"""A JSON request: a task spec with long argument lists is far below this."""

StructT = TypeVar("StructT")


def reply(value: object, status: int = 200) -> Response:
    """One JSON document; bytes are base64, tuples arrays, dataclasses objects."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


class CutShort(ClientDisconnect):
    """The rest of an answer cannot be had: its reader sees that it is not whole."""


class Stream(StreamingResponse):
    """An answer in pieces, whose source is closed when its reader goes away in the middle.

    Starlette's own watches its reader through anyio, whose backend is imported by the first answer:
    the whole node would stand still for it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        pieces = self.body_iterator
        assert isinstance(pieces, AsyncGenerator)
        try:
            async with aclosing(pieces), trio.open_nursery() as nursery:
                nursery.start_soon(self._until_gone, receive, nursery.cancel_scope)
                await self.stream_response(send)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None

    async def _until_gone(self, receive: Receive, scope: trio.CancelScope) -> None:
        await self.listen_for_disconnect(receive)
        scope.cancel()


async def body_as(kind: type[StructT], request: Request) -> StructT:
    """The request body as a struct; an empty body is `{}`.

    Raises msgspec.ValidationError or DecodeError, which become 400.
    """
    return msgspec.json.decode(await body_bytes(request) or b"{}", type=kind)


async def body_bytes(request: Request) -> bytes:
    """The request body. Raises msgspec.ValidationError when it is too long."""
    parts, size = [], 0
    async with aclosing(request.stream()) as stream:
        async for part in stream:
            size += len(part)
            if size > BODY_BYTES_MAX:
                raise msgspec.ValidationError(f"body exceeds {BODY_BYTES_MAX} bytes")
            parts.append(part)
    return b"".join(parts)


def number(request: Request, name: str, default: float, low: float, high: float) -> float:
    """A number in the query. Raises msgspec.ValidationError."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise msgspec.ValidationError(f"{name} is a number from {low:.0f} to {high:.0f}")
    return value


def flag(request: Request, name: str) -> bool:
    """`?name=1` in the query. Raises msgspec.ValidationError."""
    text = request.query_params.get(name, "0")
    if text not in ("0", "1", "false", "true"):
        raise msgspec.ValidationError(f"{name} is 0 or 1")
    return text in ("1", "true")
