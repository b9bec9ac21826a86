"""Folders as trees for tests: pack, unpack, and everything about a folder to compare."""

import os
from pathlib import Path

from swarmnode.tree.names import parts_of
from swarmnode.tree.pack import packed
from swarmnode.tree.scan import entries_of, inside_of, scan
from swarmnode.tree.unpack import Unpacker

Listing = dict[bytes, tuple[str, int, bytes]]


def pack(path: Path) -> bytes:
    """The bytes of a folder's, or a file's, tree."""
    base = () if path.is_dir() else parts_of(os.fsencode(path.name))
    root = str(path if path.is_dir() else path.parent)
    found = scan(root, base).found
    entries = entries_of(found, base, inside=inside_of(os.fsencode(root)))
    return b"".join(packed(root, found, entries))


def unpack(data: bytes, target: Path) -> None:
    """Make it at `target`, whose parent exists."""
    top = target
    while not top.is_dir():
        top = top.parent
    base = parts_of(os.fsencode(os.path.relpath(target, top)))
    unpacker = Unpacker(str(top), base)
    try:
        for at in range(0, len(data), 100_000):
            unpacker.feed(data[at : at + 100_000])
        unpacker.finish()
    finally:
        unpacker.close()


def listing(folder: Path) -> Listing:
    """Name -> (kind, rights, contents or target) of everything beneath."""
    found: Listing = {}
    for place, folders, files in os.walk(os.fsencode(folder)):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            info = os.lstat(path)
            key = os.path.relpath(path, os.fsencode(folder))
            if os.path.islink(path):
                found[key] = ("link", 0, os.readlink(path))
            elif os.path.isdir(path):
                found[key] = ("folder", info.st_mode & 0o777, b"")
            else:
                with open(path, "rb") as file:
                    found[key] = ("file", info.st_mode & 0o777, file.read())
    return found
