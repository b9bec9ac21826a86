"""What of the network a task may talk to, in words: presets, hosts by name, or the internet.

A word is `none`, a preset (`pypi`), `HOST[:PORT]`, `*.HOST[:PORT]` for whatever lies below a name,
an address (IPv4, none that is private), or `internet`. A task asks in these words, and the owner of
a machine allows in them. What a name means is decided where it is resolved: see executor/network.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from swarmnode.limits import NET_WORD_CHARS_MAX, NET_WORDS_MAX

NONE: Final = "none"
INTERNET: Final = "internet"
PORTS: Final = (443, 80)
"""Of a host that is named without one."""

PRESETS: Final[Mapping[str, tuple[str, ...]]] = {
    # https://pip.pypa.io/en/stable/cli/pip_install: the index, and where its files lie
    "pypi": ("pypi.org", "files.pythonhosted.org"),
    # https://pytorch.org/get-started: its own index, and where the files of that lie
    "pytorch": ("download.pytorch.org", "download-r2.pytorch.org"),
    # https://huggingface.co/docs/hub/storage-backends: the hub, its CDNs and its chunk store (Xet)
    "hf": ("huggingface.co", "*.huggingface.co", "hf.co", "*.hf.co"),
    # https://docs.wandb.ai/support: the API; files of runs go to a bucket of theirs
    "wandb": ("wandb.ai", "*.wandb.ai", "storage.googleapis.com"),
    # https://api.github.com/meta: HTTPS only; large files (LFS) lie in a bucket of theirs
    "github": (
        "github.com", "api.github.com", "codeload.github.com", "*.githubusercontent.com",
        "github-cloud.s3.amazonaws.com",
    ),
}  # fmt: skip

MIRRORS: Final[Mapping[str, str]] = {"pypi": "pypi.mirror.swarm", "hf": "hf.mirror.swarm"}
"""Names, in a task's network only, at which its machine answers for a preset: see mirror."""

_BARE: Final = "A host without a dot in its name is written with its port, as {}:443"
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAME_CHARS_MAX: Final = 253
_FORMS: Final = f"{NONE}, {', '.join(PRESETS)}, HOST[:PORT], *.HOST[:PORT] or {INTERNET}"


def word(text: str) -> str:
    """A word as it is compared. Raises ValueError, which says what to write instead."""
    text = text.strip().lower()
    if text in (NONE, INTERNET, *PRESETS):
        return text
    if not 0 < len(text) <= NET_WORD_CHARS_MAX or "://" in text or "/" in text:
        raise ValueError(f"{text[:80]!r} is none of {_FORMS}")
    host, port = _apart(text)
    below = host.removeprefix("*.")
    if is_literal(below):
        _check_literal(below, is_whole=below == host)
    elif not is_name(below):
        raise ValueError(f"{text!r} is no host name: {_FORMS}")
    return f"{host}:{port}" if port else host


def owners_word(text: str) -> str:
    """A word in which an owner allows. Raises ValueError, also for what looks like a preset."""
    known = word(text)
    if near := _preset_meant(known, 0.75):
        raise ValueError(f"{known!r} is no preset: did you mean {near}? {_BARE.format(known)}")
    return known


def parse(texts: Iterable[str]) -> tuple[str, ...]:
    """What a task asks for, each word once; nothing for `none`. Raises ValueError.

    A name without a dot that is no preset is a misspelt one: no host of the internet has such.
    """
    words = tuple(dict.fromkeys(word(text) for text in texts))
    for text in words:
        if not _is_plain(text):
            near = _preset_meant(text, 0.6)
            hint = f"did you mean {near}?" if near else f"write {_FORMS}."
            raise ValueError(f"{text!r} is no preset: {hint} {_BARE.format(text)}")
    if len(words) > NET_WORDS_MAX:
        raise ValueError(f"{len(words)} hosts, limit {NET_WORDS_MAX}: use *.HOST, or {INTERNET}")
    if NONE in words and len(words) > 1:
        raise ValueError(f"{NONE} and others contradict each other: leave {NONE} out")
    return tuple(text for text in words if text != NONE)


def allows(words: Iterable[str], host: str, port: int) -> bool:
    """Whether somebody who may have these may talk to a host, by its name or literal address."""
    return any(
        text == INTERNET or (port in ports and matches(pattern, host))
        for text in words
        for pattern, ports in _endpoints(text)
    )


def beyond(allowed: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Of what is asked, what is not allowed.

    Both may come from peers: what is no word is not allowed, and allows nothing.
    """
    known = words_in(allowed) if asked else ()
    return tuple(text for text in asked if not (_is_word(text) and _covers(known, text)))


def has_mirror(words: Sequence[str], preset: str) -> bool:
    """Whether who may reach these may ask the mirror of a preset: all of it is theirs."""
    return preset in MIRRORS and not beyond(words, (preset,))


def words_in(told: Iterable[str]) -> tuple[str, ...]:
    """What of it are words, as `word` gives them."""
    return tuple(filter(_is_word, told))


def named(words: Sequence[str]) -> str:
    """A list of them for people."""
    return ", ".join(text for text in words if text != NONE) or "nothing"


def with_host(words: Sequence[str], host: str, port: int) -> str:
    """What `--net` would have to say to allow this host as well."""
    asked = host if port in PORTS else f"{host}:{port}"
    preset = next((name for name in PRESETS if allows([name], host, port)), asked)
    return ",".join([*words, preset])


def private_host(text: str) -> tuple[str, int]:
    """A private host as an owner names it, and its port; 0 for all of them. Raises ValueError."""
    import ipaddress  # here: the command line has no use for it

    host, port = text.strip().lower(), 0
    if host.count(":") == 1 or "]:" in host:
        host, _, given = host.rpartition(":")
        port = _port(given, text)
    host = host.removeprefix("[").removesuffix("]").removesuffix(".")
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError as exc:
        if not is_name(host.removeprefix("*.")) or is_literal(host):
            raise ValueError(f"{text!r} is neither a host name nor an address") from exc
    return host, port


def is_name(text: str) -> bool:
    """Whether it is a host name as DNS has it; others are written in their xn-- form."""
    return len(text) <= _NAME_CHARS_MAX and all(map(_LABEL.fullmatch, text.split(".")))


def is_literal(text: str) -> bool:
    """Whether resolvers take it for an address, also the odd forms (0x7f.1, 2130706433)."""
    return bool(_NUMBER.fullmatch(text.rsplit(".", 1)[-1])) or ":" in text


def _is_plain(text: str) -> bool:
    """Not a bare name that is no preset."""
    return text in (NONE, INTERNET, *PRESETS) or "." in text or ":" in text


def _preset_meant(text: str, alike: float) -> str:
    """The preset that a bare name is nearly; empty for none."""
    import difflib  # here: few need it

    if _is_plain(text):
        return ""
    known = (NONE, INTERNET, *PRESETS)
    swapped = [name for name in known if sorted(name) == sorted(text)]  # which difflib thinks far
    near = swapped or difflib.get_close_matches(text, known, n=1, cutoff=alike)
    return near[0] if near else ""


def _is_word(text: str) -> bool:
    try:
        return word(text) == text
    except ValueError:
        return False


def _apart(text: str) -> tuple[str, int]:
    """Host and port; 0 for those of any host."""
    host, colon, given = text.rpartition(":")
    if not colon:
        return text.removesuffix("."), 0
    if ":" in host or host.startswith("["):
        raise ValueError(f"{text!r}: IPv6 is not carried; name the host")
    return host.removesuffix("."), _port(given, text)


def _port(given: str, text: str) -> int:
    if not given.isascii() or not given.isdigit() or len(given) > 5 or not 0 < int(given) < 65536:
        raise ValueError(f"{text!r}: {given!r} is no port")
    return int(given)


def _check_literal(text: str, *, is_whole: bool) -> None:
    import ipaddress  # here: the command line has no use for it

    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is neither a host name nor an IPv4 address") from exc
    if not is_whole:
        raise ValueError(f"nothing lies below the address {text}")
    if not address.is_global or address.is_multicast:
        raise ValueError(
            f"{text} is a private address: no task asks for one; a machine's owner may let tasks "
            "reach a private host by its name (compute.net and compute.net_private)"
        )


def _endpoints(text: str) -> Iterable[tuple[str, tuple[int, ...]]]:
    """Patterns of hosts, and ports, that a word stands for."""
    if text == NONE:
        return ()
    if text in PRESETS:
        return [(host, PORTS) for host in PRESETS[text]]
    host, port = _apart(text)
    return [(host, (port,) if port else PORTS)]


def matches(pattern: str, host: str) -> bool:
    """Whether a host is the one meant, or one of those below it."""
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _covers(allowed: Sequence[str], text: str) -> bool:
    if text == INTERNET or INTERNET in allowed:
        return INTERNET in allowed
    return all(allows(allowed, host, port) for host, ports in _endpoints(text) for port in ports)
