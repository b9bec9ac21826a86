"""What the hub says of a file, and what we say of it. Decides only.

huggingface_hub wants the commit, an ETag that names the content, and the size; where the answer led
elsewhere, or offered the store of chunks (Xet), it would go there itself and nothing would be kept.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from p2p.wire.codec import Record
from swarmnode import reach
from swarmnode.mirror.rules import digest
from swarmnode.mirror.rules.digest import FileDigest

HUB: Final = "https://huggingface.co"
Headers = Sequence[tuple[str, str]]
_COMMIT: Final = re.compile("[0-9a-f]{40,64}")
_SIZE: Final = re.compile("[0-9]{1,15}")
_PASSED: Final = ("content-disposition", "content-type")
_NOT_PASSED: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "set-cookie", "strict-transport-security", "alt-svc",
        "content-length", "host", "expect", "accept-encoding", "cookie", "proxy-authorization",
    }
)  # fmt: skip
"""Of one connection (RFC 9110, 7.6.1), or of a host that the program does not talk to."""


class HubFile(Record, frozen=True):
    """A file at a revision, as the hub says."""

    commit: str
    etag: str
    """Without quotes: of the content, which a client names its own copy by."""
    size: int
    passed: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> FileDigest | None:
        """What its bytes are held to; None where the hub does not say."""
        return digest.of_etag(self.etag, self.size)

    def headers(self) -> list[tuple[str, str]]:
        """Ours, but for the length of what is sent."""
        return [
            *self.passed,
            ("etag", f'"{self.etag}"'),
            ("x-linked-etag", f'"{self.etag}"'),
            ("x-linked-size", str(self.size)),
            ("x-repo-commit", self.commit),
            ("accept-ranges", "bytes"),
        ]


def file_of(answers: Sequence[Mapping[str, str]]) -> HubFile | None:
    """By the headers of each answer on the way, the first first; None where they say too little."""
    commit = _first(answers, "x-repo-commit")
    size = _first(answers, "x-linked-size") or answers[-1].get("content-length", "")
    etag = _first(answers, "x-linked-etag") or answers[-1].get("etag", "")
    bare = etag.strip().removeprefix("W/").strip('"')
    if not _COMMIT.fullmatch(commit) or not _SIZE.fullmatch(size):
        return None
    named = digest.of_etag(bare, int(size))
    if named is None:
        return None
    passed = tuple((name, answers[-1][name]) for name in _PASSED if name in answers[-1])
    return HubFile(commit, named.hexadecimal, int(size), passed)


def _first(answers: Sequence[Mapping[str, str]], name: str) -> str:
    return next((one[name] for one in answers if one.get(name)), "")


def passed_up(headers: Headers) -> list[tuple[str, str]]:
    """What of a program's request goes on to the hub."""
    kept = [(name, value) for name, value in headers if name not in _NOT_PASSED]
    return [*kept, ("accept-encoding", "identity")]


def passed_down(headers: Headers) -> list[tuple[str, str]]:
    """What of the hub's answer goes on to the program: links to the hub lead to the mirror."""
    mirror = f"http://{reach.MIRRORS['hf']}"
    return [
        (name, value.replace(HUB, mirror) if name in ("location", "link") else value)
        for name, value in headers
        if name not in _NOT_PASSED
    ]
