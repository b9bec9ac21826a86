"""A folder of this machine on its way into the pool: only what is new of it is sent.

The node is told every name and what is in each file; it says which contents it has nowhere, and
those follow. A node of an older version is sent all of it as one tree.
"""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from swarmnode.cli import exits
from swarmnode.cli.client import ApiError, Client, Document, Source
from swarmnode.cli.files.folders import Pieces, cannot_read, check_whole, local, shown

if TYPE_CHECKING:
    from swarmnode.tree.format import TreeEntry
    from swarmnode.tree.scan import Found

TRIES_MAX: Final = 3
"""What a folder was to refer to may go between two questions, hardly ever twice."""
_UNKNOWN: Final = ("object_unknown", "no_such_path")
"""The latter: a node of an older version."""


class FileReader(Protocol):
    """Knows what is in files, however it does."""

    def __call__(self, root: str, files: "Sequence[Found]", /) -> Iterator[bytes]:
        """BLAKE3 of each."""


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder, or a file with its rights, that was looked at and can be kept."""

    root: str
    found: "Sequence[Found]"
    entries: "Sequence[TreeEntry]"
    index: bytes
    """These, as a tree begins with them."""
    where: str
    """As it is called in what is said of it."""
    reader: FileReader
    may_grow: bool = False
    """A file that has become longer since is sent as long as it was; `reader` does the same."""

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(entry.size for entry in self.entries)

    @property
    def full(self) -> "list[Found]":
        """The files that have bytes."""
        from swarmnode.tree.format import EntryKind

        pairs = zip(self.found, self.entries, strict=True)
        return [one for one, entry in pairs if entry.kind is EntryKind.FILE and entry.size]

    def names(self) -> bytes:
        """Every name, and what is in each file. Raises CliError."""
        from swarmnode.tree.folder import write_names

        return write_names(self.index, list(local(self.reader(self.root, self.full), self.where)))

    def contents(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """What is in some of its files. Raises CliError."""
        from swarmnode.tree.pack import contents_of

        full = self.full
        wanted = [full[number] for number in numbers]
        return local(contents_of(self.root, wanted, may_grow=self.may_grow), self.where)

    def tree(self) -> Iterator[bytes]:
        """All of it in one stream. Raises CliError."""
        from swarmnode.tree.pack import packed

        pieces = packed(self.root, self.found, self.entries, may_grow=self.may_grow)
        return local(pieces, self.where)


def looked_at(path: Path) -> LocalFolder:
    """A folder, or a file with its rights. Raises CliError for what cannot be kept."""
    from swarmnode.errors import OutputUnsafeError
    from swarmnode.tree.format import write_index
    from swarmnode.tree.pack import hashes_of
    from swarmnode.tree.scan import entries_of, inside_of, scan

    real = path.resolve()
    is_folder = real.is_dir()
    root = str(real if is_folder else real.parent)
    base = () if is_folder else (os.fsencode(real.name),)
    try:
        looked = scan(root, base)
        check_whole(looked, path)
        names = (os.fsencode(real), os.fsencode(path.absolute()))
        entries = entries_of(looked.found, base, inside=inside_of(*names))
        index = write_index(entries)
    except OutputUnsafeError as error:
        raise exits.CliError(f"{shown(path)}: {error}", exits.USAGE) from error
    except OSError as error:
        raise cannot_read(path, error) from error
    return LocalFolder(root, looked.found, entries, index, f"{shown(path)}: ", hashes_of)


def known(client: Client, digest: bytes) -> str:
    """The capability of what is stored of ours by that digest, and whole; or an empty text."""
    try:
        entry = client.call("POST", "/api/v1/objects/same", {"digest": digest.hex()})
    except ApiError as error:
        if error.code in _UNKNOWN:
            return ""
        raise
    return str(entry["cap"])


def put_folder(
    client: Client,
    folder: LocalFolder,
    query: str,
    *,
    is_shared: bool,
    counted: Callable[[Source], Source] = lambda source: source,
) -> Document:
    """Store a folder; its receipt, or with `is_shared` at least the capability of the same one.

    `counted` is given what is sent. Raises CliError, ApiError, NodeUnreachableError.
    """
    from swarmnode.tree.folder import digest_of

    names = folder.names()
    if is_shared and (cap := known(client, digest_of(names))):
        return {"cap": cap}
    for left in reversed(range(TRIES_MAX)):
        try:
            return _sent(client, folder, names, query, counted)
        except ApiError as error:
            if error.code == "no_such_path":
                source = counted(Pieces(folder.tree(), folder.size))
                return dict(client.upload(f"/api/v1/objects?{query}", source))
            if error.code == "folder_changed":
                again = "nothing was stored: try again when it has come to rest"
                raise exits.CliError(f"{folder.where}{error}: {again}") from error
            if error.code != "folder_stale" or not left:
                raise
    raise AssertionError


def _sent(
    client: Client,
    folder: LocalFolder,
    names: bytes,
    query: str,
    counted: Callable[[Source], Source],
) -> Document:
    from swarmnode.packs.arriving import NUMBER_BYTES, head_of

    asked = io.BytesIO(len(names).to_bytes(NUMBER_BYTES) + names)
    numbers = client.upload(f"/api/v1/folders/missing?{query}", asked)["numbers"]
    pieces = chain((head_of(names, numbers),), folder.contents(numbers))
    full = folder.full
    size = sum(full[number].size for number in numbers)
    return dict(client.upload(f"/api/v1/folders?{query}", counted(Pieces(pieces, size))))
