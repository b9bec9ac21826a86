"""This person's logins to registries, as `docker login` keeps them. Reads a file.

Only what the file itself has is used: programs that it names (credHelpers, credsStore) are not run.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.errors import ProjectError

_FILE_BYTES_MAX: Final = 1 << 20
_HUB: Final = "docker.io"
_HUB_KEYS: Final = ("index.docker.io", "docker.io", "registry-1.docker.io")


class _Entry(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _DockerConfig(msgspec.Struct, frozen=True):
    auths: Mapping[str, _Entry] | None = None
    cred_helpers: Mapping[str, str] | None = msgspec.field(default=None, name="credHelpers")
    creds_store: str = msgspec.field(default="", name="credsStore")


class Login:
    """What a registry is told of this person; not shown in any text."""

    def __init__(self, header: str = "", note: str = "", identity_token: str = "") -> None:
        self.header = header
        """Of HTTP, empty for nobody in particular."""
        self.identity_token = identity_token
        """For who gives a registry's tokens, in place of a password: a refresh token of OAuth 2."""
        self.note = note
        """Why a login that there is cannot be used."""


def login_for(host: str, environ: Mapping[str, str], home: Path) -> Login:
    """For a registry. Raises ProjectError for a file that cannot be read."""
    folder = environ.get("DOCKER_CONFIG", "")
    file = (Path(folder) if folder else home / ".docker") / "config.json"
    config = _read(file)
    keys = _HUB_KEYS if host == _HUB else (host,)
    helpers = [one for key, one in (config.cred_helpers or {}).items() if _host_in(key) in keys]
    entries = [one for key, one in (config.auths or {}).items() if _host_in(key) in keys]
    for entry in entries:
        if entry.identitytoken:  # beside it may stand a user who is nobody (az acr login)
            return Login(note=_over(file, host), identity_token=entry.identitytoken)
        if header := _basic(entry, file):
            return Login(header)
    helper = helpers[0] if helpers else config.creds_store if entries else ""
    if helper:
        return Login(
            note=f"{file} leaves the login of {host} to docker-credential-{helper}, which is not "
            "run here: `auths` must have it (docker login with another DOCKER_CONFIG)"
        )
    return Login()


def _over(file: Path, host: str) -> str:
    return (
        f"the identity token of {host} in {file} may be over, or not be taken: log in anew with "
        f"what wrote it there (az acr login, docker login {host})"
    )


def _read(file: Path) -> _DockerConfig:
    try:
        with open(file, "rb") as opened:
            data = opened.read(_FILE_BYTES_MAX)
    except FileNotFoundError:
        return _DockerConfig()
    except OSError as error:
        raise ProjectError(f"{file} cannot be read: {error.strerror}") from error
    try:
        return msgspec.json.decode(data or b"{}", type=_DockerConfig)
    except (msgspec.MsgspecError, RecursionError) as error:  # its words may show what is in it
        raise ProjectError(f"{file} is no configuration of docker's") from error


def _host_in(key: str) -> str:
    """Old versions of docker wrote addresses: https://index.docker.io/v1/."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _basic(entry: _Entry, file: Path) -> str:
    told = f"{entry.username}:{entry.password}".encode()
    if entry.auth:
        try:
            told = base64.b64decode(entry.auth, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ProjectError(f"{file} has a login that is not in base64") from error
    user, _, password = told.rstrip(b"\0").partition(b":")
    if not user or not password:
        return ""
    return "Basic " + base64.b64encode(user + b":" + password).decode()


def login_here(host: str) -> Login:
    """Of whoever runs this."""
    return login_for(host, os.environ, Path(os.path.expanduser("~")))
