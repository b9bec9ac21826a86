"""Who may use this node over HTTP: people of this machine, and tokens."""

import os
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from swarmnode.api.access.asker import Principal, asker_of
from swarmnode.api.access.tokens import ID_CHARS, TokenBook
from swarmnode.api.face import NodeFace
from swarmnode.api.reply import body_as, reply
from swarmnode.api.schema.node import (
    Me,
    NewPerson,
    NewToken,
    PersonAdded,
    PersonLine,
    TokenLine,
    TokenMade,
    UnlockRequest,
)
from swarmnode.errors import NotAllowedError, PersonRefusedError
from swarmnode.people.book import login_of, user_id_of

MAKERS: Final = frozenset({"admin", "person"})
"""Who may make tokens: a token of scope submit cannot outlive itself in another."""


class PeopleRoutes:
    """Handlers under /api/v1/people, /api/v1/tokens and /api/v1/me."""

    def __init__(self, node: NodeFace, tokens: TokenBook) -> None:
        house = node.household
        self._people, self._seals, self._unlocking = house.people, house.seals, house.unlocking
        self._tokens, self._api = tokens, node.config.api

    def routes(self) -> list[Route]:
        """The table of paths."""
        return [
            Route("/api/v1/me", self.me, methods=["GET"]),
            Route("/api/v1/me/key", self.unlock, methods=["POST"]),
            Route("/api/v1/me/key", self.lock, methods=["DELETE"]),
            Route("/api/v1/people", self.ls, methods=["GET"]),
            Route("/api/v1/people", self.add, methods=["POST"]),
            Route("/api/v1/people/{name}", self.rm, methods=["DELETE"]),
            Route("/api/v1/tokens", self.token_ls, methods=["GET"]),
            Route("/api/v1/tokens", self.token_new, methods=["POST"]),
            Route("/api/v1/tokens/{token}", self.token_rm, methods=["DELETE"]),
        ]

    async def me(self, request: Request) -> Response:
        """Who asks, as this node sees it."""
        return reply(self._me(asker_of(request)))

    def _me(self, asker: Principal) -> Me:
        if not asker.person:
            return Me(asker.person, asker.scope)
        has_key = self._seals.has_key(asker.person)
        key = "locked" if has_key else "none"
        if self._seals.is_unlocked(asker.person):
            key = "unlocked"
        return Me(asker.person, asker.scope, key, self._people.salt_of(asker.person).hex())

    async def unlock(self, request: Request) -> Response:
        """Take the asker's key in: what rests here of them can be opened until it is locked."""
        asker = _person_of(request)
        wanted = await body_as(UnlockRequest, request)
        secret, salt = bytes.fromhex(wanted.secret), bytes.fromhex(wanted.salt)
        await self._unlocking.unlock(asker.person, secret, salt, anew=wanted.anew)
        return reply(self._me(asker))

    async def lock(self, request: Request) -> Response:
        """Forget the asker's key; what is theirs is renewed, and their tasks go on."""
        return reply({"changed": self._seals.lock(_person_of(request).person)})

    async def ls(self, request: Request) -> Response:
        """Everybody whom the owner of this machine let in."""
        return reply([PersonLine(row.name, row.uid, row.since_ms) for row in self._people.all()])

    async def add(self, request: Request) -> Response:
        """Let a user of this machine in."""
        wanted = await body_as(NewPerson, request)
        uid = user_id_of(wanted.name) if wanted.uid is None else wanted.uid
        if uid in (0, os.geteuid()):
            raise PersonRefusedError(
                f"{login_of(uid)} is the owner of this node, and is let in without it"
            )
        return reply(PersonAdded(await self._people.add(wanted.name, uid), self._api.shared))

    async def rm(self, request: Request) -> Response:
        """Let somebody in no more; their tokens end, what they stored and run goes on."""
        name = request.path_params["name"]
        await self._people.remove(name)
        self._tokens.end_all(name)
        self._seals.lock(name)
        return reply({"changed": True})

    async def token_ls(self, request: Request) -> Response:
        """The asker's tokens."""
        granted = self._tokens.of(asker_of(request).person)
        return reply(
            [TokenLine(grant.digest[:ID_CHARS], grant.scope, grant.name) for grant in granted]
        )

    async def token_new(self, request: Request) -> Response:
        """Make a token for the asker; it is told here and never again."""
        asker, wanted = asker_of(request), await body_as(NewToken, request)
        if asker.scope not in MAKERS:
            raise NotAllowedError("a token cannot make tokens: do it on the node's own socket")
        if asker.person and wanted.scope == "admin":
            raise NotAllowedError("scope admin is the machine's owner's: take read or submit")
        made = self._tokens.make(wanted.scope, wanted.name, asker.person)
        return reply(TokenMade(made, wanted.scope, self._api.tcp), 201)

    async def token_rm(self, request: Request) -> Response:
        """End one of the asker's tokens, by its id or name."""
        asker = asker_of(request)
        if asker.scope not in MAKERS:
            raise NotAllowedError("a token cannot end tokens: do it on the node's own socket")
        self._tokens.remove(request.path_params["token"], asker.person)
        return reply({"changed": True})


def _person_of(request: Request) -> Principal:
    """Whoever the kernel says it is. Raises NotAllowedError, for tokens and the owner, too."""
    asker = asker_of(request)
    if not asker.person:
        raise NotAllowedError(
            "this node is yours, and your key lies in its home: there is nothing to lock or unlock"
        )
    if asker.scope != "person":
        raise NotAllowedError("a key is brought on the node's own socket only, never by a token")
    return asker
