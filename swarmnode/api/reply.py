"""JSON in and out of Starlette, by msgspec."""

from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

BODY_BYTES_MAX = 1024 * 1024
"""A JSON request: a task spec with long argument lists is far below this."""

StructT = TypeVar("StructT")


def reply(value: object, status: int = 200) -> Response:
    """One JSON document; bytes are base64, tuples arrays, dataclasses objects."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def body_as(kind: type[StructT], request: Request) -> StructT:
    """The request body as a struct; an empty body is `{}`.

    Raises msgspec.ValidationError or DecodeError, which become 400.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise msgspec.ValidationError(f"body exceeds {BODY_BYTES_MAX} bytes")
        parts.append(part)
    return msgspec.json.decode(b"".join(parts) or b"{}", type=kind)
