"""The log of `recorder.c` as a disk would have it after a power cut at any point of it."""

import errno
import json
import os
import random
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_RECORD: Final = struct.Struct("<BBHIQQ")
_ROOT_ENTRY: Final = "folder"
LOSSES: Final = ("none", "all", "zeros", "some")
"""What becomes of data that was not fsynced: nothing of it is there, all, zeros, or pieces."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a process did. `kind` is a letter of recorder.c; M is a mark of a test."""

    kind: str
    path: str
    inode: int
    offset: int
    data: bytes


def read_log(data: bytes) -> list[Change]:
    """Every whole record of a log."""
    changes, at = [], 0
    while at + _RECORD.size <= len(data):
        kind, _, name_len, data_len, inode, offset = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        path = os.fsdecode(data[at : at + name_len])
        at += name_len
        changes.append(Change(chr(kind), path, inode, offset, data[at : at + data_len]))
        at += data_len
    return changes


def mark(log: Path, what: Mapping[str, Any]) -> None:
    """Note in the log that something has been acknowledged."""
    data = json.dumps(what).encode()
    with log.open("ab", buffering=0) as file:
        file.write(_RECORD.pack(ord("M"), 0, 0, len(data), 0, 0) + data)


@dataclass(eq=False, slots=True)
class _File:
    """The changes of one file's content, each with its place in the log."""

    changes: list[tuple[int, Change]] = field(default_factory=list)

    def write_to(self, file: int, cut: int, loss: str, dice: random.Random) -> None:
        """Into an empty file; what was never written stays a hole, as on a disk."""
        done = [(place, change) for place, change in self.changes if place < cut]
        synced = max((place for place, change in done if change.kind == "s"), default=-1)
        for place, change in done:
            if place <= synced or loss == "all" or (loss == "some" and dice.random() < 0.5):
                _apply(file, change)
            elif loss == "zeros" and change.kind == "w":
                _grow(file, change.offset + len(change.data))


def _apply(file: int, change: Change) -> None:
    if change.kind == "T":
        os.ftruncate(file, change.offset)
    elif change.kind == "w":
        _grow(file, change.offset)
        rest, at = memoryview(change.data), change.offset
        while rest:
            done = os.pwrite(file, rest, at)
            rest, at = rest[done:], at + done


def _grow(file: int, size: int) -> None:
    if os.fstat(file).st_size < size:
        os.ftruncate(file, size)


def _next_data(file: int, at: int) -> int:
    try:
        return os.lseek(file, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.fstat(file).st_size


def copy_sparse(source: str, target: str) -> str:
    """For `shutil.copytree`: a file of holes is copied in the time that its data takes."""
    with open(source, "rb") as old, open(target, "wb") as new:
        size, at = os.fstat(old.fileno()).st_size, 0
        os.ftruncate(new.fileno(), size)
        while (at := _next_data(old.fileno(), at)) < size:
            end = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            at += os.sendfile(new.fileno(), old.fileno(), os.lseek(new.fileno(), at, 0), end - at)
    shutil.copystat(source, target)
    return target


class Recording:
    """Everything that was done below `root`, which was `before` when it began."""

    def __init__(self, root: Path, before: Path, log: Path) -> None:
        self._root, self._before = root, before
        self.changes = read_log(log.read_bytes())
        self._files: dict[int, _File] = {}
        self._names: list[tuple[int, Change, _File | None]] = []
        self._folder_syncs: list[int] = []
        folders: set[int] = {
            os.stat(path).st_ino for path in (root, *root.rglob("*")) if path.is_dir()
        }
        for place, change in enumerate(self.changes):
            self._take(place, change, folders)

    def _take(self, place: int, change: Change, folders: set[int]) -> None:
        if change.kind == "d":
            folders.add(change.inode)
        if change.kind == "c":
            folders.discard(change.inode)
            self._files[change.inode] = _File()
        if change.kind in "cdfrlu":
            self._names.append((place, change, self._files.get(change.inode)))
        elif change.kind == "s" and change.inode in folders:
            self._folder_syncs.append(place)
        elif change.kind in "wTs":
            self._files.setdefault(change.inode, _File()).changes.append((place, change))

    def acknowledged(self, cut: int) -> list[dict[str, Any]]:
        """What had been marked before the cut."""
        return [json.loads(one.data) for one in self.changes[:cut] if one.kind == "M"]

    def interesting(self) -> list[int]:
        """Cuts after which a disk may differ most: right after names, syncs and marks."""
        return [n + 1 for n, one in enumerate(self.changes) if one.kind in "crlusdM"]

    def play(self, cut: int, loss: str, dice: random.Random) -> None:
        """Make the root what a disk would hold after a power cut before change number `cut`."""
        synced = max((place for place in self._folder_syncs if place < cut), default=-1)
        unsure = [place for place, *_ in self._names if synced < place < cut]
        last = cut if loss == "all" else dice.choice([synced, *unsure])
        entries: dict[str, _File | str] = {}
        for place, change, file in self._names:
            if place > last or place >= cut:
                break
            _rename(entries, change, file)
        shutil.rmtree(self._root)
        shutil.copytree(self._before, self._root)
        for path, entry in sorted(entries.items()):
            self._make(Path(path), entry, cut, loss, dice)

    def _make(
        self, path: Path, entry: "_File | str", cut: int, loss: str, dice: random.Random
    ) -> None:
        if entry == "d":
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif entry == "f":
            os.mkfifo(path, 0o600)
        elif isinstance(entry, _File) and path.parent.is_dir():
            with path.open("wb", buffering=0) as file:
                entry.write_to(file.fileno(), cut, loss, dice)
            path.chmod(0o600)


def _rename(entries: "dict[str, _File | str]", change: Change, file: _File | None) -> None:
    target = os.fsdecode(change.data)
    match change.kind:
        case "c":
            entries[change.path] = file or _File()
        case "d" | "f":
            entries[change.path] = change.kind
        case "u":
            entries.pop(change.path, None)
        case "l":
            entries[target] = entries.get(change.path, _File())
        case "r":
            for name in [one for one in entries if one == target or one.startswith(target + "/")]:
                del entries[name]
            for name in [
                one for one in entries if one == change.path or one.startswith(change.path + "/")
            ]:
                entries[target + name[len(change.path) :]] = entries.pop(name)


def sampled(cuts: Sequence[int], count: int, dice: random.Random) -> list[int]:
    """So many of the cuts, spread over the whole recording, the last one among them."""
    if len(cuts) <= count:
        return list(cuts)
    step = len(cuts) / count
    picked = [cuts[int(n * step + dice.random() * step)] for n in range(count - 1)]
    return [*picked, cuts[-1]]
