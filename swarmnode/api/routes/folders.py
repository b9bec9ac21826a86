"""Folders over HTTP: what is missing of one, and then that."""

from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from storage.facade import Mark
from swarmnode.api.access.asker import asker_of
from swarmnode.api.face import NodeFace
from swarmnode.api.reply import reply
from swarmnode.api.routes.objects import how_to_keep
from swarmnode.api.schema.folders import MissingReply
from swarmnode.api.views.objects import receipt_json
from swarmnode.packs.arriving import Arriving
from swarmnode.packs.writing import FolderPut, FolderWriter


class FolderRoutes:
    """Handlers under /api/v1/folders; what is put there is an object as any other."""

    def __init__(self, node: NodeFace) -> None:
        self._writer = FolderWriter(
            node.objects,
            lambda person, cap: node.household.seals.open_cap(person, cap),
            lambda: node.taken_over_ms,
        )

    def routes(self) -> list[Route]:
        """The table of paths."""
        return [
            Route("/api/v1/folders", self.put, methods=["POST"]),
            Route("/api/v1/folders/missing", self.missing, methods=["POST"]),
        ]

    async def missing(self, request: Request) -> Response:
        """Which contents of a folder are to be sent: its names and hashes are the body.

        `?name=` as it will be put.
        """
        _, _, name = how_to_keep(request)
        async with aclosing(request.stream()) as body:
            names = await Arriving(body).names()
        numbers = await self._writer.missing(names, name, asker_of(request).person)
        return reply(MissingReply(numbers))

    async def put(self, request: Request) -> Response:
        """Store a folder with what was missing of it; the query is as for objects."""
        durability, kind, name = how_to_keep(request)
        wanted = FolderPut(name, Mark(kind, person=asker_of(request).person), durability)
        async with aclosing(request.stream()) as body:
            receipt = await self._writer.put(Arriving(body), wanted)
        return reply(receipt_json(receipt), 201)
