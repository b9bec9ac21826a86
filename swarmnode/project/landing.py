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
    suffix: bytes,
) -> Landing:
    """`here`: what lies at a place now; `known`: what was sent, or brought before.

    `suffix` ends the name of what lies beside: the task's own, so that two tasks do not meet.
    """
    now = here(name)
    if now is None or known.get(name) == now:
        return Landing(name, is_beside=False)
    beside = (*name[:-1], name[-1] + suffix)
    number = 1
    while here(beside) is not None and known.get(beside) != here(beside):
        number += 1
        beside = (*name[:-1], name[-1] + suffix + b"-%d" % number)
    return Landing(beside, is_beside=True)
