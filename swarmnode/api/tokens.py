"""Bearer tokens for the API on TCP: the file holds their hashes, one line each.

    SCOPE SHA256-HEX NAME

Whoever reads the file cannot use a token; whoever made one sees it once.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from p2p.errors import IdentityError
from p2p.identity.private_files import read_private_file, replace_private_file
from swarmnode.errors import ConfigError

TOKEN_SCOPES: Final = ("read", "submit", "admin")
TOKENS_MAX: Final = 256
"""Tokens in one file: each request is compared with all of them."""
_TOKEN_BYTES: Final = 32


def token_file(configured: str, state: Path) -> Path:
    """Where the tokens are: what `api.token_file` says, else a file beside the node's keys."""
    return Path(configured) if configured else state / "api-tokens"


def read_tokens(file: Path) -> Mapping[str, str]:
    """Hash of each token to its scope. Raises ConfigError naming file, line and remedy."""
    remedy = "`swarmnode api token` makes one"
    if not file.exists():
        raise ConfigError(f"api.tcp is set, but nobody holds a token ({file}): {remedy}")
    try:
        lines = read_private_file(file).decode(errors="replace").splitlines()
    except IdentityError as exc:
        raise ConfigError(str(exc)) from exc
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 2 or words[0] not in TOKEN_SCOPES or not _is_hash(words[1]):
            raise ConfigError(
                f"{file}:{number}: not `SCOPE SHA256 NAME`: remove the line; {remedy}"
            )
        found[words[1]] = words[0]
    return found


def add_token(file: Path, scope: str, name: str, entropy: Callable[[int], bytes]) -> str:
    """Make a token of that scope, write its hash down (0600), return it.

    Raises ConfigError, IdentityError (the file or its folder is open to others).
    """
    known = read_tokens(file) if file.exists() else {}
    if len(known) >= TOKENS_MAX:
        raise ConfigError(f"{file} holds {TOKENS_MAX} tokens already: remove some lines")
    token = f"swarm-{scope}-{entropy(_TOKEN_BYTES).hex()}"
    before = read_private_file(file) if file.exists() else b""
    shown = "".join(char for char in name if char.isprintable())[:64]
    line = f"{scope} {hash_of(token)} {shown}".rstrip() + "\n"
    replace_private_file(file, before + line.encode())
    return token


def hash_of(token: str) -> str:
    """What the file and the gatekeeper know of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(char in "0123456789abcdef" for char in text)
