"""Who asks the local API, as its connection or token proves it, and what they are not shown."""

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import Request

from swarmnode.errors import NotAllowedError
from swarmnode.limits import LAB_REASON_CHARS_MAX

KEY: Final = "swarm.asker"
"""Where the gatekeeper leaves it in the ASGI scope."""
_CAPABILITY: Final = re.compile(r"swarm:[a-z2-7]{100,}", re.IGNORECASE)
HIDDEN: Final = "(hidden)"


@dataclass(frozen=True, slots=True)
class Asker:
    """A person of this machine and what they may do."""

    person: str = ""
    """Empty for the machine's owner."""
    scope: str = "admin"


OWNER: Final = Asker()


def asker_of(request: Request) -> Asker:
    """Who sent a request."""
    found = request.scope.get(KEY, OWNER)
    assert isinstance(found, Asker)
    return found


def lab_reason(request: Request) -> str:
    """Why the lab's key is to act: only the machine's owner has it do so. NotAllowedError."""
    asker, reason = asker_of(request), request.query_params.get("reason", "")
    if asker.person or asker.scope != "admin":
        raise NotAllowedError("only the owner of this machine uses the key of the lab")
    if len(reason) > LAB_REASON_CHARS_MAX:
        raise msgspec.ValidationError(f"a reason has {LAB_REASON_CHARS_MAX} characters")
    return reason


def shown(request: Request, value: Any) -> Any:  # noqa: ANN401  (any answer)
    """What this asker may see of an answer: who may only look sees no capabilities."""
    if asker_of(request).scope != "read":
        return value
    return _without_capabilities(msgspec.to_builtins(value))


def _without_capabilities(value: Any) -> Any:  # noqa: ANN401
    match value:
        case str():
            return _CAPABILITY.sub(HIDDEN, value)
        case dict():
            return {key: _without_capabilities(one) for key, one in value.items()}
        case list() | tuple():
            return [_without_capabilities(one) for one in value]
    return value
