"""A person's secrets over HTTP: values come in, and are never told."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from swarmnode.api.access.asker import asker_of
from swarmnode.api.face import NodeFace
from swarmnode.api.reply import body_bytes, reply
from swarmnode.api.schema.node import SecretKept, SecretLine


class SecretRoutes:
    """Handlers under /api/v1/secrets."""

    def __init__(self, node: NodeFace) -> None:
        self._secrets, self._buyer = node.household.secrets, node.market.buyer

    def routes(self) -> list[Route]:
        """The table of paths."""
        one = "/api/v1/secrets/{name}"
        return [
            Route("/api/v1/secrets", self.ls, methods=["GET"]),
            Route(one, self.set, methods=["POST"]),
            Route(one, self.rm, methods=["DELETE"]),
        ]

    async def ls(self, request: Request) -> Response:
        """Names and sizes of the asker's own."""
        rows = self._secrets.all(asker_of(request).person)
        return reply([SecretLine(row.name, row.size, row.set_ms) for row in rows])

    async def set(self, request: Request) -> Response:
        """Keep the body, every byte of it, in place of an older value of that name."""
        name, value = request.path_params["name"], await body_bytes(request)
        was_there = await self._secrets.set(asker_of(request).person, name, value)
        return reply(SecretKept(name, len(value), was_there), 201)

    async def rm(self, request: Request) -> Response:
        """Forget it: what runs keeps it, and open tasks that want it start nowhere any more.

        Tasks first: what fails in between can be asked for again, as long as the secret is there.
        """
        name, person = request.path_params["name"], asker_of(request).person
        self._secrets.find(person, name)
        await self._buyer.secret_removed(person, name)
        await self._secrets.remove(person, name)
        return reply({"changed": True})
