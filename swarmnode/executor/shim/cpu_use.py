"""Processor time of a job that no control group counts. Shim-side: imports little.

What wait(2) hands on misses processes whose parent ignores its children, so living ones are looked
at as well, now and then; the larger sum is the truth we know.
"""

import os
import time

from swarmnode.executor.kernel.proc import times_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY_S = 0.5
_PROCESSES_MAX = 10_000
"""Remembered: a job of a million short processes is counted by wait(2)."""


class CpuUse:
    """What was seen of one job's processes."""

    def __init__(self) -> None:
        self._ticks: dict[tuple[int, int], int] = {}
        """By pid and start, as seen last; _PROCESSES_MAX at most."""
        self._due_s = 0.0
        """When `look` looks again, on the monotonic clock."""

    def look(self, now_s: float, pids: "Callable[[], list[int]]") -> None:
        """Note what each process has used until now."""
        if now_s < self._due_s:
            return
        self.look_again(pids)
        # On a machine with very many processes a look costs at most a twentieth of a core.
        self._due_s = time.monotonic() + max(_EVERY_S, 20 * (time.monotonic() - now_s))

    def look_again(self, pids: "Callable[[], list[int]]") -> None:
        """The same at once: they are about to be killed."""
        for pid in pids():
            started, ticks = times_of(pid)
            if started and len(self._ticks) < _PROCESSES_MAX:
                self._ticks[pid, started] = ticks

    def total_s(self, waited_s: float) -> float:
        """Seconds used, given what wait(2) told."""
        return max(waited_s, sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK"))
