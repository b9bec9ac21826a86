"""Mounts as /proc/self/mountinfo tells them: names of any bytes.

Format: proc(5). Fields are parted by one space each; a space, tab, newline, backslash or `#` in a
name is a backslash and three octal digits; other bytes are as they are, UTF-8 or not.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNTINFO = "/proc/self/mountinfo"
MEMBERSHIP = "/proc/self/cgroup"


class Mount:
    """One line."""

    __slots__ = ("kind", "options", "point", "root")

    def __init__(self, root: str, point: str, kind: str, options: str) -> None:
        self.root = root
        """What of the file system is mounted."""
        self.point = point
        """Where."""
        self.kind = kind
        """Of the file system."""
        self.options = options
        """Of the file system, parted by commas; for cgroup version 1 its controllers."""


def read_proc(path: str) -> str:
    """The text, whatever bytes are in it: those that are no UTF-8 as in names of files."""
    with open(path, "rb") as file:
        return os.fsdecode(file.read())


def mounts_in(mountinfo: str) -> "Iterator[Mount]":
    """Each mount, in the order in which they were made; lines that are none are skipped."""
    for line in mountinfo.split("\n"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) >= 5 and len(kind) >= 3:
            yield Mount(_plain(fields[3]), _plain(fields[4]), kind[0], kind[2])


def _plain(name: str) -> str:
    first, *others = name.split("\\")
    return first + "".join(
        chr(int(part[:3], 8)) + part[3:] if part[:3].isdecimal() else "\\" + part for part in others
    )
