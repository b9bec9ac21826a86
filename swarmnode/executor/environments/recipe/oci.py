"""Finds an image in a `docker save` archive or an OCI layout: its settings and its layers."""

import gzip
import hashlib
import json
import os
import zlib
from typing import Any, BinaryIO

from tarball import FILE, LINK, NAME, RefusedError, Tar  # type: ignore[import-not-found]

_JSON_MAX = 8 << 20
_MANIFESTS_MAX = 64
_NAMES_MAX = 20000
"""In an archive of images: some for each layer."""
_FREE_BYTES, _RATIO_MAX = 4 << 30, 200
"""What all layers may have however they are packed, and beside that for each packed byte. Nothing
says how long a layer is but its maker, and a gigabyte of zeros is 32 KB by zstd, 1 MB by gzip: so
what unpacking costs grows with what was sent. A large /var/log/lastlog is within the first (of user
7,000,000 it has 2 GB); whatever people pack for its own sake is far within the second."""
_LAYERS_MAX = 256
"""Docker itself makes 127 at most."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPED = b"\x2a\x4d\x18"
"""Behind a byte of 0x50 to 0x5f: a frame of zstd that is passed over; pzstd begins with one."""
_HEX = set("0123456789abcdef")


class ImageSource:
    """The files of an archive or layout, by their names in it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        if not os.path.isdir(path):
            self._look()

    def _look(self) -> None:
        with open(self._path, "rb") as file:
            tar = Tar(file)
            for member in tar.members():
                name = os.path.normpath(member.name.decode("utf-8", "replace"))
                if member.kind == FILE:
                    self._places[name] = (tar.at, member.size)
                    tar.pass_by(file)
                elif member.kind == LINK:  # older docker, and skopeo: one layer under two names
                    target = member.target.decode("utf-8", "replace")
                    self._links[name] = os.path.normpath(os.path.join(name, "..", target))
                elif member.kind == NAME:
                    self._links[name] = os.path.normpath(member.target.decode("utf-8", "replace"))
                if len(self._places) + len(self._links) > _NAMES_MAX:
                    raise RefusedError("the archive has too many names to be an image")

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        if os.path.isdir(self._path):
            return os.path.isfile(os.path.join(self._path, name))
        return self._links.get(name, name) in self._places

    def opened(self, name: str) -> "Part":
        """Raises RefusedError."""
        if name.startswith("/") or ".." in name.split("/") or not self.has(name):
            raise RefusedError("the image has no %s" % name)
        if os.path.isdir(self._path):
            path = os.path.join(self._path, name)
            return Part(open(path, "rb"), 0, os.path.getsize(path))
        return Part(open(self._path, "rb"), *self._places[self._links.get(name, name)])

    def data(self, name: str) -> bytes:
        """All of a small file."""
        part = self.opened(name)
        if part.left > _JSON_MAX:
            raise RefusedError("%s has %d bytes" % (name, part.left))
        return part.read(part.left)


class Part:
    """A file within another."""

    def __init__(self, file: "BinaryIO", start: int, size: int) -> None:
        self._file, self.left = file, size
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        """Fewer bytes at the end."""
        data = self._file.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(data)
        return data


class Budget:
    """What all layers of an image may have once they are unpacked."""

    def __init__(self, bytes_max: int, free_bytes: int = _FREE_BYTES) -> None:
        self._left, self._earned = bytes_max, free_bytes

    def earn(self, packed: int) -> None:
        """So many bytes were sent to be unpacked."""
        self._earned += _RATIO_MAX * packed

    def spend(self, count: int) -> None:
        """So many came of them. Raises RefusedError."""
        self._left -= count
        self._earned -= count
        if self._left < 0:
            raise RefusedError("the layers have more bytes than an image may have")
        if self._earned < 0:
            raise RefusedError(
                "the layers have far more bytes than they are packed in: 4 GiB may be, and %d for "
                "each that is packed (leave files of zeros out of the image)" % _RATIO_MAX
            )


def plain_archive(path: str, budget: Budget) -> str:
    """The archive itself, where it came packed by gzip as a whole. Raises RefusedError."""
    if os.path.isdir(path):
        return path
    with open(path, "rb") as file:
        if file.read(2) != _GZIP:
            return path
        file.seek(0)
        plain = Plain(Part(file, 0, os.path.getsize(path)), budget)
        with open(path + ".plain", "wb") as out:
            while piece := plain.read(1 << 20):
                out.write(piece)
    return path + ".plain"


class Plain:
    """A layer's own bytes, hashed as they are read; `budget` is what all of them may have."""

    def __init__(self, part: Part, budget: Budget) -> None:
        budget.earn(part.left)
        head = part.read(4)
        file = _Again(head, part)
        is_zstd = head == _ZSTD or (head[1:] == _SKIPPED and head[0] >> 4 == 5)
        if is_zstd:
            import frames  # type: ignore[import-not-found]  # few have it

            self._file = frames.opened(file)
        else:
            self._file = gzip.GzipFile(fileobj=file) if head[:2] == _GZIP else file  # type: ignore[call-overload]
        self._budget, self._hash = budget, hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Raises RefusedError."""
        try:
            data: bytes = self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise RefusedError("a layer is damaged: %s" % error) from error
        self._budget.spend(len(data))
        self._hash.update(data)
        return data

    def finish(self, digest: str) -> None:
        """To its end. Raises RefusedError unless the image names these very bytes."""
        while self.read(1 << 20):
            pass
        if "sha256:" + self._hash.hexdigest() != digest:
            raise RefusedError("a layer is not what the image names (%s)" % digest[:19])


class _Again:
    """What was looked at comes once more."""

    def __init__(self, head: bytes, part: Part) -> None:
        self._head, self._part = head, part

    def read(self, size: int = -1) -> bytes:
        head, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
        return head or self._part.read(size)


def image_in(source: ImageSource, digest: str) -> "tuple[dict[str, Any], list[tuple[str, str]]]":
    """(settings, (name of a layer, its digest)...) of the one with that digest of its settings."""
    for config, layers in _images(source):
        data = source.data(config)
        if "sha256:" + hashlib.sha256(data).hexdigest() == digest:
            settings = _object(data)
            root = settings.get("rootfs")
            named = root.get("diff_ids") if isinstance(root, dict) else None
            if not isinstance(named, list) or len(named) != len(layers) or len(named) > _LAYERS_MAX:
                raise RefusedError("the image does not name its layers one by one, or too many")
            return settings, [(name, str(one)) for name, one in zip(layers, named)]  # noqa: B905  (Python 3.9)
    raise RefusedError("the image %s is not in it" % digest[:19])


def _images(source: ImageSource) -> "list[tuple[str, list[str]]]":
    if source.has("manifest.json"):
        found = json.loads(source.data("manifest.json"))
        return [(str(one["Config"]), [str(name) for name in one["Layers"]]) for one in found]
    todo, images, seen = ["index.json"], [], 0
    while todo:
        one = _object(source.data(todo.pop()))
        named = [_blob(each) for each in one.get("manifests") or []]
        todo += [name for name in named if source.has(name)]
        seen += len(named)
        if seen > _MANIFESTS_MAX:  # before they are read: all may be one, and long
            raise RefusedError("the layout has too many images in it")
        if "layers" in one and "config" in one:
            images.append((_blob(one["config"]), [_blob(layer) for layer in one["layers"]]))
    return images


def _blob(named: "dict[str, Any]") -> str:
    kind, _, digits = str(named["digest"]).partition(":")
    if kind != "sha256" or len(digits) != 64 or not set(digits) <= _HEX:
        raise RefusedError("a digest is none: %s" % str(named["digest"])[:80])
    return "blobs/sha256/" + digits


def _object(data: bytes) -> "dict[str, Any]":
    found = json.loads(data)
    if not isinstance(found, dict):
        raise RefusedError("a part of the image is not as it should be")
    return found
