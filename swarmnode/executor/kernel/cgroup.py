"""Control groups of one job, version 1, version 2 or both: limits, a sure kill, and accounts.

A job's groups are made below the group this process is in, so that every outer limit still holds:
cgroup_parents.py. The node makes them; the shim enters, reads, kills and removes them. The shim
starts in milliseconds, so this file imports little.

Version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html
Version 1: https://docs.kernel.org/admin-guide/cgroup-v1/index.html
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

V2 = "v2"
"""Stands for all controllers of version 2 in `dirs`. swarmnode.resources.cgroup_paths says so, too;
it is not imported here: it would cost each shim a quarter of a millisecond."""

_RETRY_S = 0.005
_AGAIN_S = 0.5
"""A number may be another process's by then, which was forked while its parent died."""
_PERIOD_US = 100_000
"""A job that used its share of the processor waits for the rest of this; the kernel's default."""
_IO_WEIGHT = 25
"""Of a disk that is wanted by others, too: a quarter of what the node and its owner get, 100."""
SIGKILL = 9


class JobCgroup:
    """The groups of one job. `dirs` is what the crash record holds: controller to directory."""

    def __init__(self, dirs: "Mapping[str, str]") -> None:
        self.dirs = dict(dirs)

    def make(
        self,
        memory_bytes: int,
        pids_max: int,
        cpu_millis: int,
        mkdir: "Callable[[str], None]" = os.mkdir,
    ) -> "tuple[str, ...]":
        """Create the groups and set the limits; which of memory, pids and cpu now hold.

        Left-overs of an earlier job of that name are killed and removed first.
        """
        # One directory may serve cpu and cpuacct.
        made = [path for path in dict.fromkeys(self.dirs.values()) if _make(path, mkdir)]
        self.dirs = {kind: path for kind, path in self.dirs.items() if path in made}
        enforced = self._limit_v1(memory_bytes, pids_max, cpu_millis)
        if V2 in self.dirs:
            enforced += self._limit_v2(self.dirs[V2], memory_bytes, pids_max, cpu_millis)
        return tuple(name for name in ("memory", "pids", "cpu") if name in enforced)

    def _limit_v2(
        self, base: str, memory_bytes: int, pids_max: int, cpu_millis: int
    ) -> "list[str]":
        enforced = []
        if try_write(base + "/memory.max", str(memory_bytes)):
            try_write(base + "/memory.swap.max", "0")
            try_write(base + "/memory.oom.group", "1")
            enforced.append("memory")
        if try_write(base + "/pids.max", str(pids_max)):
            enforced.append("pids")
        weight = max(1, min(10_000, cpu_millis // 10))  # one core is the default weight, 100
        try_write(base + "/cpu.weight", str(weight))
        if try_write(base + "/cpu.max", f"{_quota_us(cpu_millis)} {_PERIOD_US}"):
            enforced.append("cpu")
        return enforced

    def _limit_v1(self, memory_bytes: int, pids_max: int, cpu_millis: int) -> "list[str]":
        enforced = []
        memory = self.dirs.get("memory")
        if memory and try_write(memory + "/memory.limit_in_bytes", str(memory_bytes)):
            try_write(memory + "/memory.memsw.limit_in_bytes", str(memory_bytes))
            enforced.append("memory")
        pids = self.dirs.get("pids")
        if pids and try_write(pids + "/pids.max", str(pids_max)):
            enforced.append("pids")
        cpu = self.dirs.get("cpu")
        if cpu and _limit_cpu_v1(cpu, cpu_millis):
            enforced.append("cpu")
        return enforced

    def limit_io(self, disk: str, bytes_per_s: int) -> bool:
        """Have the job go after others at that disk, and take so much of it at most; 0: no most.

        Whether the most holds for all of it: version 1 lets by what is written through memory.
        """
        base = self.dirs.get(V2, "")
        for name in ("/io.weight", "/io.bfq.weight"):
            try_write(base + name, f"default {_IO_WEIGHT}")
        old = self.dirs.get("blkio", "")
        try_write(old + "/blkio.bfq.weight", str(_IO_WEIGHT))
        if not (disk and bytes_per_s):
            return False
        for way in ("read", "write"):
            try_write(f"{old}/blkio.throttle.{way}_bps_device", f"{disk} {bytes_per_s}")
        return try_write(base + "/io.max", f"{disk} rbps={bytes_per_s} wbps={bytes_per_s}")

    def enter(self) -> None:
        """Put the calling process into the groups; between fork and exec. Raises OSError."""
        for path in self.dirs.values():
            _write(path + "/cgroup.procs", "0")

    def processes(self) -> "list[int]":
        """Host pids of everything in the groups, sorted."""
        pids: set[int] = set()
        for path in self.dirs.values():
            pids.update(int(pid) for pid in read_control(path + "/cgroup.procs").split())
        pids.discard(0)
        return sorted(pids)

    def kill(self, timeout_s: float) -> bool:
        """Kill everything inside; True once nothing is left.

        cgroup.kill (Linux 5.14) beats fork races by itself; on version 1 the freezer does. Who was
        killed is not frozen again: each time would put its end off.
        """
        self._lift_cpu()
        base = self.dirs.get(V2)
        is_sure = base is not None and try_write(base + "/cgroup.kill", "1")
        killed: set[int] = set()
        again_s = time.monotonic() + _AGAIN_S
        deadline_s = time.monotonic() + timeout_s
        looked_s = time.monotonic()
        while left := self.processes():
            now_s = time.monotonic()
            if now_s > deadline_s:
                return False
            if now_s > again_s:
                is_sure, killed, again_s = False, set(), now_s + _AGAIN_S
            if not (is_sure or killed.issuperset(left)):
                self.kill_some(self.processes)
                killed.update(left)
            time.sleep(max(_RETRY_S, 4 * (now_s - looked_s)))  # they need the processor more
            looked_s = time.monotonic()
        return True

    def kill_some(self, pids: "Callable[[], list[int]]") -> None:
        """Kill these; where the groups can be frozen none of them can fork meanwhile."""
        self._freeze("1", "FROZEN")
        for pid in pids():
            send_signal(pid, SIGKILL)
        self._freeze("0", "THAWED")

    def _freeze(self, v2: str, v1: str) -> None:
        try_write(self.dirs.get(V2, "") + "/cgroup.freeze", v2)
        try_write(self.dirs.get("freezer", "") + "/freezer.state", v1)

    def _lift_cpu(self) -> None:
        """Who dies needs the processor, too: a thousand at a tenth of one take seconds."""
        try_write(self.dirs.get(V2, "") + "/cpu.max", f"max {_PERIOD_US}")
        try_write(self.dirs.get("cpu", "") + "/cpu.cfs_quota_us", "-1")

    def oom_kills(self) -> int:
        """Processes the kernel killed here for want of memory."""
        for kind, name in ((V2, "memory.events"), ("memory", "memory.oom_control")):
            if kind in self.dirs:
                for line in read_control(f"{self.dirs[kind]}/{name}").splitlines():
                    key, _, count = line.partition(" ")
                    if key == "oom_kill" and int(count) > 0:
                        return int(count)
        return 0

    def memory_peak_bytes(self) -> int:
        """The most memory the groups ever held; 0 where the kernel does not tell."""
        peaks = [0]
        for kind, name in ((V2, "memory.peak"), ("memory", "memory.max_usage_in_bytes")):
            if kind in self.dirs:
                peaks.append(int(read_control(f"{self.dirs[kind]}/{name}") or 0))
        return max(peaks)

    def cpu_s(self) -> float:
        """Processor seconds used inside; 0 where the kernel does not tell."""
        if "cpuacct" in self.dirs:
            return int(read_control(self.dirs["cpuacct"] + "/cpuacct.usage") or 0) / 1e9
        for line in read_control(self.dirs.get(V2, "") + "/cpu.stat").splitlines():
            key, _, value = line.partition(" ")
            if key == "usage_usec":
                return int(value) / 1e6
        return 0.0

    def remove(self) -> bool:
        """Remove the empty groups; version 1 needs a moment after a kill, so this tries again."""
        removed = [_remove(path) for path in self.dirs.values()]
        return all(removed)


def send_signal(pid: int, number: int) -> bool:
    """Signal a process, or with a negative pid its group; False when it is not there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _quota_us(cpu_millis: int) -> int:
    """Of each period."""
    return max(1000, cpu_millis * _PERIOD_US // 1000)  # the kernel's least is a millisecond


def _limit_cpu_v1(base: str, cpu_millis: int) -> bool:
    shares = max(2, cpu_millis * 1024 // 1000)  # one core is the default, 1024
    if not try_write(base + "/cpu.shares", str(shares)):
        return False
    try_write(base + "/cpu.cfs_period_us", str(_PERIOD_US))
    return try_write(base + "/cpu.cfs_quota_us", str(_quota_us(cpu_millis)))


def _make(path: str, mkdir: "Callable[[str], None]") -> bool:
    """An empty group; whether it can be had."""
    if os.path.isdir(path):
        JobCgroup({"": path}).kill(1.0)
        _remove(path)
    try:
        mkdir(path)
    except OSError:
        return False
    return True


def _remove(path: str) -> bool:
    for _ in range(200):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            time.sleep(_RETRY_S)
        else:
            return True
    return False


def read_control(path: str) -> str:
    """The text of a control file, or nothing where this kernel does not have it."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY)  # never O_CREAT: a missing control file is an error
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def try_write(path: str, value: str) -> bool:
    """Whether a control file took that; one that is not there is never made."""
    try:
        _write(path, value)
    except OSError:
        return False
    return True
