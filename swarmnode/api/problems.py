"""Errors as the local API tells them: exception -> status, stable code, title."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from p2p.errors import (
    CallTimeoutError,
    DialError,
    IdentityError,
    PeerUnreachableError,
    RemoteRefusalError,
)
from storage.errors import (
    CapabilityError,
    NameConflictError,
    ObjectDegradedError,
    ObjectUnknownError,
    PoolUnknownError,
    StaleFenceError,
    StorageError,
    StoreFullError,
    TooFewPeersError,
)
from swarmnode.api.schema.node import Problem
from swarmnode.errors import (
    AttemptUnknownError,
    ConfigError,
    EnvironmentDamagedError,
    EnvironmentUnknownError,
    FolderNewerError,
    FolderStaleError,
    LimitNotEnforceableError,
    NotAllowedError,
    PersonKeyError,
    PersonLockedError,
    PersonRefusedError,
    PersonUnknownError,
    RecoveryRefusedError,
    RemovalRefusedError,
    SecretRefusedError,
    SecretUnknownError,
    SpecError,
    SubjectAmbiguousError,
    SubjectUnknownError,
    SwarmError,
    TaskAmbiguousError,
    TaskNotEndedError,
    TaskNotRunningError,
    TaskUnknownError,
    TaskUnreachableError,
    TokenUnknownError,
    TreeChangedError,
    TreeRefusedError,
)

STARTING: Final = Problem(
    503, "starting", "the node is starting", "try again in a second, or add --wait 10"
)

PROBLEMS: Final[dict[type[Exception], tuple[int, str, str]]] = {
    CapabilityError: (400, "bad_capability", "not a capability or address"),
    SpecError: (400, "bad_spec", "the task spec is wrong"),
    msgspec.ValidationError: (400, "bad_request", "the request is wrong"),
    msgspec.DecodeError: (400, "bad_request", "the request body is not JSON"),
    ObjectUnknownError: (404, "object_unknown", "no such object"),
    TaskUnknownError: (404, "task_unknown", "no such task"),
    SecretUnknownError: (404, "secret_unknown", "no such secret"),
    SecretRefusedError: (422, "secret_refused", "that cannot be a secret"),
    TaskAmbiguousError: (409, "task_ambiguous", "several tasks are called that"),
    AttemptUnknownError: (404, "attempt_unknown", "no such attempt"),
    TaskUnreachableError: (503, "task_unreachable", "the task cannot be reached now"),
    SubjectUnknownError: (404, "member_unknown", "no such member"),
    SubjectAmbiguousError: (409, "member_ambiguous", "several members are called that"),
    PersonUnknownError: (404, "person_unknown", "nobody of that name"),
    TokenUnknownError: (404, "token_unknown", "no such token"),
    PersonRefusedError: (409, "person_refused", "not let in"),
    PersonLockedError: (423, "locked", "your key is not unlocked here"),
    PersonKeyError: (409, "other_key", "another key of yours is known here"),
    NotAllowedError: (403, "not_allowed", "not allowed"),
    ConfigError: (500, "config", "the configuration cannot be used"),
    IdentityError: (500, "files", "the node's files cannot be used"),
    RecoveryRefusedError: (409, "recovery_refused", "not shown"),
    RemovalRefusedError: (409, "removal_refused", "not removed"),
    TaskNotEndedError: (409, "task_not_ended", "the task has not ended"),
    TaskNotRunningError: (409, "task_not_running", "the task does not run"),
    NameConflictError: (409, "name_conflict", "another write came first"),
    StaleFenceError: (409, "stale_fence", "a newer attempt owns this"),
    LimitNotEnforceableError: (422, "limit_not_enforceable", "a limit cannot be enforced"),
    EnvironmentDamagedError: (409, "environment_damaged", "the environment cannot be used"),
    EnvironmentUnknownError: (422, "environment_unknown", "no such environment"),
    ObjectDegradedError: (503, "object_degraded", "too few shards can be had now"),
    FolderStaleError: (409, "folder_stale", "the folder has to be asked about again"),
    FolderNewerError: (400, "newer_folder", "stored by a newer version"),
    TreeRefusedError: (400, "bad_folder", "not a folder that can be kept"),
    TreeChangedError: (409, "folder_changed", "a file changed while it was read"),
    PoolUnknownError: (503, "pool_unknown", "this node has just started"),
    TooFewPeersError: (503, "too_few_peers", "the pool is too small for that"),
    StoreFullError: (507, "store_full", "no room left"),
    DialError: (502, "dial_failed", "the address could not be joined"),
    PeerUnreachableError: (502, "peer_unreachable", "the peer could not be reached"),
    RemoteRefusalError: (502, "peer_refused", "the peer refused"),
    CallTimeoutError: (504, "peer_timeout", "the peer did not answer in time"),
    StorageError: (500, "storage_error", "storage failed"),
    SwarmError: (500, "error", "the node could not do that"),
}


def problem_of(error: Exception) -> Problem:
    """The problem an expected error becomes; the nearest class in the table decides."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            status, code, title = PROBLEMS[kind]
            return Problem(status, code, title, str(error))
    raise error


def problem_response(problem: Problem) -> Response:
    """An RFC 9457 response."""
    return Response(
        msgspec.json.encode(problem), problem.status, media_type="application/problem+json"
    )


async def on_expected_error(request: Request, error: Exception) -> Response:
    """Starlette handler for every class in PROBLEMS; anything else is a bug and stays one."""
    return problem_response(problem_of(error))
