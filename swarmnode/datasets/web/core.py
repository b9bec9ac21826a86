"""What is answered to a request for a file or folder of a task's datasets. Decides only."""

import html
import json
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from swarmnode.datasets.web import ranges
from swarmnode.fuse.inodes import ROOT, ContentPlace, Inode, Inodes

_LINKS_MAX: Final = 40
"""As many as the kernel follows."""
_LINES_AT_ONCE: Final = 200
_BYTES: Final = ("accept-ranges", "bytes")


class WebRequest(msgspec.Struct, frozen=True):
    """What of a request matters."""

    method: str
    target: str
    """As it came: path and query, escaped."""
    headers: Mapping[str, str]
    """Their names in small letters."""

    def header(self, name: str) -> str:
        """Empty without one."""
        return self.headers.get(name, "")


class WebDataset(msgspec.Struct, frozen=True):
    """One that the task sees at a path."""

    target: str
    """Absolute, without a slash at its end."""
    inodes: Inodes
    tag: str
    """Of its content."""


class WebAnswer(msgspec.Struct, frozen=True):
    """Head, and either a body in pieces, which HEAD is not sent, or bytes of a file."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: Iterable[bytes] = ()
    dataset: int = 0
    """Of which the bytes are."""
    place: ContentPlace = ContentPlace()
    size: int = 0
    """So many from there on; not for HEAD, whose answer is its head."""


class _Found(msgspec.Struct, frozen=True):
    dataset: int
    number: int
    node: Inode


class DataWeb:
    """All datasets of one task."""

    def __init__(self, datasets: Iterable[WebDataset]) -> None:
        self._datasets = tuple(datasets)

    def answer(self, request: WebRequest) -> WebAnswer:
        """To one request."""
        if request.method not in ("GET", "HEAD"):
            return _words(405, "datasets are only read", ("allow", "GET, HEAD"))
        path = unquote_to_bytes(request.target.partition("?")[0])
        if not path.strip(b"/"):
            return _listing(request, map(_of_dataset, self._datasets))
        found = self._find(path)
        if found is None:
            return _words(404, "no file or folder of the task's datasets has this name")
        if stat.S_ISDIR(found.node.mode):
            return self._folder(request, path, found)
        tag = f'"{self._datasets[found.dataset].tag}-{found.number}"'
        return _file(request, found, tag)

    def _folder(self, request: WebRequest, path: bytes, found: _Found) -> WebAnswer:
        if not path.endswith(b"/"):
            where = quote_from_bytes(b"/" + path.strip(b"/")) + "/"
            return WebAnswer(308, (("location", where), ("content-length", "0")))
        return _listing(request, _lines(self._datasets[found.dataset].inodes, found.number))

    def _find(self, path: bytes) -> _Found | None:
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        for number, one in enumerate(self._datasets):
            begin = [part.encode() for part in one.target.split("/") if part]
            if parts[: len(begin)] == begin:
                found = _walk(one.inodes, parts[len(begin) :])
                if found:
                    return _Found(number, *found)
        return None


class _Line(msgspec.Struct, frozen=True):
    name: bytes
    kind: str
    size: int


def _of_dataset(one: WebDataset) -> _Line:
    root = one.inodes.get(ROOT)
    assert root is not None
    return _line(one.target.strip("/").encode(), root)


def _line(name: bytes, node: Inode) -> _Line:
    return _Line(name, _kind(node), node.size)


def _kind(node: Inode) -> str:
    if stat.S_ISDIR(node.mode):
        return "folder"
    return "link" if stat.S_ISLNK(node.mode) else "file"


def _walk(inodes: Inodes, parts: list[bytes]) -> tuple[int, Inode] | None:
    """By names and links, and never out of the dataset."""
    left, above, links = parts[::-1], [ROOT], 0
    while True:
        node = inodes.get(above[-1])
        assert node is not None
        if not left:
            return (above[-1], node) if not stat.S_ISLNK(node.mode) else None
        part = left.pop()
        if part == b"..":
            if len(above) == 1:
                return None
            above.pop()
            continue
        number = inodes.names(above[-1]).get(part)
        found = inodes.get(number) if number else None
        if number is None or found is None:
            return None
        if stat.S_ISLNK(found.mode):
            links += 1
            if links > _LINKS_MAX or found.target.startswith(b"/"):
                return None
            left += [one for one in found.target.split(b"/")[::-1] if one not in (b"", b".")]
        else:
            above.append(number)


def _file(request: WebRequest, found: _Found, tag: str) -> WebAnswer:
    size = found.node.size
    about = [_BYTES, ("etag", tag), ("content-type", "application/octet-stream")]
    if ranges.is_known(request.header, tag):
        return WebAnswer(304, tuple(about))
    span, status = (0, size), 200
    # Of no bytes all are an answer to any range: programs ask so before they know (golang#47021).
    if size and (part := ranges.wanted(request.method, request.header, tag)):
        if (there := part.within(size)) is None:
            return _words(416, "nothing is there", ("content-range", f"bytes */{size}"), *about[:2])
        span, status = there, 206
        about.append(("content-range", f"bytes {span[0]}-{span[1] - 1}/{size}"))
    start, end = span
    about.append(("content-length", str(end - start)))
    count = end - start if request.method == "GET" else 0
    return WebAnswer(status, tuple(about), (), found.dataset, found.node.place.after(start), count)


def _lines(inodes: Inodes, folder: int) -> Iterator[_Line]:
    for name, number in inodes.names(folder).items():
        node = inodes.get(number)
        assert node is not None
        yield _line(name, node)


def _listing(request: WebRequest, lines: Iterator[_Line]) -> WebAnswer:
    """JSON for whoever asks for it, else a page of links."""
    if "application/json" in request.headers.get("accept", ""):
        pieces, kind = _pieces(lines, _as_json, "[", ",\n", "]\n"), "application/json"
    else:
        pieces = _pieces(lines, _link, "<!DOCTYPE html>\n<ul>\n", "\n", "\n</ul>\n")
        kind = "text/html; charset=utf-8"
    return WebAnswer(200, (("content-type", kind),), pieces)


def _pieces(
    lines: Iterator[_Line], write: Callable[[_Line], str], begin: str, between: str, end: str
) -> Iterator[bytes]:
    """Some lines at a time: a folder may have a hundred thousand."""
    while some := list(islice(lines, _LINES_AT_ONCE)):
        yield (begin + between.join(map(write, some))).encode()
        begin = between
    yield ("" if begin == between else begin).encode() + end.encode()


def _as_json(one: _Line) -> str:
    return json.dumps({"name": _text(one.name), "kind": one.kind, "bytes": one.size})


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _link(one: _Line) -> str:
    slash = "/" if one.kind == "folder" else ""
    where = quote_from_bytes(one.name) + slash
    return f'<li><a href="{where}">{html.escape(_text(one.name))}{slash}</a></li>'


def _words(status: int, words: str, *headers: tuple[str, str]) -> WebAnswer:
    body = words.encode() + b"\n"
    head = (("content-type", "text/plain"), ("content-length", str(len(body))), *headers)
    return WebAnswer(status, head, (body,))
