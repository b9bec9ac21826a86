"""When the log of an ended task is put that still grows: at rest, or in ever longer steps.

Each object holds the whole log again, so that one for every piece that came would be the square of
the log. A log that grows for T seconds after its task's end comes to about log2(T) objects.
"""

import math
from typing import Final

import msgspec

from swarmnode.tasks.ids import TaskId

QUIET_S: Final = 1.0
"""A log of which nothing has come for so long rests; twice as long after each put."""
DOUBLINGS_MAX: Final = 6
"""About a minute."""
PATIENCE: Final = 8
"""One that never rests is put after so many times that."""
REMEMBERED_S: Final = 600.0
"""A log that has rested so long has come to its end: providers keep theirs for five minutes."""


class _Growing(msgspec.Struct):
    """Of a log of which something came after its task's end."""

    grown_s: float
    """When something came, the last time."""
    since_s: float | None
    """When the first came that is in no object; None: nothing did."""
    puts: int = 0
    """How often it was put since it began to grow."""

    def due_s(self) -> float:
        """When it is to be put, if nothing more comes."""
        quiet_s = QUIET_S * (1 << min(self.puts, DOUBLINGS_MAX))
        rests_s = self.grown_s + quiet_s
        return rests_s if self.since_s is None else min(rests_s, self.since_s + PATIENCE * quiet_s)


class Growth:
    """Knows the logs that grow; any other one rests."""

    def __init__(self) -> None:
        self._growing: dict[TaskId, _Growing] = {}
        """Until REMEMBERED_S after the last piece; the one that grew last is the last."""

    def grown(self, task: TaskId, now_s: float) -> None:
        """More of a log has come, after the end of its task."""
        self.forget_old(now_s)
        growing = self._growing.pop(task, _Growing(now_s, now_s))
        self._growing[task] = growing
        growing.grown_s = now_s
        if growing.since_s is None:
            growing.since_s = now_s

    def put(self, task: TaskId, began_s: float) -> None:
        """It is in the pool as it was then."""
        if (growing := self._growing.get(task)) is not None:
            growing.puts += 1
            growing.since_s = growing.grown_s if growing.grown_s > began_s else None

    def due_s(self, task: TaskId) -> float:
        """When its log may be put."""
        growing = self._growing.get(task)
        return -math.inf if growing is None else growing.due_s()

    def forget_old(self, now_s: float) -> None:
        """Logs that have long been at rest."""
        while self._growing:
            oldest = next(iter(self._growing))
            if now_s - self._growing[oldest].grown_s < REMEMBERED_S:
                return
            del self._growing[oldest]

    def __len__(self) -> int:
        """Logs that grow, or grew lately."""
        return len(self._growing)
