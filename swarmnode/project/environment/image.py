"""Images of this machine: a `docker save` archive or an OCI layout.

Only what names the image is read here: layers are for the sandbox. Reads files; blocking.
"""

import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmnode.errors import ProjectError

_JSON_BYTES_MAX: Final = 8 << 20
_INDEXES_MAX: Final = 16
"""An index may name others; real layouts have one or two."""
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_SAVED, _LAYOUT = "manifest.json", "index.json"
_BLOCK: Final = 512
_NAMES_MAX: Final = 100_000
_Read = Callable[[str], bytes]


class SavedImage(msgspec.Struct, frozen=True):
    """What names an image."""

    path: Path
    digest: str
    """Of its settings, which name every layer: `sha256:` and hexadecimal digits."""
    machine: str
    """As uname has it."""
    size_bytes: int
    """As it lies here."""


def is_image(path: Path) -> bool:
    """Whether `--env` means an image there."""
    if path.is_dir():
        return (path / "oci-layout").is_file()
    return path.name.endswith((".tar", ".tar.gz", ".tgz")) and path.is_file()


def image_at(path: Path) -> SavedImage:
    """The one for this kind of machine, else the only one. Raises ProjectError."""
    try:
        digest, machine = _chosen(_reader(path), path.name)
    except (OSError, msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
        raise ProjectError(
            f"{path.name} is no image: an archive as `docker save` writes it (not packed), or the "
            f"folder of an OCI layout ({error})"
        ) from error
    return SavedImage(path, digest, machine, _size_of(path))


def _reader(path: Path) -> _Read:
    """Raises FileNotFoundError for what is not in it."""
    if path.is_dir():
        return lambda name: _bounded((path / name).read_bytes(), name)
    places = _places_in(path)

    def read(name: str) -> bytes:
        if name not in places:
            raise FileNotFoundError(f"there is no {name} in it")
        start, size = places[name]
        with open(path, "rb") as file:
            file.seek(start)
            return _bounded(file.read(min(size, _JSON_BYTES_MAX + 1)), name)

    return read


def _places_in(path: Path) -> Mapping[str, tuple[int, int]]:
    """Where the files of an archive are. What names an image has short names, in plain headers."""
    places: dict[str, tuple[int, int]] = {}
    with open(path, "rb") as file:
        for _ in range(_NAMES_MAX):
            block = file.read(_BLOCK)
            if len(block) < _BLOCK or not any(block):
                return places
            digits = block[124:136].strip(b" \0")
            is_plain = block[124] != 0x80  # else, beyond 8 GiB, it is no number of digits
            size = int(digits or b"0", 8) if is_plain else int.from_bytes(block[125:136])
            if block[156:157] in (b"0", b"\0"):
                name = block[:100].partition(b"\0")[0].decode("utf-8", "replace")
                places[name.removeprefix("./")] = (file.tell(), size)
            file.seek(size + -size % _BLOCK, os.SEEK_CUR)
    raise ProjectError(f"{path.name} has too many names to be an image")


def _bounded(data: bytes, name: str) -> bytes:
    if len(data) > _JSON_BYTES_MAX:
        raise ProjectError(f"{name} of the image has more than {_JSON_BYTES_MAX} bytes")
    return data


def _chosen(read: _Read, where: str) -> tuple[str, str]:
    """Digest of its settings, and the machine it is for."""
    ours, found = platform.machine(), {}
    for data in _settings(read):
        settings = msgspec.json.decode(data, type=dict[str, Any])
        named = str(settings.get("architecture", ""))
        if named in _MACHINES or settings.get("rootfs"):  # else a note about another image
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            found[digest] = _MACHINES.get(named, named)
    fitting = [digest for digest, machine in found.items() if machine == ours]
    chosen = fitting or list(found)
    if len(chosen) != 1:
        raise ProjectError(
            f"{where} has {len(chosen) or 'no'} images"
            + (f" for {ours}: save one alone" if chosen else "")
        )
    return chosen[0], found[chosen[0]]


def _settings(read: _Read) -> Iterator[bytes]:
    try:
        saved = read(_SAVED)
    except FileNotFoundError:
        yield from _of_layout(read)
        return
    for one in msgspec.json.decode(saved, type=list[dict[str, Any]]):
        yield read(str(one["Config"]))


def _of_layout(read: _Read) -> Iterator[bytes]:
    todo = [msgspec.json.decode(read(_LAYOUT), type=dict[str, Any])]
    for _ in range(_INDEXES_MAX):
        if not todo:
            return
        one = todo.pop()
        if "config" in one:
            yield read(_blob(one["config"]))
        for each in one.get("manifests") or ():
            with suppress(FileNotFoundError):  # layouts lack those of other machines
                todo += [_manifest(read, each)] if _is_system(each) else []


def _is_system(named: dict[str, Any]) -> bool:
    """Others are notes about how an image was built."""
    platform_of = named.get("platform") or {}
    return str(platform_of.get("os", "linux")) == "linux"


def _manifest(read: _Read, named: dict[str, Any]) -> dict[str, Any]:
    return msgspec.json.decode(read(_blob(named)), type=dict[str, Any])


def _blob(named: dict[str, Any]) -> str:
    kind, _, digits = str(named["digest"]).partition(":")
    if kind != "sha256" or not digits.isalnum():
        raise LookupError(f"digest {named['digest']!r}")
    return f"blobs/sha256/{digits}"


def _size_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(path)
        for name in names
    )
