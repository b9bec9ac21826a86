"""The API's own description, OpenAPI 3.1, made from the structs it really answers with.

Source: https://spec.openapis.org/oas/v3.1.0
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from swarmnode.api.reply import reply
from swarmnode.api.schema.environments import (
    EnvironmentFound,
    EnvironmentLine,
    EnvironmentMade,
    EnvironmentWanted,
)
from swarmnode.api.schema.folders import MissingReply
from swarmnode.api.schema.node import (
    API_VERSION,
    JoinRequest,
    Me,
    MemberLine,
    NewPerson,
    NewToken,
    PauseRequest,
    PeerLine,
    PersonAdded,
    PersonLine,
    PhraseRequest,
    PhraseShown,
    Pong,
    Problem,
    RemovalDone,
    RemoveRequest,
    SecretKept,
    SecretLine,
    Status,
    TokenLine,
    TokenMade,
    UnlockRequest,
)
from swarmnode.api.schema.objects import (
    CostLine,
    ObjectDetail,
    ObjectLine,
    PutReply,
    ReadRequest,
    RemoveReply,
    SameRequest,
)
from swarmnode.api.schema.tasks import (
    ExplanationDetail,
    FilesLine,
    ForgetReply,
    GapLine,
    Retried,
    SignalReply,
    SignalRequest,
    SubmitReply,
    TaskDetail,
    TaskEventLine,
    TaskLine,
)

_REF: Final = "#/components/schemas/{name}"
BYTES: Final = "application/octet-stream"
JSON: Final = "application/json"
ANY_OBJECT: Final = dict[str, Any]
"""Whatever object JSON can say: msgspec describes `Any` as that."""


class Answer(msgspec.Struct, frozen=True):
    """What one operation takes and gives; a text instead of a type is a media type of its own."""

    gives: object
    takes: object = None
    query: tuple[str, ...] = ()
    """Names of optional query parameters."""
    status: int = 200
    or_ok: object = None
    """What it gives with status 200 when `status` is another one."""


ANSWERS: Final[dict[tuple[str, str], Answer]] = {
    ("GET", "/api/v1/status"): Answer(Status),
    ("GET", "/api/v1/peers"): Answer(list[PeerLine]),
    ("POST", "/api/v1/peers/{peer}/ping"): Answer(Pong, query=("count",)),
    ("GET", "/api/v1/members"): Answer(list[MemberLine]),
    ("POST", "/api/v1/members/remove"): Answer(RemovalDone, RemoveRequest),
    ("POST", "/api/v1/members/phrase"): Answer(PhraseShown, PhraseRequest),
    ("GET", "/api/v1/me"): Answer(Me),
    ("POST", "/api/v1/me/key"): Answer(Me, UnlockRequest),
    ("DELETE", "/api/v1/me/key"): Answer(dict[str, bool]),
    ("GET", "/api/v1/people"): Answer(list[PersonLine]),
    ("POST", "/api/v1/people"): Answer(PersonAdded, NewPerson),
    ("DELETE", "/api/v1/people/{name}"): Answer(dict[str, bool]),
    ("GET", "/api/v1/tokens"): Answer(list[TokenLine]),
    ("POST", "/api/v1/tokens"): Answer(TokenMade, NewToken, status=201),
    ("DELETE", "/api/v1/tokens/{token}"): Answer(dict[str, bool]),
    ("GET", "/api/v1/secrets"): Answer(list[SecretLine]),
    ("POST", "/api/v1/secrets/{name}"): Answer(SecretKept, BYTES, status=201),
    ("DELETE", "/api/v1/secrets/{name}"): Answer(dict[str, bool]),
    ("POST", "/api/v1/join"): Answer(dict[str, str], JoinRequest),
    ("POST", "/api/v1/node/pause"): Answer(dict[str, bool], PauseRequest),
    ("POST", "/api/v1/node/resume"): Answer(dict[str, bool]),
    ("POST", "/api/v1/objects"): Answer(PutReply, BYTES, ("name", "durability", "kind"), 201),
    ("GET", "/api/v1/objects"): Answer(list[ObjectLine], query=("survives",)),
    ("POST", "/api/v1/objects/same"): Answer(ObjectLine, SameRequest),
    ("POST", "/api/v1/folders/missing"): Answer(
        MissingReply, BYTES, ("name", "durability", "kind")
    ),
    ("POST", "/api/v1/folders"): Answer(PutReply, BYTES, ("name", "durability", "kind"), 201),
    ("GET", "/api/v1/costs"): Answer(list[CostLine]),
    ("POST", "/api/v1/objects/read"): Answer(BYTES, ReadRequest),
    ("GET", "/api/v1/objects/{address}"): Answer(ObjectDetail),
    ("DELETE", "/api/v1/objects/{address}"): Answer(RemoveReply, query=("as_lab", "reason")),
    ("POST", "/api/v1/tasks"): Answer(
        SubmitReply, ANY_OBJECT, ("dry_run", "detach"), 201, ExplanationDetail
    ),
    ("GET", "/api/v1/tasks"): Answer(list[TaskLine], query=("state", "name", "since_ms", "limit")),
    ("GET", "/api/v1/tasks/{task}"): Answer(TaskDetail),
    ("DELETE", "/api/v1/tasks/{task}"): Answer(TaskDetail),
    ("POST", "/api/v1/tasks/{task}/cancel"): Answer(TaskDetail, query=("as_lab", "reason")),
    ("POST", "/api/v1/tasks/{task}/signal"): Answer(SignalReply, SignalRequest),
    ("POST", "/api/v1/tasks/{task}/files"): Answer(FilesLine),
    ("POST", "/api/v1/tasks/{task}/retry"): Answer(Retried, status=201),
    ("POST", "/api/v1/tasks/{task}/forget"): Answer(ForgetReply),
    ("GET", "/api/v1/tasks/{task}/wait"): Answer(TaskDetail, query=("timeout_s",)),
    ("POST", "/api/v1/tasks/{task}/wait"): Answer(TaskDetail, query=("timeout_s",)),
    ("GET", "/api/v1/tasks/{task}/explain"): Answer(ExplanationDetail),
    ("GET", "/api/v1/tasks/{task}/logs"): Answer(
        BYTES, query=("stream", "offset", "follow", "attempt")
    ),
    ("GET", "/api/v1/environments"): Answer(list[EnvironmentLine]),
    ("POST", "/api/v1/environments/find"): Answer(EnvironmentFound, EnvironmentWanted),
    ("POST", "/api/v1/environments/take"): Answer(EnvironmentLine, EnvironmentMade, status=201),
    ("POST", "/api/v1/environments/forget"): Answer(dict[str, bool], EnvironmentWanted),
    ("GET", "/api/v1/events"): Answer("text/event-stream"),
    ("GET", "/api/v1/openapi.json"): Answer(ANY_OBJECT),
}
"""One line for every operation under /api; a test compares it with the routes."""

_BESIDE: Final = (Problem, TaskEventLine, GapLine)
"""Structs that no operation names as its answer."""


class OpenApiRoutes:
    """The handler of /api/v1/openapi.json."""

    def __init__(self, described: Sequence[Route]) -> None:
        self._described = described

    def routes(self) -> list[Route]:
        """The table of paths."""
        return [Route("/api/v1/openapi.json", self.openapi, methods=["GET"])]

    async def openapi(self, request: Request) -> Response:
        """This description."""
        return reply(document([*self._described, *self.routes()]))


def document(routes: Sequence[Route]) -> dict[str, object]:
    """The whole description of these routes; those outside /api are left out."""
    schemas = _Schemas()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Swarm node", "version": f"v{API_VERSION}"},
        "paths": _paths(routes, schemas),
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _paths(routes: Sequence[Route], schemas: "_Schemas") -> dict[str, dict[str, object]]:
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        for method in sorted((route.methods or set()) - {"HEAD"}):
            answer = ANSWERS.get((method, route.path))
            if answer is not None:
                operation = _operation(route, method, answer, schemas)
                paths.setdefault(route.path, {})[method.lower()] = operation
    return paths


class _Schemas:
    """JSON schemas of every type in ANSWERS, and the components they refer to."""

    def __init__(self) -> None:
        types = [kind for answer in ANSWERS.values() for kind in _types_of(answer)]
        self._types = [kind for kind in [*types, *_BESIDE] if kind is not None and kind is not str]
        named = [kind for kind in self._types if not isinstance(kind, str)]
        schemas, self.components = msgspec.json.schema_components(named, ref_template=_REF)
        self._named, self._schemas = named, schemas

    def content(self, kind: object) -> dict[str, object]:
        """The `content` object of a body of that type."""
        if isinstance(kind, str):
            return {kind: {}}
        return {JSON: {"schema": self._schemas[self._named.index(kind)]}}


def _types_of(answer: Answer) -> tuple[object, ...]:
    return answer.gives, answer.takes, answer.or_ok


def _operation(route: Route, method: str, answer: Answer, schemas: _Schemas) -> dict[str, object]:
    summary = (route.endpoint.__doc__ or "").strip().partition("\n")[0]
    name = route.endpoint.__qualname__.replace("Routes.", "_").lower()
    operation: dict[str, object] = {
        "operationId": f"{method.lower()}_{name}",
        "summary": summary,
        "parameters": [
            *(_parameter(name, "path") for name in route.param_convertors),
            *(_parameter(name, "query") for name in answer.query),
        ],
        "responses": _responses(answer, schemas),
    }
    if answer.takes is not None:
        operation["requestBody"] = {"content": schemas.content(answer.takes), "required": True}
    return operation


def _responses(answer: Answer, schemas: _Schemas) -> dict[str, object]:
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    responses: dict[str, object] = {
        str(answer.status): {"description": "ok", "content": schemas.content(answer.gives)},
        "default": {"description": "A problem (RFC 9457).", "content": problem},
    }
    if answer.or_ok is not None:
        responses["200"] = {"description": "ok", "content": schemas.content(answer.or_ok)}
    return responses


def _parameter(name: str, place: str) -> dict[str, object]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": {"type": "string"},
    }
