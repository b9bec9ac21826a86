"""Machines as their control groups show them: trees of files as they were on real ones.

A real kernel fills a new group with control files and takes them away with it; ordinary files do
neither, so whoever makes a group on one of these has its `mkdir` do that.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

OF_V2: Mapping[str, Mapping[str, str]] = {
    "": {
        "cgroup.procs": "", "cgroup.kill": "", "cgroup.freeze": "0\n", "cgroup.type": "domain\n",
        "cpu.stat": "usage_usec 1500000\nuser_usec 900000\nsystem_usec 600000\n",
    },
    "memory": {
        "memory.max": "max\n", "memory.swap.max": "max\n", "memory.oom.group": "0\n",
        "memory.peak": "7340032\n",
        "memory.events": "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n",
    },
    "pids": {"pids.max": "max\n", "pids.current": "0\n"},
    "cpu": {"cpu.max": "max 100000\n", "cpu.weight": "100\n"},
    "io": {"io.max": "", "io.weight": "default 100\n"},
}  # fmt: skip
"""Control files of a group by the controller that brings them (Debian 12, Linux 6.1)."""

OF_V1: Mapping[str, Mapping[str, str]] = {
    "memory": {
        "memory.limit_in_bytes": "9223372036854771712\n",
        "memory.memsw.limit_in_bytes": "9223372036854771712\n",
        "memory.max_usage_in_bytes": "7340032\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    },
    "pids": {"pids.max": "max\n"},
    "cpu,cpuacct": {
        "cpu.shares": "1024\n", "cpu.cfs_period_us": "100000\n", "cpu.cfs_quota_us": "-1\n",
        "cpuacct.usage": "1500000000\n",
    },
    "freezer": {"freezer.state": "THAWED\n"},
    "blkio": {
        "blkio.throttle.read_bps_device": "", "blkio.throttle.write_bps_device": "",
        "blkio.bfq.weight": "100\n",
    },
}  # fmt: skip
"""Likewise by hierarchy (Debian 10, Linux 4.19)."""


@dataclass(frozen=True)
class GroupHost:
    """A machine, and what a job's group on it is to be."""

    name: str
    own: str
    """Our own group of version 2, below its mount point; of version 1 it is called the same."""
    controllers: str = ""
    """Of version 2, that our own group has."""
    is_delegated: bool = True
    """Our group of version 2 is ours to change."""
    may_hand_down: bool = True
    """Its children may have controllers."""
    v1: tuple[str, ...] = ()
    """Hierarchies of version 1."""
    has_v2: bool = True
    kinds: frozenset[str] = frozenset()
    """Hierarchies in which a job gets a group."""
    takes: tuple[str, ...] = ()
    """Limits that hold."""
    holds_io: bool = False
    troubles: frozenset[str] = frozenset()
    """Controllers of which it is said why they cannot be had."""
    written: Mapping[str, str] = field(default_factory=dict)
    """Of a job of 64 MiB, 16 processes, 2.5 processors and 5 MB/s at disk 8:0."""


WRITTEN_V2: Mapping[str, str] = {
    "memory.max": "67108864", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "16",
    "cpu.weight": "250", "cpu.max": "250000 100000",
    "io.max": "8:0 rbps=5000000 wbps=5000000", "io.weight": "default 25",
}  # fmt: skip
WRITTEN_V1: Mapping[str, str] = {
    "memory.limit_in_bytes": "67108864", "pids.max": "16", "cpu.shares": "2560",
    "cpu.cfs_quota_us": "250000", "blkio.throttle.read_bps_device": "8:0 5000000",
    "blkio.throttle.write_bps_device": "8:0 5000000", "blkio.bfq.weight": "25",
}  # fmt: skip
ALL = ("memory", "pids", "cpu")

HOSTS = [
    GroupHost(
        "a service of systemd with Delegate=yes", "/system.slice/swarm.service",
        controllers="cpuset cpu io memory hugetlb pids rdma misc",
        kinds=frozenset({"v2"}), takes=ALL, holds_io=True, written=WRITTEN_V2,
    ),
    GroupHost(
        "a user's service, which gets memory and pids",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/swarm.service",
        controllers="memory pids",
        kinds=frozenset({"v2"}), takes=("memory", "pids"),
        written={key: WRITTEN_V2[key] for key in ("memory.max", "pids.max")},
    ),
    GroupHost(
        "a session without delegation", "/user.slice/user-1000.slice/session-2.scope",
        controllers="cpu memory pids", is_delegated=False, troubles=frozenset({"v2"}),
    ),
    GroupHost(
        "a scope that holds other processes", "/user.slice/user-1000.slice/session-3.scope",
        controllers="memory pids", may_hand_down=False, kinds=frozenset({"v2"}),
        troubles=frozenset({"memory", "pids"}),
    ),
    GroupHost(
        "a container with groups of its own", "/",
        controllers="cpuset cpu io memory pids",
        kinds=frozenset({"v2"}), takes=ALL, holds_io=True, written=WRITTEN_V2,
    ),
    GroupHost(
        "a container that may not write its groups", "/",
        controllers="cpu io memory pids", is_delegated=False, troubles=frozenset({"v2"}),
    ),
    GroupHost(
        "version 1 with an empty version 2 beside it", "/user.slice",
        v1=("memory", "pids", "cpu,cpuacct", "freezer", "blkio"),
        kinds=frozenset({"v2", "memory", "pids", "cpu", "cpuacct", "freezer", "blkio"}),
        takes=ALL, written=WRITTEN_V1,
    ),
    GroupHost(
        "version 1 alone, without blkio", "/docker/abc", has_v2=False,
        v1=("memory", "pids", "cpu,cpuacct"),
        kinds=frozenset({"memory", "pids", "cpu", "cpuacct"}), takes=ALL,
        written={key: value for key, value in WRITTEN_V1.items() if "blkio" not in key},
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """A host laid out in a folder."""

    host: GroupHost
    root: Path

    @property
    def mountinfo(self) -> str:
        """As /proc/self/mountinfo has it."""
        lines = [
            f"3{n} 30 0:3{n} / {self.root}/{name} rw,nosuid - cgroup cgroup rw,{name}"
            for n, name in enumerate(self.host.v1)
        ]
        if self.host.has_v2:
            lines.append(f"29 30 0:29 / {self.root}/unified rw,nosuid - cgroup2 cgroup2 rw,nsdel")
        return "".join(line + "\n" for line in lines)

    @property
    def membership(self) -> str:
        """As /proc/self/cgroup has it."""
        lines = [f"{n + 2}:{name}:{self.host.own}" for n, name in enumerate(self.host.v1)]
        return "\n".join([*lines, f"0::{self.host.own}" if self.host.has_v2 else "", ""])

    def lay_out(self) -> None:
        """Make the tree."""
        for name in self.host.v1:
            (self.root / name / self.host.own.strip("/")).mkdir(parents=True)
        if self.host.has_v2:
            own = self.root / "unified" / self.host.own.strip("/")
            own.mkdir(parents=True)
            files = {"cgroup.controllers": self.host.controllers + "\n", "cgroup.procs": "1\n"}
            if self.host.may_hand_down:
                files["cgroup.subtree_control"] = "\n"
            if self.host.own != "/":
                files["cgroup.type"] = "domain\n"
                (own / "swarm-node").mkdir()
                (own / "swarm-node" / "cgroup.procs").write_text("")
            for name, text in files.items():
                (own / name).write_text(text)

    def may_write(self, path: str) -> bool:
        """Whether our user may."""
        return self.host.is_delegated or not path.startswith(str(self.root / "unified"))

    def mkdir(self, path: str) -> None:
        """As the kernel makes a group."""
        os.mkdir(path)
        hierarchy = Path(path).relative_to(self.root).parts[0]
        if hierarchy == "unified":
            have = self.host.controllers.split() if self.host.may_hand_down else []
            files = {k: v for name in ("", *have) for k, v in OF_V2.get(name, {}).items()}
        else:
            files = {"cgroup.procs": "", **OF_V1[hierarchy]}
        for name, text in files.items():
            Path(path, name).write_text(text)
