"""How the files of one mount are open: which the kernel reads by itself. Decides only.

A file that is wholly on this machine can be handed to the kernel, which then reads it as fast as
any (*passthrough*, Linux 6.9). The kernel insists that all who have a file open at a time have it
in the same way, and once handed over it stays so for as long as there is the mount; so it happens
when nobody has it open. Who answers after another process knows what that one handed over, but not
what is open besides: then it stays as it is.
Source: https://docs.kernel.org/filesystems/fuse-passthrough.html
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

PASSED_MAX: Final = 4096
"""Files of one mount that the kernel has: each is an open file of the machine."""


class Opens:
    """By number of the inode."""

    def __init__(self, passed: Mapping[int, int] | None = None, *, is_wanted: bool = True) -> None:
        """`passed`: what a process before us handed over. `is_wanted`: else nothing is."""
        self.passed = dict(passed or {})
        """The kernel's numbers of the files that it reads by itself."""
        self.is_wanted = is_wanted
        self.is_agreed = False
        """The kernel does such a thing."""
        self._is_known = passed is None
        """We have seen each opening."""
        self._open: Counter[int] = Counter()
        """How often a file is open for which we are asked."""

    @property
    def are_asked(self) -> bool:
        """Whether openings are answered at all; else none is ever asked for again."""
        return self.is_agreed or not self._is_known

    def may_pass(self, node: int) -> bool:
        """Whether it could be handed over now."""
        is_allowed = self.is_agreed and self._is_known and len(self.passed) < PASSED_MAX
        return is_allowed and not self._open[node]

    def refuse(self) -> None:
        """Nothing can be handed over on this machine."""
        self._is_known = False

    def pass_on(self, node: int, backing: int) -> None:
        """The kernel has it, under that number."""
        self.passed[node] = backing

    def opened(self, node: int) -> None:
        """Somebody has opened it who asks us for its bytes."""
        self._open[node] += 1

    def released(self, node: int) -> None:
        """Somebody has closed it."""
        if node not in self.passed:
            self._open -= Counter([node])
