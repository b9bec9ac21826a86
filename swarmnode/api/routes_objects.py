"""Objects over HTTP: streams in, streams out, never a whole file in memory."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from storage.caps import parse_address, parse_cap, text_of_address, text_of_cap
from storage.facade import Durability, ObjectStat, PutReceipt, ReadCap
from storage.ids import Address
from swarmnode.api.face import NodeFace
from swarmnode.api.reply import body_as, reply
from swarmnode.api.schema import ObjectDetail, ObjectLine, ReadRequest, Receipt, ShardLine


def receipt_json(receipt: PutReceipt) -> Receipt:
    """A put receipt as the API tells it."""
    return Receipt(
        cap=text_of_cap(receipt.cap),
        address=text_of_address(receipt.cap.address),
        size=receipt.size,
        k=receipt.k,
        n=receipt.n,
        holders=receipt.holders,
        survives=receipt.survives,
        one_site=receipt.one_site,
        seconds=receipt.seconds,
    )


def detail_json(stat: ObjectStat) -> ObjectDetail:
    """An object's state as the API tells it."""
    return ObjectDetail(
        address=text_of_address(stat.address),
        name=stat.name,
        size=stat.size,
        k=stat.k,
        n=stat.n,
        segments=stat.segments,
        shards_live=stat.shards_live,
        survives=stat.survives,
        expires_ms=stat.expires_ms,
        shards=tuple(ShardLine(*line) for line in stat.holders),
    )


def address_of(text: str) -> Address:
    """Accepts an address or a whole capability."""
    return parse_cap(text).address if text.startswith("swarm:") else parse_address(text)


class ObjectRoutes:
    """Handlers under /api/v1/objects."""

    def __init__(self, node: NodeFace) -> None:
        self._node = node

    def routes(self) -> list[Route]:
        """The table of paths."""
        return [
            Route("/api/v1/objects", self.put, methods=["POST"]),
            Route("/api/v1/objects", self.ls, methods=["GET"]),
            Route("/api/v1/objects/read", self.read, methods=["POST"]),
            Route("/api/v1/objects/{address}", self.stat, methods=["GET"]),
            Route("/api/v1/objects/{address}", self.rm, methods=["DELETE"]),
        ]

    async def put(self, request: Request) -> Response:
        """Store the request body; `?name=` and `?durability=` are optional."""
        asked = request.query_params.get("durability", Durability.DURABLE.value)
        if asked not in tuple(Durability):
            raise msgspec.ValidationError(f"durability is one of {', '.join(Durability)}")
        async with aclosing(request.stream()) as body:
            receipt = await self._node.objects.put(
                body, name=request.query_params.get("name", ""), durability=Durability(asked)
            )
        return reply(receipt_json(receipt), 201)

    async def ls(self, request: Request) -> Response:
        """Objects this owner put."""
        lines = [
            ObjectLine(
                text_of_cap(entry.cap),
                text_of_address(entry.cap.address),
                entry.name,
                entry.size,
                entry.put_ms,
            )
            for entry in self._node.objects.entries()
        ]
        return reply(lines)

    async def read(self, request: Request) -> Response:
        """Stream plaintext. Errors before the first byte are problems, later ones cut it short."""
        wanted = await body_as(ReadRequest, request)
        chunks = self._chunks(parse_cap(wanted.cap), wanted)
        first = await anext(chunks, b"")

        async def stream() -> AsyncIterator[bytes]:
            yield first
            async for chunk in chunks:
                yield chunk

        return StreamingResponse(stream(), media_type="application/octet-stream")

    def _chunks(self, cap: ReadCap, wanted: ReadRequest) -> AsyncIterator[bytes]:
        return self._node.objects.get(cap, start=wanted.start, length=wanted.length)

    async def stat(self, request: Request) -> Response:
        """Where the shards are and what the object survives now."""
        address = address_of(request.path_params["address"])
        return reply(detail_json(await self._node.objects.stat(address)))

    async def rm(self, request: Request) -> Response:
        """Give up our leases on an object."""
        address = address_of(request.path_params["address"])
        return reply({"changed": await self._node.objects.forget(address)})
