"""Names of images in registries, as podman, skopeo and apptainer write them. Pure."""

import re
from typing import Final

import msgspec

from swarmnode.errors import ProjectError

SCHEME: Final = "docker://"
_HUB: Final = "docker.io"
_HUB_AT: Final = "registry-1.docker.io"
_HUB_NAMES: Final = (_HUB, "index.docker.io", _HUB_AT)
_OFFICIAL: Final = "library/"
_LATEST: Final = "latest"
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_NAME_CHARS_MAX: Final = 255
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|\[::1\]")


class Reference(msgspec.Struct, frozen=True):
    """One image of a registry, or one of its images for several machines."""

    host: str
    """Of the registry, with its port."""
    name: str
    tag: str
    """Empty where a digest says which."""
    digest: str = ""
    """Of a manifest or index."""

    def __str__(self) -> str:
        """As it may be written."""
        which = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{SCHEME}{self.host}/{self.name}{which}"

    @property
    def asked(self) -> str:
        """What the registry is asked for."""
        return self.digest or self.tag

    @property
    def place(self) -> str:
        """Where the registry is: that of docker.io has another name."""
        return _HUB_AT if self.host == _HUB else self.host

    @property
    def is_loopback(self) -> bool:
        """It is on this machine: then it may be a plain one, as for docker."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether such an address, perhaps with a port, is of this machine."""
    return bool(_LOOPBACK.fullmatch(re.sub(r":[0-9]+$", "", host)))


def is_reference(wish: str) -> bool:
    """Whether `--env` means an image in a registry; a path is never meant: `./docker:` is one."""
    return wish.startswith(SCHEME)


def reference_of(wish: str) -> Reference:
    """Raises ProjectError with what is wrong with it."""
    rest, _, digest = wish.removeprefix(SCHEME).partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise _wrong(
            wish, "behind @ stand sha256: and 64 digits; who you are is read from docker's logins"
        )
    if "#" in rest:
        raise _wrong(wish, "write / between the registry and the name, not #")
    host, name = _split(rest)
    name, colon, tag = name.partition(":")
    if host == _HUB and "/" not in name:
        name = _OFFICIAL + name
    _check(wish, host, name, tag if colon else _LATEST)
    return Reference(host, name, "" if digest else tag or _LATEST, digest)


def _split(rest: str) -> tuple[str, str]:
    """What docker takes for a host: it has a dot or a port, or is localhost."""
    first, slash, name = rest.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return (_HUB if first in _HUB_NAMES else first), name
    return _HUB, rest


def _check(wish: str, host: str, name: str, tag: str) -> None:
    if not _HOST.fullmatch(host):
        raise _wrong(wish, f"{host!r} is no host of a registry")
    if not _TAG.fullmatch(tag):
        raise _wrong(wish, f"{tag!r} is no tag")
    if not _NAME.fullmatch(name) or len(name) > _NAME_CHARS_MAX:
        small = ": names are in small letters" if _NAME.fullmatch(name.lower()) else ""
        raise _wrong(wish, f"{name!r} is no name of an image{small}")


def _wrong(wish: str, why: str) -> ProjectError:
    return ProjectError(
        f"--env {wish}: {why} (docker://HOST[:PORT]/NAME[:TAG], docker://HOST/NAME@sha256:..., "
        "docker://NAME for docker.io)"
    )
