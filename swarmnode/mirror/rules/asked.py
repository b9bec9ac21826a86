"""What a request to a mirror asks for. Decides only.

    pypi.mirror.swarm   /simple/PROJECT/                      an index page
                        /files/SHA256/METADATA/HOST/PATH      a file that a page named; with
                                                              `.metadata` behind it what that is
    hf.mirror.swarm     [/datasets|/spaces]/OWNER/NAME/resolve/REVISION/PATH
                        anything else is passed on

The digests stand in the address of a file, so that no page has to be remembered. METADATA is `-`
where there is none. There is no query, because installers append `.metadata` to the whole address.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

import msgspec

from swarmnode import reach
from swarmnode.mirror.errors import AskRefusedError
from swarmnode.mirror.rules import digest
from swarmnode.mirror.rules.digest import FileDigest

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,212}[A-Za-z0-9])?")
"""Of a project (https://packaging.python.org/en/latest/specifications/name-normalization)."""
_PATH: Final = re.compile(r"[A-Za-z0-9._/+~!@%=,-]{1,1000}")
_COMMIT: Final = re.compile("[0-9a-f]{40}")
_KINDS: Final = ("datasets", "spaces")
_METADATA: Final = ".metadata"
PYPI_PORT: Final = 443


class IndexAsk(msgspec.Struct, frozen=True):
    """The index page of a project, by its normalised name."""

    project: str


class IndexFileAsk(msgspec.Struct, frozen=True):
    """A file that an index page named."""

    digest: FileDigest
    host: str
    path: str
    """Begins with `/`."""


class HubFileAsk(msgspec.Struct, frozen=True):
    """A file of a repository at some revision."""

    target: str
    """As it was asked for: path and query."""
    is_pinned: bool
    """The revision is a commit: what it names never changes."""
    revision: str = ""

    def at(self, commit: str) -> str:
        """The target of the same file at that commit."""
        path, mark, query = self.target.partition("?")
        before, _, after = path.partition(f"/resolve/{self.revision}/")
        return f"{before}/resolve/{commit}/{after}{mark}{query}"


class HubAsk(msgspec.Struct, frozen=True):
    """Anything else of the hub, to be passed on."""

    target: str


def pypi(target: str) -> IndexAsk | IndexFileAsk:
    """Raises AskRefusedError."""
    words = target.partition("?")[0].split("/")[1:]
    if words[:1] == ["simple"] and (len(words) == 2 or words[2:] == [""]) and words[1]:
        return IndexAsk(_project(words[1]))
    if words[:1] == ["files"] and len(words) > 4:
        return _index_file(words[1:])
    raise AskRefusedError(
        "this mirror has /simple/PROJECT/ and the files that it names; it lists no projects"
    )


def _project(word: str) -> str:
    if not _NAME.fullmatch(word):
        raise AskRefusedError(f"{word[:80]!r} is no name of a project")
    return re.sub(r"[-_.]+", "-", word).lower()


def _index_file(words: Sequence[str]) -> IndexFileAsk:
    whole, metadata, host, *rest = words
    path = "/".join(rest)
    named = digest.sha256_of(metadata if path.endswith(_METADATA) else whole)
    if named is None:
        raise AskRefusedError("the index page names no such file")
    if not _PATH.fullmatch(path) or not _is_straight(path):
        raise AskRefusedError("that is no path of a file")
    if not reach.is_name(host) or not reach.allows(("pypi",), host, PYPI_PORT):
        raise AskRefusedError(f"{host[:80]!r} is no host of this index")
    return IndexFileAsk(named, host, f"/{path}")


def hub(target: str) -> HubFileAsk | HubAsk:
    """Raises AskRefusedError."""
    path = target.partition("?")[0]
    if not target.startswith("/") or not target.isascii() or not _is_straight(path):
        raise AskRefusedError("that is no path at the hub", 400)
    words = path.split("/")[1:]
    if words[0] in _KINDS:
        words = words[1:]
    if words[0] == "api" or "resolve" not in words[1:3]:
        return HubAsk(target)
    at = words.index("resolve", 1)
    if len(words) < at + 3 or not all(words):
        return HubAsk(target)
    revision = words[at + 1]
    return HubFileAsk(target, bool(_COMMIT.fullmatch(revision)), revision)


def _is_straight(path: str) -> bool:
    """Whether it leads where it says, also to who unpacks what is written by `%`."""
    plain = unquote(unquote(path), errors="replace")
    words = plain.replace("\\", "/").split("/")
    return plain.isprintable() and not any(word in (".", "..") for word in words)
