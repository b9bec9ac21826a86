"""When a job has used more of the disk than it may. Shim-side: imports little.

A job with a file system of its own is asked four times a second, at no cost. Any other is measured,
and what measuring misses is met by rules: files that were sent and that nobody takes count as over
the limit once the job has written more than it may have since; and a tree that takes long to walk
is walked again as soon as the machine's disk loses what the job has left.
"""

import os
import time

from swarmnode.executor.disk import disk_use, work_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TICK_S = 0.25
_IN_FLIGHT_S = 2.0
"""A file is received in milliseconds; one that waits for this long is being hidden, or may be."""
_COST_PARTS, _COST_PARTS_URGENT = 20, 4
"""Watching a big tree takes at most this part of a core, and of it when the disk shrinks."""


class DiskWatch:
    """One job's disk: its own file system by descriptor, or the folders it may write."""

    def __init__(self, folder: str, disk_bytes: int, entries_max: int, own_fd: int) -> None:
        self._folder = folder
        self._disk_bytes = disk_bytes
        """What the job may use."""
        self._entries_max = entries_max
        """Files that one look walks over: more of them end the job."""
        self._own_fd = own_fd
        """-1 for a job that is measured."""
        self._due_s = 0.0
        """When it is looked at next, on the monotonic clock."""
        self._urgent_s = 0.0
        """The same while the machine's disk loses what the job has left."""
        self._used = 0
        """Bytes that the newest look found."""
        self._free_then = self._free()
        """Bytes free on the machine's disk at that look."""
        self._hidden_since_s = 0.0
        """Since when files are on their way between sockets; 0: none were."""
        self._written_then = 0
        """Bytes written by the job when none were, the last time."""

    def verdict(self, now_s: float, pids: "Callable[[], list[int]]") -> str:
        """Why the job must end, or "": disk, files, or lost: the machine's disk is full."""
        is_shrinking = self._free_then - self._free() > self._disk_bytes - self._used
        if now_s < self._due_s and not (is_shrinking and now_s >= self._urgent_s):
            return ""
        reason = self.final(pids)
        if not reason and self._own_fd >= 0 and work_use.is_host_tight(self._folder):
            reason = "lost"
        took_s = time.monotonic() - now_s
        self._due_s = time.monotonic() + max(_TICK_S, _COST_PARTS * took_s)
        self._urgent_s = time.monotonic() + max(_TICK_S, _COST_PARTS_URGENT * took_s)
        return reason

    def final(self, pids: "Callable[[], list[int]]") -> str:
        """The same without a thought of cost."""
        self._free_then = self._free()
        if self._own_fd >= 0:
            self._used = work_use.used_bytes(self._own_fd)
            return "disk" if self._used > self._disk_bytes else ""
        try:
            self._used = self._walked()
        except disk_use.TooManyEntriesError:
            return "files"
        processes = pids()
        self._used += disk_use.unlinked_use(processes, os.stat(self._folder).st_dev)
        is_over = self._used > self._disk_bytes or self._hides(processes)
        return "disk" if is_over else ""

    def _walked(self) -> int:
        """Bytes in the folders that the job may write. Raises TooManyEntriesError."""
        folders = [f"{self._folder}/{name}" for name in ("work", "tmp")]
        return sum(
            disk_use.disk_use(folder, self._entries_max)
            for folder in folders
            if os.path.isdir(folder)
        )

    def _hides(self, pids: "list[int]") -> bool:
        """Whether files lie between sockets while the job writes more than it may."""
        now_s = time.monotonic()
        if not disk_use.in_flight(pids):
            self._hidden_since_s = 0.0
            self._written_then = disk_use.written(pids)
        elif not self._hidden_since_s:
            self._hidden_since_s = now_s
        elif now_s - self._hidden_since_s > _IN_FLIGHT_S:
            return disk_use.written(pids) - self._written_then > self._disk_bytes
        return False

    def _free(self) -> int:
        disk = os.statvfs(self._folder)
        return disk.f_bfree * disk.f_frsize
