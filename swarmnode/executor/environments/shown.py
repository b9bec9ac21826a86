"""How an environment is shown, whatever kind it is."""

from pathlib import Path
from typing import Final, Protocol

import msgspec

PLACE: Final = "/env"
"""Where a task sees it, as its build saw it: nothing in it needs to be moved."""


class BindSources(Protocol):
    """Where a sandbox finds folders of this machine."""

    def __call__(self, path: Path, /) -> str:
        """One that is shown read-only, or that the task has alone."""

    def writable(self, path: Path, /) -> tuple[str, str]:
        """One that many tasks see, and each may write to, which changes nothing in it: the option
        that shows it, or a part of it, and where it is."""


class Shown(msgspec.Struct, frozen=True):
    """What a sandbox adds for one environment."""

    options: tuple[str, ...] = ()
    bins: tuple[str, ...] = ()
    """Folders of programs that are looked through first."""
    variables: tuple[tuple[str, str], ...] = ()
    """What the task does not set itself."""
    libraries: str = ""
    """Folders of libraries that come before the machine's, as LD_LIBRARY_PATH has them."""
    has_own_system: bool = False
    """It brings the programs and libraries of a whole system: the machine's /usr is not shown."""
    system: tuple[str, ...] = ()
    """Options that show that system, before anything else is laid over it."""
