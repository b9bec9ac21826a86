"""`--in`: files and folders of this machine into the work folder, refused before anything is sent.

A folder is one object, a file another; where there are many files they go up together as one.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from swarmnode.cli import exits
from swarmnode.cli.client import CHUNK_BYTES, Client, Document, Source
from swarmnode.cli.files import folders
from swarmnode.cli.files import upload as upload_files
from swarmnode.limits import OBJECT_NAME_CHARS_MAX

TOGETHER_MIN: Final = 33
"""So many single files go up as one object: a put each would take a round trip each."""
WORK_FOLDER: Final = "."
_STDIN: Final = (
    "what is piped in is no input yet: store it (swarmnode obj put -) and say --in NAME=swarm:..."
)


@dataclass(frozen=True, slots=True)
class Input:
    """One `--in`: what is to be at `place`, a capability or something of this machine."""

    place: str
    cap: str = ""
    path: Path = Path()


def read(given: Sequence[str]) -> list[Input]:
    """What was asked for, every place once. Raises CliError."""
    places: dict[str, Input] = {}
    for text in given:
        wanted = _input(text)
        if wanted.place in places:
            raise exits.CliError(
                f"--in: two are to be {wanted.place!r} in the work folder: write --in OTHER=... "
                "for one of them",
                exits.USAGE,
            )
        places[wanted.place] = wanted
    return list(places.values())


def _input(text: str) -> Input:
    """`NAME=CAP`, `NAME=PATH` or just `PATH`, which keeps its own name.

    What exists as it is written is a path, whatever is in its name; else the first `=` counts that
    has a path or capability after it.
    """
    if os.path.lexists(text):
        return Input(_place(folders.base_name(Path(text)), text), path=_kept(Path(text), text))
    if text.startswith("swarm:"):
        raise exits.CliError("--in needs a name: --in NAME=swarm:...", exits.USAGE)
    if named := _named(text):
        return named
    if text == "-" or text.endswith("=-"):
        raise exits.CliError(f"--in {folders.shown(text)}: {_STDIN}", exits.USAGE)
    remedy = "give a file, a folder or NAME=swarm:..."
    raise exits.CliError(f"--in {folders.shown(text)}: {_why_missing(text)}: {remedy}", 2)


def _why_missing(text: str) -> str:
    """As the kernel says it: a name above it may be no folder."""
    try:
        os.lstat(text)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return "it has just come: try again"


def _named(text: str) -> Input | None:
    for at in (at for at, char in enumerate(text) if char == "="):
        name, value = text[:at], text[at + 1 :]
        if name and value.startswith("swarm:"):
            return Input(_place(folders.shown(name), text), cap=value)
        if name and os.path.lexists(value):
            return Input(_place(folders.shown(name), text), path=_kept(Path(value), text))
    return None


def _kept(path: Path, text: str) -> Path:
    """The path of a file or folder, or of what nobody can look at. Raises CliError."""
    with suppress(OSError):  # whoever reads it is told what is wrong with it
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            what = f"{folders.shown(path)} is neither a file nor a folder"
            raise exits.CliError(f"--in {folders.shown(text)}: {what}, and {_STDIN}", exits.USAGE)
    return path


def _place(name: str, text: str) -> str:
    from swarmnode.errors import NameRefusedError
    from swarmnode.tree.names import normal

    try:
        return normal(name)
    except NameRefusedError as error:
        raise exits.CliError(f"--in {folders.shown(text)}: {error}", exits.USAGE) from error


def check(spec: Document, inputs: Sequence[Input]) -> None:
    """Refuse now what the node would refuse once everything had been stored. Raises CliError."""
    from swarmnode.errors import SpecError
    from swarmnode.tasks.spec_load import spec_from_dict

    stand_in = some_cap()
    places = {wanted.place: wanted.cap or stand_in for wanted in _apart(inputs)[0]}
    named = spec.get("inputs") or {}
    whole = {**spec, "inputs": {**named, **places}} if isinstance(named, Mapping) else spec
    try:
        spec_from_dict(whole)
    except SpecError as error:
        raise exits.CliError(f"the task spec is wrong: {error}", exits.USAGE) from error
    for wanted in inputs:
        if not wanted.cap:
            check_kept(wanted.path)


def check_kept(path: Path) -> None:
    """Refuse what cannot be kept, all of it looked at. Raises CliError."""
    if folders.is_tree(path):
        upload_files.looked_at(path)
    else:
        with folders.source(path):
            pass


def some_cap() -> str:
    """Of no object: in the place of one that is still to be stored."""
    from storage.facade import ReadCap
    from storage.ids import Address, ObjectKey
    from storage.manifests.capability import text_of_cap

    return text_of_cap(ReadCap(Address(bytes(32)), ObjectKey(bytes(32))))


def upload(inputs: Sequence[Input], client: Client, *, is_kept: bool = False) -> dict[str, str]:
    """Store what is of this machine and not stored yet: place -> capability.

    It ends with the tasks that use it unless `is_kept`.
    """
    single, together = _apart(inputs)
    caps = {wanted.place: wanted.cap for wanted in single if wanted.cap}
    for wanted in single:
        if not wanted.cap and wanted is not _BUNDLE:
            caps[wanted.place] = _put(client, wanted, is_kept)
    if together:
        bundle = partial(_bundled, {wanted.place: wanted.path for wanted in together})
        caps[WORK_FOLDER] = put(client, "inputs", bundle, is_kept)
    return caps


def _put(client: Client, wanted: Input, is_kept: bool) -> str:
    if folders.is_tree(wanted.path):
        return put_folder(client, wanted.place, upload_files.looked_at(wanted.path), is_kept)
    return put(client, wanted.place, partial(folders.source, wanted.path), is_kept)


def put_folder(client: Client, name: str, folder: "upload_files.LocalFolder", is_kept: bool) -> str:
    """The capability of a folder that is stored already, or is now."""
    query = _query(name, is_kept)
    receipt = upload_files.put_folder(client, folder, query, is_shared=not is_kept)
    return str(receipt["cap"])


def put(
    client: Client,
    name: str,
    opened: Callable[[], AbstractContextManager[Source]],
    is_kept: bool,
) -> str:
    """The capability of what is stored already, or is now; it is read once more for that."""
    if not is_kept:
        with opened() as source:
            if known := _known(client, source):
                return known
    with opened() as source:
        path = f"/api/v1/objects?{_query(name, is_kept)}"
        return str(client.upload(path, source)["cap"])


def _query(name: str, is_kept: bool) -> str:
    shown = quote(name[-OBJECT_NAME_CHARS_MAX:])  # the end of a place tells most
    return f"name={shown}" + ("" if is_kept else "&kind=input")


def put_once(client: Client, name: str, path: Path) -> str:
    """The capability of a file or folder that is stored already, or is now, to stay."""
    if folders.is_tree(path):
        folder = upload_files.looked_at(path)
        query = _query(name, is_kept=True)
        return str(upload_files.put_folder(client, folder, query, is_shared=True)["cap"])
    opened = partial(folders.source, path)
    with opened() as source:
        if known := _known(client, source):
            return known
    return put(client, name, opened, is_kept=True)


def _known(client: Client, source: Source) -> str:
    """The capability of an object of ours with the same content, or an empty text."""
    from blake3 import blake3

    hashed = blake3()
    while piece := source.read(CHUNK_BYTES):
        hashed.update(piece)
    return upload_files.known(client, hashed.digest())


@contextmanager
def _bundled(files: Mapping[str, Path]) -> Iterator[Source]:
    yield folders.Pieces(_bundle(files))


_BUNDLE: Final = Input(WORK_FOLDER)


def _apart(inputs: Sequence[Input]) -> tuple[list[Input], list[Input]]:
    """Those that are objects of their own, and the files that go up together."""
    files = [wanted for wanted in inputs if not wanted.cap and os.path.isfile(wanted.path)]
    if len(files) < TOGETHER_MIN or any(wanted.place == WORK_FOLDER for wanted in inputs):
        return list(inputs), []
    return [_BUNDLE, *(wanted for wanted in inputs if wanted not in files)], files


def _bundle(files: Mapping[str, Path]) -> Iterator[bytes]:
    """One tree of many files, from wherever they are."""
    from swarmnode.tree.names import parts_in
    from swarmnode.tree.pack import gathered

    return folders.local(gathered({parts_in(place): path for place, path in files.items()}))
