"""Bearer tokens for the API on TCP: the file holds their hashes, one line each.

    SCOPE SHA256-HEX [person=WHOSE] NAME

Whoever reads the file cannot use a token; whoever made one sees it once. A running node sees
every change of the file at once.
"""

import hashlib
import hmac
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from p2p.errors import IdentityError
from p2p.identity.private_files import read_private_file, replace_private_file
from swarmnode.api.access.asker import Principal
from swarmnode.api.limits import API_TOKENS_MAX, API_TOKENS_PER_PERSON_MAX
from swarmnode.errors import ConfigError, NotAllowedError, TokenUnknownError

TOKEN_SCOPES: Final = ("read", "submit", "admin")
ID_CHARS: Final = 12
"""Of the hash, to name a token by."""
_TOKEN_BYTES: Final = 32
_PERSON: Final = "person="

log = logging.getLogger("swarm.api")


class Granted(msgspec.Struct, frozen=True):
    """One line of the file."""

    digest: str
    scope: str
    person: str
    """Whose it is; empty for the machine's owner."""
    name: str

    @property
    def line(self) -> str:
        """As it stands in the file."""
        return f"{self.scope} {self.digest} {_PERSON}{self.person} {self.name}".rstrip() + "\n"


def token_file(configured: str, state: Path) -> Path:
    """Where the tokens are: what `api.token_file` says, else a file beside the node's keys."""
    return Path(configured) if configured else state / "api-tokens"


def read_tokens(file: Path) -> Mapping[str, str]:
    """Hash of each token to its scope. Raises ConfigError naming file, line and remedy."""
    if not file.exists():
        raise ConfigError(
            f"api.tcp is set, but nobody holds a token ({file}): `swarmnode api token` makes one"
        )
    return {grant.digest: grant.scope for grant in read_granted(file)}


def read_granted(file: Path) -> list[Granted]:
    """Every token of the file, in order. Raises ConfigError naming file, line and remedy."""
    if not file.exists():
        return []
    try:
        lines = read_private_file(file).decode(errors="replace").splitlines()
    except IdentityError as exc:
        raise ConfigError(str(exc)) from exc
    granted: list[Granted] = []
    for number, line in enumerate(lines, 1):
        if words := line.partition("#")[0].split():
            granted.append(_granted_by(words, f"{file}:{number}"))
    return granted


def _granted_by(words: Sequence[str], where: str) -> Granted:
    """What a line says. Raises ConfigError."""
    if len(words) < 2 or words[0] not in TOKEN_SCOPES or not _is_hash(words[1]):
        raise ConfigError(
            f"{where}: not `SCOPE SHA256 NAME`: remove the line; `swarmnode api token` makes one"
        )
    person, rest = "", words[2:]
    if rest and rest[0].startswith(_PERSON):
        person, rest = rest[0].removeprefix(_PERSON), rest[1:]
    return Granted(words[1], words[0], person, " ".join(rest))


def add_token(
    file: Path, scope: str, name: str, entropy: Callable[[int], bytes], person: str = ""
) -> str:
    """Make a token of that scope, write its hash down (0600), return it.

    Raises NotAllowedError, ConfigError, IdentityError (file or folder are open to others).
    """
    _check_room(file, person)
    token = f"swarm-{scope}-{entropy(_TOKEN_BYTES).hex()}"
    before = read_private_file(file) if file.exists() else b""
    shown = "".join(char for char in name if char.isprintable()).replace("#", "")[:64]
    made = Granted(hash_of(token), scope, person, shown)
    replace_private_file(file, before + made.line.encode())
    return token


def _check_room(file: Path, person: str) -> None:
    there, most = read_granted(file), API_TOKENS_PER_PERSON_MAX
    if person and sum(grant.person == person for grant in there) >= most:
        raise NotAllowedError(f"{person} has {most} tokens already: end some")
    if len(there) >= API_TOKENS_MAX:
        raise ConfigError(f"{file} holds {API_TOKENS_MAX} tokens already: remove some lines")


class TokenBook:
    """The tokens of a running node: the file as it is at each moment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._granted: list[Granted] = []

    def asker(self, token: str) -> Principal | None:
        """Who holds that token, and what it allows."""
        digest, holder = hash_of(token), None
        for grant in self._now():
            if hmac.compare_digest(grant.digest, digest):
                holder = Principal(grant.person, grant.scope)
        return holder

    def of(self, person: str) -> Sequence[Granted]:
        """The tokens of a person."""
        return [grant for grant in self._now() if grant.person == person]

    def make(self, scope: str, name: str, person: str) -> str:
        """A new token. Raises ConfigError, IdentityError."""
        return add_token(self._file, scope, name, os.urandom, person)

    def remove(self, which: str, person: str) -> None:
        """End a person's token, by the beginning of its id or its name.

        Raises TokenUnknownError, ConfigError, IdentityError.
        """
        own = self.of(person)
        going = [grant for grant in own if which in (grant.digest[:ID_CHARS], grant.name) and which]
        if len(going) != 1:
            words = f"{len(going)} tokens are" if going else "no token of yours is"
            raise TokenUnknownError(f"{words} called {which!r}: see `swarmnode token ls`")
        left = [grant.line for grant in read_granted(self._file) if grant.digest != going[0].digest]
        replace_private_file(self._file, "".join(left).encode())

    def end_all(self, person: str) -> None:
        """End every token of a person. Raises ConfigError, IdentityError."""
        if self.of(person):
            left = [grant.line for grant in read_granted(self._file) if grant.person != person]
            replace_private_file(self._file, "".join(left).encode())

    def _now(self) -> list[Granted]:
        """A file that cannot be read any more grants nothing."""
        try:
            stat = self._file.stat()
        except OSError:
            self._seen, self._granted = None, []
            return self._granted
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen != self._seen:
            try:
                self._granted = read_granted(self._file)
            except ConfigError as exc:
                log.warning("no token is accepted: %s", exc)
                self._granted = []
            self._seen = seen
        return self._granted


NO_TOKENS: Final = TokenBook(Path(os.devnull))
"""Where there is no file for them."""


class FixedTokens:
    """Hash to scope, as given."""

    def __init__(self, scopes: Mapping[str, str]) -> None:
        self._scopes = scopes

    def asker(self, token: str) -> Principal | None:
        """Who holds that token, and what it allows."""
        digest, holder = hash_of(token), None
        for known, scope in self._scopes.items():
            if hmac.compare_digest(known, digest):
                holder = Principal(scope=scope)
        return holder


def hash_of(token: str) -> str:
    """What the file and the gatekeeper know of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(char in "0123456789abcdef" for char in text)
