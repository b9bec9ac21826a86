"""Who may use this node over HTTP: people of this machine, and tokens."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from swarmnode.api.asker import asker_of
from swarmnode.api.reply import body_as, reply
from swarmnode.api.schema import Me, NewPerson, NewToken, PersonLine, TokenLine, TokenMade
from swarmnode.api.tokens import ID_CHARS, TokenBook
from swarmnode.errors import NotAllowedError
from swarmnode.people.book import People

MAKERS: Final = frozenset({"admin", "person"})
"""Who may make tokens: a token of scope submit cannot outlive itself in another."""


class PeopleRoutes:
    """Handlers under /api/v1/people, /api/v1/tokens and /api/v1/me."""

    def __init__(self, people: People, tokens: TokenBook) -> None:
        self._people, self._tokens = people, tokens

    def routes(self) -> list[Route]:
        """The table of paths."""
        return [
            Route("/api/v1/me", self.me, methods=["GET"]),
            Route("/api/v1/people", self.ls, methods=["GET"]),
            Route("/api/v1/people", self.add, methods=["POST"]),
            Route("/api/v1/people/{name}", self.rm, methods=["DELETE"]),
            Route("/api/v1/tokens", self.token_ls, methods=["GET"]),
            Route("/api/v1/tokens", self.token_new, methods=["POST"]),
            Route("/api/v1/tokens/{token}", self.token_rm, methods=["DELETE"]),
        ]

    async def me(self, request: Request) -> Response:
        """Who asks, as this node sees it."""
        asker = asker_of(request)
        return reply(Me(asker.person, asker.scope))

    async def ls(self, request: Request) -> Response:
        """Everybody whom the owner of this machine let in."""
        return reply([PersonLine(row.name, row.uid, row.since_ms) for row in self._people.all()])

    async def add(self, request: Request) -> Response:
        """Let a user of this machine in."""
        wanted = await body_as(NewPerson, request)
        return reply({"changed": await self._people.add(wanted.name, wanted.uid)})

    async def rm(self, request: Request) -> Response:
        """Let somebody in no more; their tokens end, what they stored and run goes on."""
        name = request.path_params["name"]
        await self._people.remove(name)
        self._tokens.end_all(name)
        return reply({"changed": True})

    async def token_ls(self, request: Request) -> Response:
        """The asker's tokens."""
        found = self._tokens.of(asker_of(request).person)
        return reply([TokenLine(one.digest[:ID_CHARS], one.scope, one.name) for one in found])

    async def token_new(self, request: Request) -> Response:
        """Make a token for the asker; it is told here and never again."""
        asker, wanted = asker_of(request), await body_as(NewToken, request)
        if asker.scope not in MAKERS:
            raise NotAllowedError("a token cannot make tokens: do it on the node's own socket")
        if asker.person and wanted.scope == "admin":
            raise NotAllowedError("scope admin is the machine's owner's: take read or submit")
        made = self._tokens.make(wanted.scope, wanted.name, asker.person)
        return reply(TokenMade(made, wanted.scope), 201)

    async def token_rm(self, request: Request) -> Response:
        """End one of the asker's tokens, by its id or name."""
        asker = asker_of(request)
        if asker.scope not in MAKERS:
            raise NotAllowedError("a token cannot end tokens: do it on the node's own socket")
        self._tokens.remove(request.path_params["token"], asker.person)
        return reply({"changed": True})
