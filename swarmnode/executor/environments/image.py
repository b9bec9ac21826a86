"""An image that was unpacked, as the system that a task sees instead of this machine's.

The folder was made from hostile layers, perhaps by another machine: nothing in it is followed. A
sandbox puts files of its own on some of /etc, and bubblewrap would follow a link there to make the
place for them, out of the sandbox: where these are no plain files nothing is shown.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from os import DirEntry
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.errors import EnvironmentUnknownError
from swarmnode.executor.sandbox.etc import ETC_NET

ROOT: Final = "root"
"""In the environment's folder, the image's root."""
_TASKS_OWN: Final = frozenset(("dev", "proc", "run", "sys", "tmp", "work"))
"""What every task has of its own, whatever an image has there."""
_LAID_OVER: Final = ("passwd", "group", "hosts", *ETC_NET)
_TOP_MAX: Final = 128
"""Names in the root of an image: each is a mount. Distributions have some twenty."""
_ABOUT_BYTES_MAX: Final = 1 << 20
_VARIABLES_MAX: Final = 512
"""Each takes three of the 9,000 words that bubblewrap reads."""


class BuildNote(msgspec.Struct, frozen=True):
    """What the build has noted."""

    variables: Mapping[str, str] = {}
    prefix: str = ""
    """Where an environment of conda was, if it must be seen there."""


def image_binds(root: Path, way: tuple[str, str], laid_over: Sequence[str] = ()) -> tuple[str, ...]:
    """Options that show the image's folders; datasets lie over it at those paths.

    `way` is the option that shows one, and where all of them are.

    Raises EnvironmentUnknownError.
    """
    _check(root)
    with os.scandir(root) as found:
        names = sorted(found, key=lambda entry: entry.name)
    names = _beside(names, laid_over)
    if len(names) > _TOP_MAX:
        raise EnvironmentUnknownError(f"the image has more than {_TOP_MAX} names in its root")
    shown = [entry for entry in names if entry.name not in _TASKS_OWN]
    option, base = way
    options: list[str] = []
    for entry in shown:
        if not entry.is_symlink():
            options += [option, f"{base}/{entry.name}", f"/{entry.name}"]
    for entry in shown:
        if entry.is_symlink():
            target = os.readlink(entry.path)
            if not target.startswith("/") and ".." not in target.split("/"):  # as bin -> usr/bin
                options += ["--symlink", target, f"/{entry.name}"]
    return tuple(options)


def _beside(names: Sequence[DirEntry[str]], laid_over: Sequence[str]) -> list[DirEntry[str]]:
    """What a dataset takes the place of is not shown; within a folder of the image none can be."""
    there = {entry.name for entry in names}
    tops = {path.split("/")[1]: path for path in laid_over}
    for top, path in tops.items():
        if top in there - _TASKS_OWN and path != f"/{top}":
            raise EnvironmentUnknownError(
                f"the image has a /{top} of its own: show data at another place than {path}"
            )
    return [entry for entry in names if entry.name not in tops]


def _check(root: Path) -> None:
    places = [(root, stat.S_ISDIR), (root / "etc", stat.S_ISDIR)]
    places += [(root / "etc" / name, stat.S_ISREG) for name in _LAID_OVER]
    for path, is_right in places:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            mode = 0
        if not is_right(mode):
            place = path.relative_to(root.parent)
            raise EnvironmentUnknownError(f"the image cannot be shown: {place} is not as built")


def about_in(folder: Path) -> BuildNote:
    """Raises EnvironmentUnknownError."""
    path = folder / "about.json"
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return msgspec.json.decode(file.read(_ABOUT_BYTES_MAX), type=BuildNote)
    except (OSError, msgspec.MsgspecError) as error:
        raise EnvironmentUnknownError(
            f"what the image says of itself is damaged: {error}"
        ) from error


def variables_in(about: BuildNote) -> tuple[tuple[str, str], ...]:
    """What it sets for its programs. Raises EnvironmentUnknownError."""
    if len(about.variables) > _VARIABLES_MAX:
        raise EnvironmentUnknownError("the image sets too many variables")
    kept = {name: value for name, value in about.variables.items() if _can_be_set(name, value)}
    return tuple(kept.items())


def _can_be_set(name: str, value: str) -> bool:
    return name.isidentifier() and name.isascii() and "\0" not in value
