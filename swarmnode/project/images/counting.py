"""How many names an image of this machine has, before it is sent: of too many nothing can be made.

Only layers that are not packed are counted, by their headers alone: to read a packed one takes as
long as to send it. Where it is not certain what a layer does (a name leads through a link), nothing
is said, and who unpacks the image decides. Reads files; blocking.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, TypeAlias

from swarmnode.errors import ProjectError
from swarmnode.project.images.archive import BLOCK
from swarmnode.project.images.conda import NAMES_SENT_MAX
from swarmnode.project.images.saved import LayerPlace, layers_of, size_in

_HIDES, _OPAQUE = ".wh.", ".wh..wh..opq"
_NOT_SENT: Final = ("dev", "proc", "run", "sys", "tmp", "work")
"""Every task has its own."""
_WORDS_MAX: Final = 1 << 20
"""Of what precedes an entry; one of more is no archive that is unpacked."""
_BEFORE: Final = (b"L", b"K", b"x", b"g")
_FILE, _LINK, _FOLDER = "file", "link", ""
_KINDS: Final[Mapping[bytes, str]] = {
    b"0": _FILE, b"\0": _FILE, b"7": _FILE, b"1": _FILE, b"2": _LINK, b"5": _FOLDER,
}  # fmt: skip
"""Others are devices, of which none is sent."""
Names: TypeAlias = "dict[str, Names | str]"
"""By name: a folder, or what else it is."""


class _UncertainError(Exception):
    """It is not known what a layer does."""


def check_names(path: Path, digest: str, names_max: int = NAMES_SENT_MAX) -> None:
    """Raises ProjectError for an image that certainly has too many."""
    try:
        count = _counted(layers_of(path, digest))
    except (_UncertainError, ValueError, LookupError, OSError):
        return  # whoever sends or unpacks it says what is wrong with it
    if count > names_max:
        raise ProjectError(
            f"{path.name} has {count} names (files, folders and links), limit {names_max}: "
            "leave out of the image what tasks do not need"
        )


def _counted(places: list[LayerPlace]) -> int:
    root: Names = {}
    for place in places:
        with open(place.path, "rb") as file:
            _apply(root, list(_entries(file, place)))
    return _size({name: below for name, below in root.items() if name not in _NOT_SENT})


def _entries(file: IO[bytes], place: LayerPlace) -> Iterator[tuple[list[str], str]]:
    """The parts of each name, and what it is; none of a file's own bytes is read."""
    at, told = place.start, ""
    while at + BLOCK <= place.start + place.size:
        file.seek(at)
        block = file.read(BLOCK)
        if not any(block):
            return
        kind, size = block[156:157], size_in(block)
        if kind in _BEFORE:
            if size > _WORDS_MAX:
                raise _UncertainError
            told = _told(kind, file.read(size)) or told
        elif kind in _KINDS:
            yield _parts(told or _name_in(block)), _KINDS[kind]
        at += BLOCK + size + -size % BLOCK
        told = told if kind in _BEFORE else ""
    if at != place.start + place.size:
        raise _UncertainError  # it ends early


def _told(kind: bytes, words: bytes) -> str:
    """The name of the next entry, where it stands before it. Raises _UncertainError, ValueError."""
    if kind in (b"L", b"K"):
        return _text(words) if kind == b"L" else ""
    name, at = "", 0
    while at < len(words):
        length = int(words[at : words.index(b" ", at, at + 9)])
        key, _, value = words[at : at + length].partition(b" ")[2].partition(b"=")
        is_for_all = kind == b"g" and key == b"path"
        if length < 1 or is_for_all or key == b"size" or key.startswith(b"GNU.sparse"):
            raise _UncertainError
        name = _text(value.removesuffix(b"\n")) if key == b"path" else name
        at += length
    return name


def _name_in(block: bytes) -> str:
    name, above = _text(block[:100]), _text(block[345:500])
    return f"{above}/{name}" if block[257:263] == b"ustar\0" and above else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _UncertainError
    return parts


def _apply(root: Names, entries: list[tuple[list[str], str]]) -> None:
    """What it takes away of layers below goes first, wherever that stands in it."""
    for parts, _ in entries:
        if parts and parts[-1].startswith(_HIDES):
            above = _folder(root, parts[:-1], is_made=False)
            if parts[-1] == _OPAQUE:
                above.clear()
            else:
                above.pop(parts[-1].removeprefix(_HIDES), None)
    for parts, kind in entries:
        if not parts or parts[-1].startswith(_HIDES):
            continue
        above = _folder(root, parts[:-1], is_made=True)
        if kind or not isinstance(above.get(parts[-1]), dict):
            above[parts[-1]] = kind or {}


def _folder(root: Names, parts: list[str], *, is_made: bool) -> Names:
    """One of no concern where there is none. Raises _UncertainError."""
    here = root
    for part in parts:
        below = here.get(part)
        if below == _LINK:
            raise _UncertainError
        if not isinstance(below, dict):
            below = {}
            if is_made:
                here[part] = below
        here = below
    return here


def _size(names: Names) -> int:
    todo, count = [names], 0
    while todo:
        here = todo.pop()
        count += len(here)
        todo += [below for below in here.values() if isinstance(below, dict)]
    return count
