"""The project as if it were installed: its modules, its scripts, and what is told of it."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarmnode.cli import exits
from swarmnode.cli.client import Document
from swarmnode.cli.files.local import cannot_write
from swarmnode.cli.output import printable
from swarmnode.cli.task import follow as task_follow
from swarmnode.cli.task.inputs import Input
from swarmnode.cli.task.wrapped import INSTALLED, ITSELF

if TYPE_CHECKING:
    from swarmnode.project.itself.about import Distribution
    from swarmnode.project.root import Project


@dataclass(frozen=True, slots=True)
class Itself:
    """What of a project would be installed: nothing, it, or it and folders of it."""

    modules: tuple[str, ...]
    """Folders that its modules are imported from, from its root."""
    told: "tuple[Distribution, ...]"

    def show(self, spec: Document) -> None:
        """A task imports its modules; what is not known of it is said."""
        if self.told:
            places = ":".join(place or "." for place in self.modules)
            spec["run"] = [*INSTALLED, places, *spec["run"]]
        elif self.modules:  # unless it says itself what it imports
            path = ":".join(f"/work/{place}".rstrip("/") for place in self.modules)
            spec.setdefault("variables", {}).setdefault("PYTHONPATH", path)
        for line in (one.doubt for one in self.told if one.doubt):
            task_follow.say(printable(line))

    @contextmanager
    def folder(self) -> Iterator[Input | None]:
        """A folder that tells programs of it, to go along. Raises CliError."""
        from swarmnode.project.itself.files import files_of

        if not self.told:
            yield None
            return
        with tempfile.TemporaryDirectory() as top:
            try:
                for place, text, is_program in files_of(self.told):
                    file = Path(top, place)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8")
                    file.chmod(0o755 if is_program else 0o644)
            except OSError as error:
                raise cannot_write(f"{tempfile.gettempdir()} (TMPDIR)", error) from error
            yield Input(ITSELF, path=Path(top))


def is_own_script(project: "Project", argv: Sequence[str]) -> bool:
    """Whether a command is one of the project's own scripts, which Python runs. Raises CliError."""
    told = itself_of(project, has_image=False).told
    return bool(argv) and any(argv[0] in one.entries.get("console_scripts", ()) for one in told)


def itself_of(project: "Project", *, has_image: bool) -> Itself:
    """What there is. Raises CliError.

    In an image a folder is no such place: a PYTHONPATH of the image's own would be lost for it. It
    has `src/` all the same, which nothing else would find.
    """
    from swarmnode.errors import ProjectError
    from swarmnode.project.itself.about import distributions_in, modules_in

    try:
        own = modules_in(project.root)
        if has_image:
            return Itself((own,) if own else (), ())
        told = tuple(distributions_in(project.root))
    except ProjectError as error:
        raise exits.CliError(str(error), exits.USAGE) from error
    places = [*([] if own is None else [own]), *(one.modules for one in told)]
    return Itself(tuple(dict.fromkeys(places)), told)
