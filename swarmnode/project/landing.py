"""Where a result is to lie: in its place, unless a file of ours lies there that nobody else has.

A file of ours may give way to a result only while it is what was sent with the task, or what an
earlier task brought: then nothing is lost. Any other stays, and the result lies beside it.
"""

from collections.abc import Callable, Mapping

import msgspec

from swarmnode.tree.names import Parts


class FileMark(msgspec.Struct, frozen=True):
    """What tells a file that nobody has touched since."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int


class Landing(msgspec.Struct, frozen=True):
    """Where one result goes."""

    place: Parts
    is_beside: bool
    """A file of ours lies in its own place."""


def landing_of(
    name: Parts,
    here: Callable[[Parts], FileMark | None],
    known: Mapping[Parts, FileMark],
    beside: Callable[[Parts, int], Parts],
) -> Landing:
    """`here`: what lies at a place now; `known`: what was sent, or brought before.

    `beside`: the n-th other name for a place: the task's own, so that two tasks do not meet.
    """
    now = here(name)
    if now is None or known.get(name) == now:
        return Landing(name, is_beside=False)
    number = 1
    while (other := here(place := beside(name, number))) is not None and known.get(place) != other:
        number += 1
    return Landing(place, is_beside=True)
