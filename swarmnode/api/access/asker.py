"""Who asks the local API, as its connection or token proves it, and what they are not shown."""

import re
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from starlette.requests import Request

from storage.errors import CapabilityError
from storage.manifests.capability import parse_kept, text_of_cap
from swarmnode.errors import NotAllowedError, PersonLockedError
from swarmnode.limits import LAB_REASON_CHARS_MAX
from swarmnode.people.seals import Seals
from swarmnode.tasks.secrets.hidden import HIDDEN

KEY: Final = "swarm.asker"
"""Where the gatekeeper leaves it in the ASGI scope."""
_CAPABILITY: Final = re.compile(r"(swarm|sealed):[a-z2-7]{100,}", re.IGNORECASE)
_SEALED: Final = re.compile(r"sealed:[a-z2-7]{100,}")
LOCKED: Final = "(locked)"
"""In place of a capability that only its person's key opens."""


class Principal(msgspec.Struct, frozen=True):
    """A person of this machine and what they may do."""

    person: str = ""
    """Empty for the machine's owner."""
    scope: str = "admin"


OWNER: Final = Principal()


def asker_of(request: Request) -> Principal:
    """Who sent a request."""
    asker = request.scope.get(KEY, OWNER)
    assert isinstance(asker, Principal)
    return asker


def lab_reason(request: Request) -> str:
    """Why the lab's key is to act: only the machine's owner has it do so. NotAllowedError."""
    asker, reason = asker_of(request), request.query_params.get("reason", "")
    if asker.person or asker.scope != "admin":
        raise NotAllowedError("only the owner of this machine uses the key of the lab")
    if len(reason) > LAB_REASON_CHARS_MAX:
        raise msgspec.ValidationError(f"a reason has {LAB_REASON_CHARS_MAX} characters")
    return reason


def shown(request: Request, value: object, seals: Seals) -> object:
    """What this asker may see of an answer: who may only look sees no capabilities.

    Those of one of several people are opened with their key, while it is unlocked.
    """
    asker = asker_of(request)
    if asker.scope == "read":
        return _without_capabilities(msgspec.to_builtins(value))
    if not asker.person:
        return value
    if seals.has_key(asker.person) and not seals.is_unlocked(asker.person):
        # What ended since the node began is in its memory as it came: it is not told either.
        return _with_texts(msgspec.to_builtins(value), partial(_CAPABILITY.sub, LOCKED))
    opened = partial(_opened, seals, asker.person)
    return _with_texts(msgspec.to_builtins(value), partial(_SEALED.sub, opened))


def _without_capabilities(value: object) -> object:
    return _with_texts(value, partial(_CAPABILITY.sub, HIDDEN))


def _opened(seals: Seals, person: str, match: re.Match[str]) -> str:
    try:
        return text_of_cap(seals.open_cap(person, parse_kept(match.group())))
    except PersonLockedError:
        return LOCKED
    except CapabilityError:  # it only looks like one
        return match.group()


def _with_texts(value: object, change: Callable[[str], str]) -> object:
    match value:
        case str():
            return change(value)
        case dict():
            return {key: _with_texts(item, change) for key, item in value.items()}
        case list() | tuple():
            return [_with_texts(item, change) for item in value]
    return value
