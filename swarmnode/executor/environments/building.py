"""What this machine needs to build environments: a CPython of its own, uv, and its indexes."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from swarmnode.errors import ProjectError
from swarmnode.project.environment.indexes import Indexes, indexes_here
from swarmnode.project.environment.uv import uv_program
from swarmnode.tasks.environments.naming import BUILD, IMAGE, PYTHON, RECIPE, UV

_SYSTEM: Final = ("/usr", "/etc/ssl/certs")
_ASK: Final = "import sys; print(sys.implementation.name, *sys.version_info[:2], sys.base_prefix)"


class Building:
    """The builds of one executor."""

    def __init__(self) -> None:
        self._indexes = Indexes({})
        """As this machine's settings say, once it was looked at."""
        self._pythons: dict[str, tuple[Path, Path]] = {}
        """By version: the program and the folder it belongs to."""
        self._uv = ""

    def look(self) -> None:
        """Find out what there is. Blocking."""
        try:
            self._uv = uv_program()
        except ProjectError:
            self._uv = ""  # then images are unpacked here, and nobody is told of more
        else:
            self._indexes = indexes_here(os.environ, Path(os.path.expanduser("~")))
        found = sorted(Path("/usr/bin").glob("python3.*"), reverse=True)
        programs = [path for path in found if re.fullmatch(r"python3\.\d+", path.name)]
        for program in (*programs, Path(getattr(sys, "_base_executable", sys.executable))):
            if told := _asked(program):
                version, prefix = told
                self._pythons.setdefault(version, (program.resolve(), prefix))

    def names(self) -> tuple[str, ...]:
        """What a task may ask for, such as build:3.11."""
        if not self._pythons:
            return ()
        versions = sorted(self._pythons) if self._uv else []
        return tuple(f"{BUILD}{version}" for version in (*versions, IMAGE))

    def options(self, name: str, work: str, sources: Callable[[Path], str]) -> list[str]:
        """What a build sees: `work` is where the task's work folder is bound from."""
        wanted = name.removeprefix(BUILD)
        if wanted == IMAGE:  # any will do: nothing of it goes along
            wanted = min(self._pythons, key=lambda version: len(self._pythons[version][1].parts))
        program, prefix = self._pythons[wanted]
        recipe = Path(__file__).parent / "recipe"
        options = ["--bind", f"{work}/env", "/env"]
        options += ["--ro-bind", sources(recipe), RECIPE]
        options += ["--ro-bind", sources(Path(self._uv)), UV] if self._uv else []
        shown = [] if _is_shown(program) else [prefix]
        for folder in (*shown, *self._folders()):
            options += ["--ro-bind", sources(folder), str(folder)]
        return [*options, "--symlink", str(program), PYTHON]

    def _folders(self) -> list[Path]:
        """Local places of packages; an index of links often leads to files beside it."""
        named = Indexes(self.variables()).folders()
        wanted = {path.parent if path.name == "simple" else path for path in named}
        certificates = self.variables().get("SSL_CERT_FILE")
        wanted |= {Path(certificates)} if certificates else set()
        return sorted(path for path in wanted if path.exists() and not _is_shown(path))

    def variables(self, *, has_network: bool = False) -> Mapping[str, str]:
        """uv's, of this machine. What has a password in it is for nobody's task."""
        kept = self._indexes.for_builders()
        kept["UV_OFFLINE"] = "" if has_network else "1"  # what is on this machine can be had
        return {key: value for key, value in kept.items() if value}


def _is_shown(path: Path) -> bool:
    """Whether every task sees it anyway."""
    return any(path.is_relative_to(folder) for folder in _SYSTEM)


@cache
def _asked(program: Path) -> tuple[str, Path] | None:
    """Version and prefix of a CPython; None for anything else."""
    try:
        done = subprocess.run(  # noqa: S603  (a Python of this machine, no shell)
            [program, "-I", "-S", "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env={"PATH": os.defpath},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.strip().split(" ", 3)
    if done.returncode or len(words) != 4 or words[0] != "cpython":
        return None
    return f"{words[1]}.{words[2]}", Path(words[3])
