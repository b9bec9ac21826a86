"""What a job uses, and whether that is more than it may. Shim-side: imports little."""

from swarmnode.executor.disk import work_use
from swarmnode.executor.shim.cpu_use import CpuUse
from swarmnode.executor.shim.disk_watch import DiskWatch
from swarmnode.executor.shim.order import FD_DISK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from swarmnode.executor.shim.order import Order

_EVERY_S = 0.25


class JobUse:
    """Memory and processor by the job's groups, where it has them; disk by a watch of its own."""

    def __init__(self, folder: str, order: "Order", pids: "Callable[[], list[int]]") -> None:
        self._folder = folder
        self._cgroup = order.sandbox.cgroup
        self._has_disk = order.sandbox.has_disk
        self._pids = pids
        """Those of the job, as it is now."""
        self._due_s = 0.0
        """When it is looked at next, on the monotonic clock."""
        self._cpu = CpuUse()
        allowance = order.allowance
        self._disk = DiskWatch(
            folder,
            allowance.disk_bytes + (0 if self._has_disk else allowance.given_bytes),
            allowance.entries_max,
            FD_DISK if self._has_disk else -1,
        )

    def look(self, now_s: float) -> str:
        """Why the job must end, or "". Not for every line that the job prints."""
        if now_s < self._due_s:
            return ""
        self._due_s = now_s + _EVERY_S
        reason = "oom" if self._cgroup.oom_kills() else self._disk.verdict(now_s, self._pids)
        if not self._cgroup.dirs:
            self._cpu.look(now_s, self._pids)
        return reason

    def look_before_kill(self) -> None:
        """What its processes used is known of the living only."""
        if not self._cgroup.dirs:
            self._cpu.look_again(self._pids)

    def final(self, code: int) -> str:
        """It ended by itself, with that exit code: what it broke all the same, or ""."""
        if code and self._cgroup.oom_kills():
            return "oom"
        if over := self._disk.final(self._pids):
            return over
        if self._has_disk and not work_use.is_whole(self._folder, FD_DISK):
            return "lost"
        return ""

    def cpu_s(self, waited_s: float) -> float:
        """Processor seconds, given what wait(2) told."""
        return self._cgroup.cpu_s() or self._cpu.total_s(waited_s)

    def memory_peak_bytes(self, waited_bytes: int) -> int:
        """The most memory it ever held, given what wait(2) told."""
        return self._cgroup.memory_peak_bytes() or waited_bytes
