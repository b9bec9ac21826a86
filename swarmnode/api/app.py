"""The local API as one ASGI app: who may call, which paths, how errors look.

DNS rebinding makes Origin equal Host, so a fixed Host list and, on TCP, a bearer token decide
(research: Tailscale local API, Syncthing #4819). There are no CORS headers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from swarmnode.api.access.asker import KEY as ASKER
from swarmnode.api.access.asker import OWNER, Principal
from swarmnode.api.access.tokens import FixedTokens
from swarmnode.api.openapi import ANSWERS
from swarmnode.api.problems import PROBLEMS, STARTING, on_expected_error, problem_response
from swarmnode.api.schema.node import Problem

Asgi: TypeAlias = ASGIApp

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
HOSTS_ALWAYS: Final = frozenset({"swarm", "localhost", "127.0.0.1", "[::1]"})
SCOPES: Final[Mapping[str, frozenset[str]]] = {
    "read": frozenset({"GET"}),
    "submit": frozenset({"GET", "POST"}),
    "person": frozenset({"GET", "POST", "PUT", "DELETE"}),
    "admin": frozenset({"GET", "POST", "PUT", "DELETE"}),
}
"""Scope -> methods it may use; only `admin` may steer the node (ADMIN_PATHS).

`person` is that of a user of this machine whom its owner let in, on the shared socket.
"""
ADMIN_PATHS: Final = ("/api/v1/node/", "/api/v1/join", "/api/v1/members/", "/api/v1/people")
ANSWERED_WHILE_STARTING: Final = OPEN_PATHS | {
    "/api/v1/status",
    "/api/v1/openapi.json",
    "/metrics",
}
UID: Final = "swarm.uid"
"""Where a connection's user id stands in the ASGI scope."""


GIVES_WAY: Final = "swarm.gives_way"
"""Where the ASGI scope has what lets a connection end for a newcomer while it is answered."""


class Tokens(Protocol):
    """What the gatekeeper needs of `swarmnode.api.access.tokens.TokenBook`."""

    def asker(self, token: str) -> Principal | None: ...


class Gatekeeper:
    """Lets a request through to the app, or answers it with a problem.

    `tokens` knows the bearer tokens, or maps their SHA-256 (hex) to a scope; None means a unix
    socket. Who connects there decides `who`; without it file permissions have decided already.
    """

    def __init__(
        self,
        app: Asgi,
        tokens: Tokens | Mapping[str, str] | None,
        hosts: Sequence[str] = (),
        who: Callable[[int], Principal | Problem] | None = None,
    ) -> None:
        self._app = app
        self._tokens = FixedTokens(tokens) if isinstance(tokens, Mapping) else tokens
        self._hosts = HOSTS_ALWAYS | frozenset(hosts)
        self._who = who

    def for_user(self, uid: int | None) -> Asgi:
        """The entry for connections of a user of this machine; None: not from a unix socket."""
        if uid is None or self._who is None:
            return self

        async def entry(scope: Scope, receive: Receive, send: Send) -> None:
            scope[UID] = uid
            await self(scope, receive, send)

        return entry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] == "http":
            asker = self._asker(scope)
            if (isinstance(asker, Problem) or scope["path"] in OPEN_PATHS) and GIVES_WAY in scope:
                scope[GIVES_WAY]()  # who may ask nothing can also take the answer never
            if isinstance(asker, Problem):
                await problem_response(asker)(scope, receive, send)
                return
            scope[ASKER] = asker
        await self._app(scope, receive, send)

    def _asker(self, scope: Scope) -> Principal | Problem:
        """Who asks, or why they get no answer."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").rsplit(":", 1)[0].lower()
        if self._tokens is None and host not in self._hosts:
            hint = f"{host[:64]}: call it `swarm` or `localhost`, or add it to api.hosts"
            return Problem(403, "bad_host", "this host name is not served", hint)
        if "origin" in headers:
            return Problem(403, "bad_origin", "requests from web pages are refused")
        if self._tokens is None:
            return OWNER if self._who is None else self._user(scope, self._who)
        if scope["path"] in OPEN_PATHS:
            return Principal(scope="read")
        return self._bearer(scope, headers, self._tokens)

    def _user(self, scope: Scope, who: Callable[[int], Principal | Problem]) -> Principal | Problem:
        asker = who(scope[UID])
        if isinstance(asker, Problem) or _may(asker, scope):
            return asker
        hint = "only its owner steers this node"
        return Problem(403, "not_allowed", "you may not do that", hint)

    def _bearer(self, scope: Scope, headers: Headers, tokens: Tokens) -> Principal | Problem:
        kind, _, token = headers.get("authorization", "").partition(" ")
        asker = tokens.asker(token)
        if kind.lower() != "bearer" or asker is None:
            hint = "send `Authorization: Bearer TOKEN`; `swarmnode token new` makes one"
            return Problem(401, "token_needed", "a valid token is needed", hint)
        if not _may(asker, scope):
            hint = "`swarmnode token new --scope` makes one that may"
            return Problem(403, "scope", f"a token of scope {asker.scope} may not do that", hint)
        return asker


def _may(asker: Principal, scope: Scope) -> bool:
    steers = str(scope["path"]).startswith(ADMIN_PATHS)
    return scope["method"] in SCOPES[asker.scope] and (not steers or asker.scope == "admin")


class StartGate:
    """Answers 503 until the node's tables are loaded: a task must not seem unknown meanwhile."""

    def __init__(self, app: Asgi, has_started: Callable[[], bool]) -> None:
        self._app, self._has_started = app, has_started

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        waits = scope["type"] == "http" and scope["path"] not in ANSWERED_WHILE_STARTING
        if waits and not self._has_started():
            await problem_response(STARTING)(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _live(receive: Receive, send: Send) -> None:
    """Nothing to start or stop. Starlette's own answer turns a cancellation into a failure."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _not_found(request: Request, error: Exception) -> Response:
    return problem_response(Problem(404, "no_such_path", "no such path", request.url.path))


async def _wrong_method(request: Request, error: Exception) -> Response:
    return problem_response(Problem(405, "method", f"{request.method} is not served here"))


def build_app(
    routes: Sequence[BaseRoute], has_started: Callable[[], bool] = lambda: True
) -> Starlette:
    """All routes with problem responses for every expected error, once the node has started."""
    handlers: dict[type[Exception] | int, ExceptionHandler]
    handlers = dict.fromkeys(PROBLEMS, on_expected_error)
    handlers[404], handlers[405] = _not_found, _wrong_method
    gate = Middleware(StartGate, has_started=has_started)
    strict = [_strict(route) for route in routes]
    return Starlette(routes=strict, exception_handlers=handlers, middleware=[gate])


def _strict(route: BaseRoute) -> BaseRoute:
    """The same, but for queries with a key that it does not know: a body's is refused, too."""
    if not isinstance(route, Route):
        return route
    known = {
        method: answer.query for (method, path), answer in ANSWERS.items() if path == route.path
    }
    if not known:
        return route  # not of the API proper: whoever scrapes /metrics may add what they like

    async def answer(request: Request) -> Response:
        allowed = known.get("GET" if request.method == "HEAD" else request.method, ())
        if odd := [key for key in request.query_params if key not in allowed]:
            raise msgspec.ValidationError(_unknown_words(odd[0], allowed))
        response = await route.endpoint(request)
        assert isinstance(response, Response)
        return response

    return Route(route.path, answer, methods=sorted(route.methods or ()))


def _unknown_words(key: str, allowed: Sequence[str]) -> str:
    there_are = f"there are {', '.join(allowed)}" if allowed else "there are none here"
    return f"no parameter {key[:64]!r}: {there_are}"
