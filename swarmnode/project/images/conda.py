"""An environment of conda on this machine: as conda-pack writes it, or the folder that it lives in.

A folder goes along as one archive that is the same while nothing in it changes; what lies in it
knows its path, so a task sees it there, too. Reads files; blocking.
"""

import hashlib
import os
import platform
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.errors import ProjectError
from swarmnode.project.images.archive import BLOCK, END, FILE, FOLDER, LINK, header
from swarmnode.project.images.documents import read_as
from swarmnode.project.images.notes import Note, files_in
from swarmnode.project.images.saved import members, opened

META: Final = "conda-meta"
_NOTED: Final = re.compile(rf"((?:[^/]+/){{0,8}}?){META}/[^/]+")
"""A file of conda's notes: in the archive's root, or below the folder that all of it is packed in
(conda-pack --arcroot)."""
_LAYER: Final = re.compile(r"[0-9a-f]{64}/(?:layer\.tar|json|VERSION)")
"""As older versions of docker save name what is in an image."""
_ROOT_MARKS: Final = ("condabin", "pkgs")
"""Conda's own folder, with all packages that it ever fetched."""
_ENDS: Final = (".tar", ".tar.gz", ".tgz")
_OTHER_ENDS: Final = (".zip", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_MACHINES: Final = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
_PIECE: Final = 1 << 20
_NAMES_MAX: Final = 400_000
"""Of an archive as it is looked through."""
NAMES_SENT_MAX: Final = 99_000
"""What an object holds, and a build of ours allows."""
_JSON_BYTES_MAX: Final = 8 << 20


class CondaPrefix(msgspec.Struct, frozen=True):
    """What names such an environment."""

    path: Path
    digest: str
    """Of its archive."""
    machine: str
    size_bytes: int
    """Of its archive; of a folder what a packed one would have, about."""
    prefix: str = ""
    """Where it is, unless it was packed to be moved."""

    @property
    def is_folder(self) -> bool:
        """It is packed as it goes along."""
        return bool(self.prefix)


def is_conda(path: Path) -> bool:
    """Whether `--env` means one: a folder, or an archive with conda's notes in it."""
    if path.is_dir():
        return (path / META).is_dir()
    return path.name.endswith(_ENDS) and path.is_file() and _is_of_conda(path)


def is_packed_otherwise(path: Path) -> bool:
    """An archive, perhaps of conda-pack, that is not read here."""
    return path.name.endswith(_OTHER_ENDS) and path.is_file()


def _is_of_conda(path: Path) -> bool:
    """Of an archive. An image has names of its own before any that an environment could have."""
    first = ""
    try:
        with opened(path) as file:
            for name, _ in members(file, _NAMES_MAX):
                first = first or name
                if (found := _NOTED.fullmatch(name)) and first.startswith(found[1]):
                    return True
                if name in ("manifest.json", "index.json", "oci-layout") or _is_layer(name):
                    return False
    except (OSError, EOFError, ValueError, zlib.error):
        return False  # whoever reads it as an image says what is wrong
    return False


def _is_layer(name: str) -> bool:
    return name.startswith("blobs/") or _LAYER.fullmatch(name) is not None


def note_of(path: Path) -> Note:
    """What names it; all of it is read. Raises ProjectError, OSError."""
    if path.is_dir():
        _check_folder(path)
    try:
        return _read(path)
    except (EOFError, zlib.error, ValueError, RecursionError) as error:
        raise ProjectError(f"{path.name} cannot be read as an environment: {error}") from error


def prefix_of(path: Path, note: Note) -> CondaPrefix:
    """It, with what is known of it. Raises OSError."""
    if path.is_dir():
        size = sum(info.st_size for _, info in files_in(path)) * 2 // 5
        return CondaPrefix(path, note.digest, note.machine, size, _known_path(path))
    return CondaPrefix(path, note.digest, note.machine, path.stat().st_size)


def _known_path(path: Path) -> str:
    """Where its scripts say that it is: by a link, perhaps, as a home that lies elsewhere."""
    real, named = os.path.realpath(path), os.path.abspath(path)
    if named == real or not (path / "bin").is_dir():
        return real
    begin = b"#!" + os.fsencode(named) + b"/"
    for script in sorted((path / "bin").iterdir()):
        if stat.S_ISREG(script.lstat().st_mode):
            with open(script, "rb") as file:
                if file.read(len(begin)) == begin:
                    return named
    return real


def _check_folder(path: Path) -> None:
    if any((path / name).is_dir() for name in _ROOT_MARKS):
        raise ProjectError(
            f"{path.name} is the folder of conda itself: name one of its environments "
            f"({path.name}/envs/NAME), or pack it: conda-pack"
        )
    count = sum(1 for _ in files_in(path))
    if count > NAMES_SENT_MAX:
        raise ProjectError(
            f"{path.name} has {count} names (files, folders and links), limit {NAMES_SENT_MAX}: "
            "make an environment with what the project needs"
        )


def _read(path: Path) -> Note:
    """The digest of its archive, and the machine that its packages are for."""
    digest = hashlib.sha256()
    for piece in pieces_of(path):
        digest.update(piece)
    subdirs = _subdirs_in_folder(path) if path.is_dir() else _subdirs_in_archive(path)
    subdir = next((one for one in subdirs if one != "noarch"), "")
    machine = _MACHINES.get(subdir, subdir) or platform.machine()
    if machine not in _MACHINES.values():
        raise ValueError(f"its packages are for {subdir}, where no task of ours runs")
    return Note(is_conda=True, digest=f"sha256:{digest.hexdigest()}", machine=machine)


def _subdirs_in_folder(path: Path) -> Iterator[str]:
    for file in sorted((path / META).glob("*.json")):
        if stat.S_ISREG(file.lstat().st_mode):  # a pipe would never end
            with open(file, "rb") as opened_file:
                yield _subdir(opened_file.read(_JSON_BYTES_MAX))


def _subdirs_in_archive(path: Path) -> Iterator[str]:
    with opened(path) as file:
        for name, size in members(file, _NAMES_MAX):
            if _NOTED.fullmatch(name) and name.endswith(".json"):
                yield _subdir(file.read(min(size, _JSON_BYTES_MAX)))


def _subdir(data: bytes) -> str:
    found = read_as(data, object)
    return str(found.get("subdir") or "noarch") if isinstance(found, dict) else "noarch"


def pieces_of(path: Path) -> Iterator[bytes]:
    """The archive: as it is, or of a folder, the same bytes each time. Raises OSError."""
    if path.is_dir():
        yield from _gathered(_packed_all(path))
        return
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _packed_all(path: Path) -> Iterator[bytes]:
    for name, info in files_in(path):
        yield from _packed(path, name, info)
    yield END


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Few large ones, of which none is empty."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= _PIECE:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _packed(root: Path, name: bytes, info: os.stat_result) -> Iterator[bytes]:
    path = os.path.join(os.fsencode(root), name)
    if stat.S_ISDIR(info.st_mode):
        yield header(FOLDER, name)
    elif stat.S_ISLNK(info.st_mode):
        yield header(LINK, name, target=_inside(root, path))
    elif stat.S_ISREG(info.st_mode):  # a socket or pipe is nothing that was installed
        # Compiled modules go by it, and nothing else does: of others it is no matter.
        time_s = info.st_mtime_ns // 10**9 if name.endswith(b".py") else 0
        runs = bool(info.st_mode & 0o111)
        yield header(FILE, name, size=info.st_size, runs=runs, time_s=time_s)
        yield from _contents(path, info.st_size)


def _inside(root: Path, path: bytes) -> bytes:
    """Where a link leads; one by a whole path into the prefix is one from where it stands."""
    target = os.readlink(path)
    below = os.path.relpath(os.path.dirname(path), os.fsencode(root))
    for top in (os.path.realpath(root), os.path.abspath(root)):  # by a link, perhaps
        if target.startswith(os.fsencode(top) + b"/"):
            return os.path.relpath(target, os.path.join(os.fsencode(top), below))
    return target


def _contents(path: bytes, size: int) -> Iterator[bytes]:
    left = size
    with open(path, "rb") as file:
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                raise OSError(f"{os.fsdecode(path)} became shorter while it was read")
            left -= len(piece)
            yield piece
    yield bytes(-size % BLOCK)
