"""What a task made, back in the project's folder; a file of ours is never lost for it.

Each result is brought whole into `.swarm/` first; swarmnode.project.placing moves it from there.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from swarmnode.cli import exits
from swarmnode.cli.client import Client, Document
from swarmnode.cli.files import folders
from swarmnode.cli.files.local import cannot_write
from swarmnode.cli.output import complain, printable
from swarmnode.cli.task import follow as task_follow

if TYPE_CHECKING:
    from swarmnode.project.landing import FileMark
    from swarmnode.project.placing import Brought
    from swarmnode.tree.names import Parts
    from swarmnode.tree.scan import Found

OWN_FOLDER: Final = ".swarm"
"""Ours in a project: never sent, and ignored by git."""
_BROUGHT: Final = "brought.json"
_TASK_CHARS: Final = 8


class Bringer:
    """One task's results on their way into a project; made before the task is handed in."""

    def __init__(self, root: Path, sent: Sequence["Found"]) -> None:
        """Raises CliError where nothing could be brought: better now than after hours of work."""
        from swarmnode.tree.format import EntryKind

        self._root, self._own = root, root / OWN_FOLDER
        files = (name for name in sent if name.kind is not EntryKind.FOLDER)
        self._sent = {name.parts: _mark_of(name) for name in files}
        try:
            self._own.mkdir(exist_ok=True)
            if self._own.is_symlink():
                raise exits.CliError(f"{folders.shown(self._own)} is a link: take it away")
            (self._own / ".gitignore").write_text("*\n")
        except OSError as error:
            raise cannot_write(folders.shown(self._own), error) from error

    def bring(self, client: Client, detail: Document) -> int:
        """All outputs of a task that has ended; the exit code for what could not be brought."""
        place = self._own / f"{detail['task'][:_TASK_CHARS]}.part{os.getpid()}"
        try:
            with self._alone():
                return self._bring(client, detail, place)
        except OSError as error:
            complain(f"{folders.shown(self._root)}: {error.strerror}: {_again(detail)}")
            return exits.ERROR
        finally:
            folders.remove(place)

    def _bring(self, client: Client, detail: Document, place: Path) -> int:
        from swarmnode.cli.task.get import Bringing
        from swarmnode.project.placing import Placer, root_folder

        place.mkdir()
        bringing = Bringing(client, place)
        bringing.bring(detail, ("outputs",))
        source = place / "outputs"
        if not source.exists():
            return bringing.code
        before, suffix = self._brought(), f".{detail['task'][:_TASK_CHARS]}".encode()
        root = root_folder(self._root)
        try:
            placer = Placer(
                source, root, {**before, **self._sent}, detail["spec"]["outputs"], suffix
            )
            try:
                placed = placer.place()
            finally:  # also of what was placed before a Ctrl-C
                self._note(before | placer.placed.marks)
        finally:
            os.close(root)
        return bringing.code or _told(placed, detail)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two tasks that end together bring one after the other."""
        with (self._own / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _brought(self) -> "dict[Parts, FileMark]":
        """What earlier tasks brought. Of a damaged list nothing counts: all that is here stays."""
        from swarmnode.project.landing import FileMark
        from swarmnode.tree.names import parts_in

        try:
            listed = (self._own / _BROUGHT).read_bytes()
            rows = msgspec.json.decode(listed, type=dict[str, FileMark])
            return {parts_in(name): mark for name, mark in rows.items()}
        except (FileNotFoundError, msgspec.DecodeError, ValueError):
            return {}

    def _note(self, marks: "dict[Parts, FileMark]") -> None:
        """Write down what was brought, for the tasks to come; what is gone is forgotten."""
        from swarmnode.tree.names import joined, text_of

        kept = {parts: mark for parts, mark in marks.items() if self._is_here(parts)}
        rows = {text_of(joined(parts)): mark for parts, mark in kept.items()}
        part = self._own / f"{_BROUGHT}.part{os.getpid()}"
        part.write_bytes(msgspec.json.encode(rows))
        part.rename(self._own / _BROUGHT)

    def _is_here(self, parts: "Parts") -> bool:
        return os.path.lexists(self._root.joinpath(*map(os.fsdecode, parts)))


def _told(placed: "Brought", detail: Document) -> int:
    """Say what came, and what did not."""
    task_follow.say(f"{placed.files} files of its results are here")
    for name in placed.beside:
        task_follow.say(f"  {printable(name)}: what you have in its place is yours, and stays")
    for words in placed.refused:
        complain(f"not brought: {words}")
    if placed.refused:
        task_follow.say(_again(detail))
    return exits.DEGRADED if placed.refused else exits.OK


def _again(detail: Document) -> str:
    return f"swarmnode task get {detail['task']} brings all of it into a folder of its own"


def _mark_of(found: "Found") -> "FileMark":
    from swarmnode.project.landing import FileMark

    return FileMark(found.size or len(found.target), found.modified_ns, found.inode[1])
