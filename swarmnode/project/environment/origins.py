"""Where the packages of a lock come from: indexes that a project names itself, and their hosts.

A build looks where its own machine's settings say. What the project names besides (the index of
PyTorch, in `[[tool.uv.index]]`) goes along in the lock, and the build asks for these hosts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec

from swarmnode import reach
from swarmnode.project.environment.indexes import PYPI, Indexes, is_private

_FROM: Final = re.compile(r"^\s*# from (\S+)", re.MULTILINE)
_DIRECT: Final = re.compile(r"^[\w.\[\],-]+\s*@\s*(\S+)", re.MULTILINE)
_WANTED: Final = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", re.MULTILINE)
_BEGINS: Final = "# from"
_PRIVATE, _ONLINE, _BYTES, _NET = "private", "online", "bytes", "net"


class LockOrigins(msgspec.Struct, frozen=True):
    """What is to be known of them when the lock is used again."""

    is_private: bool = False
    """Some may come from places that not everybody can read."""
    is_online: bool = False
    """Some are had over the network only."""
    wheel_bytes: int = 0
    """Of all, packed; 0: not known."""
    net: tuple[str, ...] = ()
    """What a build has to reach besides the public index, in words of `--net`."""

    def line(self) -> str:
        """The first of a lock that is kept."""
        words = [word for word, holds in self._marks() if holds]
        words += [f"{_BYTES}={self.wheel_bytes}"] if self.wheel_bytes else []
        words += [f"{_NET}={','.join(self.net)}"] if self.net else []
        return f"{_BEGINS} {' '.join(words)}\n"

    def _marks(self) -> tuple[tuple[str, bool], ...]:
        return (_PRIVATE, self.is_private), (_ONLINE, self.is_online)

    @classmethod
    def read(cls, line: str) -> Self | None:
        """None for anything else."""
        if not line.startswith(_BEGINS):
            return None
        words = line.removeprefix(_BEGINS).split()
        values = dict(word.partition("=")[::2] for word in words)
        size = values.get(_BYTES, "")
        return cls(
            _PRIVATE in words,
            _ONLINE in words,
            int(size) if size.isdecimal() and len(size) <= 15 else 0,
            tuple(filter(None, values.get(_NET, "").split(","))),
        )


class NamedPlaces(msgspec.Struct, frozen=True):
    """What a project's own files say of it."""

    places: tuple[str, ...] = ()
    """Indexes, and files that stand in none."""
    files: tuple[str, ...] = ()
    """Addresses of what comes from these indexes, which may lie at other hosts."""


def named_in(table: Mapping[str, Any], said: str) -> NamedPlaces:
    """By a uv.lock or pylock.toml, of the packages that are wanted."""
    wanted = {(name.lower(), version) for name, version in _WANTED.findall(said)}
    places, files = list[str](), list[str]()
    for package in (*(table.get("package") or ()), *(table.get("packages") or ())):
        if wanted and (package.get("name"), package.get("version")) not in wanted:
            continue
        source = package.get("source")
        place = source.get("registry", "") if isinstance(source, dict) else package.get("index", "")
        urls = list(_urls(package))
        if place:
            places.append(str(place))
            files += urls
        elif not isinstance(source, dict):  # pip names no index
            places += urls
    return NamedPlaces(tuple(dict.fromkeys(places)), tuple(files))


def _urls(package: Mapping[str, Any]) -> Iterator[str]:
    files = (*(package.get("wheels") or ()), *filter(None, [package.get("sdist")]))
    return (str(file["url"]) for file in files if file.get("url"))


def named_by_uv(said: str) -> NamedPlaces:
    """By what it resolved; nothing where it does not say so of each package."""
    told = _FROM.findall(said)
    is_whole = len(told) == len(re.findall(r"^[A-Za-z0-9]", said, re.MULTILINE))
    return NamedPlaces(tuple(dict.fromkeys(told)) if is_whole else ())


def origins_of(named: NamedPlaces, said: str, indexes: Indexes, wheel_bytes: int) -> LockOrigins:
    """In doubt they come from anywhere that the settings here name."""
    direct = _DIRECT.findall(said)
    places = [*(named.places or indexes.looked_in()), *direct]
    own = own_indexes(named, indexes)
    reached = [*direct, *own, *(named.files if own else ())]
    return LockOrigins(
        any(map(is_private, places)),
        any("://" in one and "file:" not in one for one in places),
        wheel_bytes,
        tuple(dict.fromkeys(filter(None, map(_net_word, reached)))),
    )


def own_indexes(named: NamedPlaces, indexes: Indexes) -> list[str]:
    """Those that the project itself names, and no settings: a build would not look there."""
    known = {place.partition("://")[2].rstrip("/") for place in (*indexes.places(), PYPI)}
    return [
        place
        for place in named.places
        if _is_online(place) and place.partition("://")[2].rstrip("/") not in known
    ]


def lines_for(places: Sequence[str]) -> str:
    """As a requirements file has them."""
    return "".join(f"--extra-index-url {place}\n" for place in places)


def _is_online(place: str) -> bool:
    """An index over the network, without a name or password in its address."""
    parts = urlsplit(place)
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    is_file = parts.path.endswith((".whl", ".gz", ".zip", ".tgz", ".bz2"))
    return is_web and "@" not in parts.netloc and not is_file


def _net_word(place: str) -> str:
    """What `--net` has to say for an address; empty where a build reaches it, or nobody could."""
    parts = urlsplit(place)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return ""
    port = parts.port or reach.PORTS[0]
    if reach.allows(("pypi",), parts.hostname, port):
        return ""
    return reach.with_host((), parts.hostname, port)
