"""What a task made, back in the project's folder; a file of ours is never lost for it.

Each result is brought whole into `.swarm/` first; swarmnode.project.placing moves it from there.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swarmnode.cli import exits
from swarmnode.cli.client import ApiError, Client, Document, NodeUnreachableError
from swarmnode.cli.files import folders
from swarmnode.cli.output import complain, printable
from swarmnode.cli.project.brought import beside, brought, note
from swarmnode.cli.project.own import own_folder, own_or_refuse
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task.leaving import told_when_ended

if TYPE_CHECKING:
    from swarmnode.project.landing import FileMark
    from swarmnode.project.placing import Brought
    from swarmnode.tree.scan import Found

_TASK_CHARS: Final = 8


class Bringer:
    """One task's results on their way into a project; made before the task is handed in."""

    def __init__(self, root: Path, sent: Sequence["Found"]) -> None:
        """Raises CliError where nothing could be brought: better now than after hours of work."""
        from swarmnode.tree.format import EntryKind

        self._root, self._own = root, own_or_refuse(root)
        files = (name for name in sent if name.kind is not EntryKind.FOLDER)
        self._sent = {name.parts: mark_of(name) for name in files}

    def bring(self, client: Client, detail: Document) -> int:
        """All outputs of a task that has ended; the exit code for what could not be brought."""
        from swarmnode.errors import OutputUnsafeError

        try:
            with (
                told_when_ended(lambda: _again(detail)),
                own_folder(self._root) as own,
                _alone(own),
            ):
                return self._bring_all(client, detail)
        except OSError as error:
            words = error.strerror or str(error)
        except (ApiError, NodeUnreachableError, EOFError, OutputUnsafeError) as error:
            words = str(error)
        except KeyboardInterrupt:
            task_follow.say(_again(detail))
            raise
        complain(f"{folders.shown(self._root)}: {words}: {_again(detail)}")
        return exits.ERROR

    def _bring_all(self, client: Client, detail: Document) -> int:
        """One output after another: of one that did not come whole nothing is placed."""
        from swarmnode.project.placing import Brought

        for left in self._own.glob("*.part"):  # of one that was killed: nobody else brings now
            folders.remove(left)
        place = self._own / f"{detail['task'][:_TASK_CHARS]}.part"
        told, code = Brought(), exits.OK
        try:
            place.mkdir()
            for number, output in enumerate(detail["outputs"]):
                whole = {**detail, "outputs": [output]}
                code = self._bring(client, whole, place / str(number), told) or code
        finally:
            folders.remove(place)
        return _told(told, detail) or code

    def _bring(self, client: Client, detail: Document, place: Path, told: "Brought") -> int:
        from swarmnode.cli.task.get import Bringing
        from swarmnode.project.placing import Placer, root_folder
        from swarmnode.tree.names import parts_in

        place.mkdir()
        bringing = Bringing(client, place)
        bringing.bring(detail, ("outputs",))
        if bringing.code:
            return bringing.code
        spec, before = detail["spec"], brought(self._root)
        root = root_folder(self._root)
        try:
            placer = Placer(
                place / "outputs",
                root,
                {**before, **self._sent},
                spec["outputs"],
                f".{detail['task'][:_TASK_CHARS]}".encode(),
                passes_over=bool(spec.get("changes")),
            )
            try:
                placer.place()
            finally:  # also of what was placed before a Ctrl-C
                aside = beside(self._root) | set(map(parts_in, placer.placed.beside))
                note(self._root, before | placer.placed.marks, aside)
                told.add(placer.placed)
        finally:
            os.close(root)
        return exits.OK


@contextmanager
def _alone(own: int) -> Iterator[None]:
    """Two tasks that end together bring one after the other."""
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=own)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _told(placed: "Brought", detail: Document) -> int:
    """Say what came, and what did not."""
    files = (
        "1 file of its results is"
        if placed.files == 1
        else f"{placed.files} files of its results are"
    )
    task_follow.say(f"{files} here")
    for name in placed.beside:
        task_follow.say(f"  {printable(name)}: what you have in its place is yours, and stays")
    for words in placed.refused:
        complain(f"not brought: {words}")
    if placed.refused:
        task_follow.say(_again(detail))
    return exits.DEGRADED if placed.refused else exits.OK


def _again(detail: Document) -> str:
    return f"swarmnode task get {detail['task']} brings all of it into a folder of its own"


def mark_of(found: "Found") -> "FileMark":
    """A file as it was seen."""
    from swarmnode.project.landing import FileMark

    size = found.size or len(found.target)
    return FileMark(size, found.modified_ns, found.changed_ns, found.inode[1])
