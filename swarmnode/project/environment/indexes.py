"""Where packages come from, as this person's settings say: pip's, in the words of uv.

uv reads none of pip's settings. A variable of uv's own always wins. Where pip takes the best of all
indexes, uv takes the first index that has the name, which is safer, and stays so.
"""

import configparser
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

_JOINED: Final = {
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
}
_PLAIN: Final = {
    "index-url": "UV_DEFAULT_INDEX",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "no-index": "UV_NO_INDEX",
}
_OURS: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT")
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_PLACES: Final = (("UV_INDEX", " "), ("UV_FIND_LINKS", ","), ("UV_DEFAULT_INDEX", " "))
_FOR_BUILDERS: Final = (
    "UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_NO_INDEX", "UV_HTTP_TIMEOUT",
    "UV_SYSTEM_CERTS", "UV_INDEX_STRATEGY", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
_LISTS: Final = {"UV_DEFAULT_INDEX": " ", "UV_INDEX": " ", "UV_FIND_LINKS": ","}
RESOLVING: Final = ("UV_CONSTRAINT", *_PROXIES, *map(str.lower, _PROXIES))
"""What counts besides while a lock is made: later it has decided."""
PYPI: Final = "https://pypi.org/simple"
PUBLIC: Final = frozenset((
    "pypi.org", "files.pythonhosted.org", "download.pytorch.org", "data.pyg.org", "test.pypi.org",
))  # fmt: skip
"""Hosts that serve everybody the same."""


class Indexes(msgspec.Struct, frozen=True):
    """The variables that uv is to see."""

    variables: Mapping[str, str]

    def places(self) -> list[str]:
        """Every index and folder of files, as an address or a path."""
        found = []
        for key, apart in _PLACES:
            found += [part for part in self.variables.get(key, "").split(apart) if part]
        return found

    def looked_in(self) -> list[str]:
        """Those, and the default index where nothing else is it: folders come on top of it."""
        is_named = self.variables.get("UV_DEFAULT_INDEX") or self.variables.get("UV_NO_INDEX")
        return self.places() if is_named else [*self.places(), PYPI]

    def folders(self) -> list[Path]:
        """Those of them that are folders of this machine, and files that go with them."""
        names = [place.removeprefix("file://") for place in self.places()]
        names += self.variables.get("UV_CONSTRAINT", "").split()
        return sorted({Path(name) for name in names if name.startswith("/")})

    def for_builders(self, *more: str) -> dict[str, str]:
        """Those that code of packages may see, `more` among them: none with a password in it."""
        kept = {key: self.variables.get(key, "") for key in (*_FOR_BUILDERS, *more)}
        for key, apart in _LISTS.items():
            places = [place for place in kept[key].split(apart) if not _has_secret(place)]
            kept[key] = apart.join(filter(None, places))
        return {key: value for key, value in kept.items() if value and not _has_secret(value)}

    def is_private(self) -> bool:
        """Whether some place is one that not everybody can read."""
        return any(is_private(place) for place in self.places())


def _has_secret(place: str) -> bool:
    """Whether an address, which may be given as NAME=ADDRESS, has a user or a password in it."""
    return "@" in place.partition("://")[2].partition("/")[0]


def is_private(place: str) -> bool:
    """A folder is this machine's own, and a host that is not known may ask who is there."""
    parts = urlsplit(place)
    return parts.scheme not in ("http", "https") or (parts.hostname or "") not in PUBLIC


def pip_files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Files with pip's settings; what a later one says wins."""
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    files = [Path(folder) / "pip/pip.conf" for folder in reversed(shared.split(":"))]
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
    files += [Path("/etc/pip.conf"), home / ".pip/pip.conf", own]
    if inside := environ.get("VIRTUAL_ENV"):
        files.append(Path(inside) / "pip.conf")
    if named := environ.get("PIP_CONFIG_FILE"):
        files = [] if named == os.devnull else [*files, Path(named)]
    return files


def pip_settings(texts: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """pip's options by name: of every file [global], then [install], then PIP_* variables."""
    found: dict[str, str] = {}
    for section in ("global", "install"):
        for text in texts:
            found.update(_section(text, section))
    for key, value in environ.items():
        if key.startswith("PIP_") and value:
            found[key.removeprefix("PIP_").lower().replace("_", "-")] = value
    return found


def _section(text: str, name: str) -> Iterator[tuple[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return  # pip itself stops there; uv, without pip, does not
    if parser.has_section(name):
        for key, value in parser.items(name):
            yield key.replace("_", "-"), value


def for_uv(pip: Mapping[str, str], environ: Mapping[str, str]) -> Indexes:
    """The variables of uv that mean the same; local places that are not there are left out."""
    found = {
        key: value
        for key, value in environ.items()
        if key.startswith("UV_") or key in _OURS or key.upper() in _PROXIES
    }
    if "UV_INDEX_URL" in found:  # its older names
        found.setdefault("UV_DEFAULT_INDEX", found["UV_INDEX_URL"])
    if "UV_EXTRA_INDEX_URL" in found:
        found.setdefault("UV_INDEX", found["UV_EXTRA_INDEX_URL"])
    for key, value in pip.items():
        if key in _JOINED:
            name, apart = _JOINED[key]
            found.setdefault(name, apart.join(value.split()))
        elif key in _PLAIN:
            found.setdefault(_PLAIN[key], value)
    _drop_missing(found)
    if "SSL_CERT_FILE" not in found and "SSL_CERT_DIR" not in found:
        found.setdefault("UV_SYSTEM_CERTS", "1")
    return Indexes(found)


def _drop_missing(found: dict[str, str]) -> None:
    """pip passes over a local index that is not there, uv stops at it, or says nothing at all."""
    for key, apart in (("UV_INDEX", " "), ("UV_FIND_LINKS", ","), ("UV_CONSTRAINT", " ")):
        if key in found:
            kept = [part for part in found[key].split(apart) if not _is_missing(part)]
            found[key] = apart.join(kept)
            if not kept:
                del found[key]
    for key in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if key in found and not os.path.exists(found[key]):
            del found[key]
    if "SSL_CERT_FILE" in found:
        found.pop("SSL_CERT_DIR", None)


def _is_missing(place: str) -> bool:
    path = place.removeprefix("file://")
    return path.startswith("/") and not os.path.exists(path)


def indexes_here(environ: Mapping[str, str], home: Path) -> Indexes:
    """As the settings of this machine and person are now. Blocking."""
    texts = []
    for file in pip_files(environ, home):
        try:
            texts.append(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # most of them are not there
            continue
    return for_uv(pip_settings(texts, environ), environ)
