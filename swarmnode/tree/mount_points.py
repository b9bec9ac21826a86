"""Where in its sandbox a task may see a dataset. Decides only."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from swarmnode.errors import NameRefusedError
from swarmnode.tree.limits import FILE_NAME_BYTES_MAX
from swarmnode.tree.names import normal

WORK: Final = "/work"
_OURS: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/sys",
    "/dev", "/run", "/tmp", "/boot", "/env",  # noqa: S108
)  # fmt: skip
"""What every task has there already: programs, devices, scratch, its environment."""


class DataMount(msgspec.Struct, frozen=True):
    """One dataset of a job."""

    target: str
    """Where the task sees it: absolute."""
    cap: str
    """Its capability."""
    is_folder: bool = True
    source: str = ""
    """Where all of it lies on this machine; empty: whoever was set by `on_data` answers for it."""


def data_place(given: str) -> str:
    """The path, written in one way: absolute, or beneath the work folder. ValueError: why not."""
    if not given.startswith("/"):
        place = normal(given)
        if place == ".":
            raise ValueError(f"{given!r} is the work folder itself: name a folder in it, or /data")
        return place
    parts = [part for part in given.split("/") if part not in ("", ".")]
    place = "/" + "/".join(parts)
    if ".." in parts or not place.isprintable() or len(place.encode()) > FILE_NAME_BYTES_MAX:
        raise ValueError(f"{given!r} is no path to show data at")
    if place == WORK or place == "/":
        raise ValueError(f"{given!r} has the task's own files: use {WORK}/NAME, or /data")
    if place.startswith(f"{WORK}/"):
        return _beneath(place.removeprefix(f"{WORK}/"))
    for ours in _OURS:
        if place == ours or place.startswith(f"{ours}/"):
            raise ValueError(f"{given!r}: {ours} is the task's own, use another, such as /data")
    return place


def _beneath(name: str) -> str:
    try:
        return normal(name)
    except NameRefusedError as error:
        raise ValueError(str(error)) from error


def refuse_nested(places: Sequence[str]) -> None:
    """Raises ValueError when one would lie in another, or two at one place."""
    ordered = sorted(f"{place}/" for place in places)
    for one, other in pairwise(ordered):
        if other.startswith(one):
            raise ValueError(f"{other[:-1]!r} would lie in {one[:-1]!r}: give each its own place")
