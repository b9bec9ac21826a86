"""Which variables look secret: they go to the task and are shown to nobody."""

import re
from collections.abc import Mapping
from typing import Final

HIDDEN: Final = "(hidden)"
SEALED: Final = "sealed-value:"
"""A value that looked secret, sealed for its person (swarmnode.people.sealed_tasks)."""

_NAME: Final = re.compile(
    r"(^|_)(api)?(token|secret|passw(or)?d|passphrase|pwd|pass|key|apikey|credentials?|auth|cookie|"
    r"private|pat|dsn|bearer|signature|salt|jwt)s?(_|$|[0-9])",
    re.IGNORECASE,
)
_JOINED: Final = re.compile(
    r"(token|secret|passw(or)?d|passphrase|apikey|accesskey|privatekey|credential)", re.IGNORECASE
)
"""Also without underscores: PGPASSWORD, mySecret."""

_VALUE: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|^(gh[pousr]_|github_pat_|glpat-|sk-|hf_|xox[abps]-|AKIA|ASIA|"
    r"eyJ[A-Za-z0-9_-]+\.eyJ|(swarm|sealed):[a-z2-7]{100}|sealed-value:|swarm-(read|submit|admin)-)|://[^/@\s]*:[^/@\s]+@"
)
"""Forms of well-known services, JSON web tokens, keys, and addresses with a password."""


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable should be kept from screens and logs."""
    return bool(value) and bool(_NAME.search(name) or _JOINED.search(name) or _VALUE.search(value))


def masked(variables: Mapping[str, str]) -> dict[str, str]:
    """The same with what looks secret replaced."""
    return {
        name: HIDDEN if looks_secret(name, value) else value for name, value in variables.items()
    }
