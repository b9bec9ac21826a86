"""What tasks brought into a project, as it is noted in `.swarm/` for those to come."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from swarmnode.cli.project.own import own_folder

if TYPE_CHECKING:
    from swarmnode.project.landing import FileMark
    from swarmnode.tree.names import Parts

_BROUGHT: Final = "brought.json"
_BESIDE: Final = "beside.json"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def brought(root: Path) -> "dict[Parts, FileMark]":
    """What earlier tasks brought. Of a damaged list nothing counts: all that is here stays.

    Raises OSError.
    """
    from swarmnode.project.landing import FileMark
    from swarmnode.tree.names import parts_in

    try:
        rows = msgspec.json.decode(_read(root, _BROUGHT), type=dict[str, FileMark])
        return {parts_in(name): mark for name, mark in rows.items()}
    except (FileNotFoundError, msgspec.DecodeError, ValueError):
        return {}


def beside(root: Path) -> "set[Parts]":
    """Which of that lies beside a file or folder of ours, under a name of its own.

    Of a damaged list nothing counts. Raises OSError.
    """
    from swarmnode.tree.names import parts_in

    try:
        return set(map(parts_in, msgspec.json.decode(_read(root, _BESIDE), type=list[str])))
    except (FileNotFoundError, msgspec.DecodeError, ValueError):
        return set()


def note(root: Path, marks: "Mapping[Parts, FileMark]", aside: "Iterable[Parts]") -> None:
    """Write down what was brought; what is gone is forgotten. Raises OSError."""
    from swarmnode.tree.names import joined, text_of

    rows = {text_of(joined(parts)): mark for parts, mark in marks.items() if _is_here(root, parts)}
    _write(root, _BROUGHT, rows)
    names = sorted(text_of(joined(parts)) for parts in aside if _is_here(root, parts))
    if names or beside(root):
        _write(root, _BESIDE, names)


def _read(root: Path, name: str) -> bytes:
    with own_folder(root) as own, open(os.open(name, _READ, dir_fd=own), "rb") as file:
        return file.read()


def _write(root: Path, name: str, rows: Any) -> None:  # noqa: ANN401  (as msgspec has it)
    part = f"{name}.part{os.getpid()}"
    with own_folder(root) as own:
        with open(os.open(part, _NEW, 0o666, dir_fd=own), "wb") as file:
            file.write(msgspec.json.encode(rows))
        os.rename(part, name, src_dir_fd=own, dst_dir_fd=own)


def _is_here(root: Path, parts: "Parts") -> bool:
    return os.path.lexists(root.joinpath(*map(os.fsdecode, parts)))
