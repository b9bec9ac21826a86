"""What the node wants run, as the shim reads it once. Shim-side: imports little."""

from swarmnode.executor.kernel.cgroup import JobCgroup


class Order:
    """What the node wants run."""

    def __init__(self, entries: "list[tuple[str, str]]") -> None:
        single = dict(entries)
        self.argv = [value for key, value in entries if key == "argv"]
        self.env = dict(value.partition("=")[::2] for key, value in entries if key == "env")
        self.cgroup = JobCgroup(
            dict(value.partition("=")[::2] for key, value in entries if key == "cgroup")
        )
        self.wall_s = float(single["wall_s"])
        self.disk_bytes = int(single["disk_bytes"])
        self.memory_bytes = int(single["memory_bytes"])
        self.log_bytes = int(single["log_bytes"])
        self.entries_max = int(single["entries_max"])
        self.pids_rlimit = int(single.get("pids_rlimit", 0))
        self.nofile = int(single["nofile"])
        self.enforced = single["enforced"]
        self.seccomp = single["seccomp"]
        self.cpus = [int(cpu) for cpu in single.get("cpus", "").split()]
        self.has_disk = bool(single.get("has_disk"))
        self.given_bytes = int(single.get("given_bytes", 0))
        self.bwrap_args = single.get("bwrap_args", "")
        self.stage = [value for key, value in entries if key == "stage"]
        self.uid = int(single.get("uid", 0))
        self.guard_uid = int(single.get("guard_uid", 0))
        self.is_container = self.guard_uid > 0
        self.lease = single.get("lease", "")
