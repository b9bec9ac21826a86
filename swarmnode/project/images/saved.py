"""Images of this machine: a `docker save` archive or an OCI layout.

Only what names the image is read here: layers are for the sandbox. Reads files; blocking.
"""

import gzip
import os
import platform
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final, cast

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.project.images.documents import (
    JSON_BYTES_MAX,
    Descriptor,
    ImageDocument,
    SavedLine,
    Settings,
    digest_of,
    read_as,
)

_MANIFESTS_MAX: Final = 64
"""An index may name others; real layouts have some for other machines, and notes."""
_SAVED, _LAYOUT = "manifest.json", "index.json"
_BLOCK: Final = 512
_NAMES_MAX: Final = 20_000
_SIZE_MAX: Final = 1 << 50
_MAGIC, _MAGIC_AT = b"ustar", 257
_GZIP: Final = b"\x1f\x8b"
_KEPT_BYTES_MAX: Final = 1 << 20
_ALL_KEPT_BYTES_MAX: Final = 64 << 20
"""Of a packed archive, small files as they come by: to go back in it means to unpack it again."""
_PACKED_PARTS: Final = 3
"""Times smaller an archive is when it is packed, about."""
_Read = Callable[[str], bytes]


class SavedImage(msgspec.Struct, frozen=True):
    """What names an image."""

    path: Path
    digest: str
    """Of its settings, which name every layer: `sha256:` and hexadecimal digits."""
    machine: str
    """As uname has it."""
    size_bytes: int
    """As it lies here, or would unpacked."""


class LayerPlace(msgspec.Struct, frozen=True):
    """Where the bytes of a layer are."""

    path: Path
    start: int
    size: int


def is_image(path: Path) -> bool:
    """Whether `--env` means an image there."""
    if path.is_dir():
        return (path / "oci-layout").is_file()
    return path.name.endswith((".tar", ".tar.gz", ".tgz")) and path.is_file()


def image_at(path: Path) -> SavedImage:
    """The one for this kind of machine, else the only one. Raises ProjectError."""
    try:
        digest, machine = _chosen(_reader(path), path.name)
    except (OSError, EOFError, zlib.error, LookupError, ValueError) as error:
        raise ProjectError(
            f"{path.name} is no image: an archive as `docker save` writes it, or the folder of "
            f"an OCI layout ({error})"
        ) from error
    return image_of(path, digest, machine)


def image_of(path: Path, digest: str, machine: str) -> SavedImage:
    """It, with what is known of it. Raises OSError."""
    return SavedImage(path, digest, machine, _size_of(path))


def _reader(path: Path) -> _Read:
    """Raises FileNotFoundError for what is not in it."""
    if path.is_dir():
        return lambda name: _read_in(path, name)
    with opened(path) as file:
        places, kept = _places_in(file)

    def read(name: str) -> bytes:
        if name in kept:
            return kept[name]
        if name not in places:
            raise FileNotFoundError(f"there is no {name} in it")
        start, size = places[name]
        with opened(path) as file:
            file.seek(start)
            return _bounded(file.read(min(size, JSON_BYTES_MAX + 1)), name)

    return read


def _read_in(folder: Path, name: str) -> bytes:
    """A plain file of a layout, which somebody else may have made: nothing beside it, no device."""
    if name.startswith("/") or ".." in name.split("/"):
        raise LookupError(f"a name that leads out of it: {name}")
    with open(os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise LookupError(f"{name} is no file")
        return _bounded(file.read(JSON_BYTES_MAX + 1), name)


def is_packed(path: Path) -> bool:
    """Whether it is packed by gzip as a whole."""
    with open(path, "rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def opened(path: Path) -> IO[bytes]:
    """An archive's own bytes."""
    return cast("IO[bytes]", gzip.open(path)) if is_packed(path) else open(path, "rb")


def _places_in(file: IO[bytes]) -> tuple[Mapping[str, tuple[int, int]], Mapping[str, bytes]]:
    """Where the files of an archive are, and what is in small ones of a packed archive.

    What names an image has short names, in plain headers.
    """
    places: dict[str, tuple[int, int]] = {}
    kept: dict[str, bytes] = {}
    room = _ALL_KEPT_BYTES_MAX if isinstance(file, gzip.GzipFile) else 0
    for name, size in members(file, _NAMES_MAX):
        start = file.tell()
        places[name] = (start, size)
        if size <= min(_KEPT_BYTES_MAX, room):
            kept[name] = file.read(size)
            room -= size
    return places, kept


def members(file: IO[bytes], names_max: int) -> Iterator[tuple[str, int]]:
    """Plain files of an archive, by name and size; the reader may read on, or not.

    Raises ValueError, OSError, EOFError, zlib.error.
    """
    for _ in range(names_max):
        block = file.read(_BLOCK)
        if len(block) < _BLOCK or not any(block):
            return
        size = size_in(block)
        start = file.tell()
        if block[156:157] in (b"0", b"\0"):
            name = block[:100].partition(b"\0")[0].decode("utf-8", "replace")
            yield name.removeprefix("./"), size
        file.seek(start + size + -size % _BLOCK)
    raise ValueError("too many names for an image")


def size_in(block: bytes) -> int:
    """Of an entry, by its header. Raises ValueError."""
    digits = block[124:136].strip(b" \0")
    is_plain = block[124] != 0x80  # else, beyond 8 GiB, it is no number of digits
    size = int(digits or b"0", 8) if is_plain else int.from_bytes(block[125:136])
    if not 0 <= size <= _SIZE_MAX:
        raise ValueError(f"an entry of {size} bytes")
    return size


def _bounded(data: bytes, name: str) -> bytes:
    if len(data) > JSON_BYTES_MAX:
        raise ValueError(f"{name} has more than {JSON_BYTES_MAX} bytes")
    return data


def layers_of(path: Path, digest: str) -> list[LayerPlace]:
    """Those of the image with these settings; none where it, or one of them, is packed.

    Raises ValueError, LookupError, OSError.
    """
    if path.is_file() and is_packed(path):
        return []
    found = {digest_of(data): names for data, names in _settings(_reader(path))}
    names = found[digest]
    if path.is_dir():
        there = {name: LayerPlace(path / name, 0, os.path.getsize(path / name)) for name in names}
    else:
        with opened(path) as file:
            places, _ = _places_in(file)
        there = {name: LayerPlace(path, *places[name]) for name in names}
    return [] if any(map(_is_no_tar, there.values())) else [there[name] for name in names]


def _is_no_tar(place: LayerPlace) -> bool:
    """The first header says that it is one; one without entries begins with zeros."""
    with open(place.path, "rb") as file:
        file.seek(place.start)
        head = file.read(min(place.size, _BLOCK))
        return any(head) and head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC


def _chosen(read: _Read, where: str) -> tuple[str, str]:
    """Digest of its settings, and the machine it is for."""
    ours, found = platform.machine(), {}
    for data, _ in _settings(read):
        settings = read_as(data, Settings)
        if settings.architecture or settings.rootfs:  # else a note about another image
            found[digest_of(data)] = settings.machine
    fitting = [digest for digest, machine in found.items() if machine == ours]
    chosen = fitting or list(found)
    if len(chosen) != 1:
        raise ProjectError(
            f"{where} has {len(chosen) or 'no'} images"
            + (f" for {ours}: save one alone" if chosen else "")
        )
    return chosen[0], found[chosen[0]]


def _settings(read: _Read) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Those of each image, and where its layers are."""
    try:
        saved = read(_SAVED)
    except FileNotFoundError:
        yield from _of_layout(read)
        return
    for one in read_as(saved, tuple[SavedLine, ...])[:_MANIFESTS_MAX]:
        yield read(one.config), one.layers


def _of_layout(read: _Read) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    todo, seen = [_LAYOUT], 0
    while todo:
        try:
            one = read_as(read(todo.pop()), ImageDocument)
        except FileNotFoundError:
            if not seen:
                raise
            continue  # layouts lack those of other machines
        if one.config is not None:
            yield read(blob_name(one.config)), tuple(map(blob_name, one.layers or ()))
        named = [each for each in one.manifests or () if (each.platform or _ANY).os == "linux"]
        todo += map(blob_name, named)  # others are notes about how an image was built
        seen += 1 + len(named)
        if seen > _MANIFESTS_MAX:
            raise ValueError("too many images in one layout")


def blob_name(named: Descriptor) -> str:
    """In a layout."""
    return f"blobs/sha256/{named.digits}"


_ANY: Final = Settings()


def _size_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size * (_PACKED_PARTS if is_packed(path) else 1)
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(path)
        for name in names
    )
