"""What the node wants run, as the shim reads it once. Shim-side: imports little."""

from swarmnode.executor.kernel.cgroup import JobCgroup

FD_DISK = 29
"""Where the shim finds the job's file system, if it has one; mounted nowhere yet."""
FD_ARGS, FD_SECCOMP, FD_STATUS, FD_BLOCK = 40, 41, 42, 43
"""Numbers under which bubblewrap finds its files; the node names them in its arguments."""


FD_HATCH = 44
"""By which the child hands out what it has made; bubblewrap has it no more."""
MOUNTS_MAX = 16
"""swarmnode.limits says so, too (DATA_MAX)."""


class Order:
    """What the node wants run."""

    def __init__(self, entries: "list[tuple[str, str]]") -> None:
        single = dict(entries)
        self.argv = [value for key, value in entries if key == "argv"]
        self.env = dict(value.partition("=")[::2] for key, value in entries if key == "env")
        self.allowance = Allowance(single)
        self.sandbox = Sandbox(entries)
        self.lease = single.get("lease", "")
        """As Lease takes it; empty: for ever."""
        self.enforced = single["enforced"]
        """Limits that hold for it, for the exit file."""


class Allowance:
    """What the job may use."""

    def __init__(self, single: "dict[str, str]") -> None:
        self.wall_s = float(single["wall_s"])
        """Seconds from the start of the shim."""
        self.disk_bytes = int(single["disk_bytes"])
        self.given_bytes = int(single.get("given_bytes", 0))
        """What the work folder held before the start: not the job's use."""
        self.entries_max = int(single["entries_max"])
        """Files that measuring its disk may find."""
        self.memory_bytes = int(single["memory_bytes"])
        self.log_bytes = int(single["log_bytes"])
        """Of each stream."""
        self.pids_rlimit = int(single.get("pids_rlimit", 0))
        """Processes of its user; 0: a control group counts them."""
        self.nofile = int(single["nofile"])
        self.cpus = [int(cpu) for cpu in single.get("cpus", "").split()]
        """Processors that it runs on; none: any."""


class Data:
    """How the job reads its datasets."""

    def __init__(self, entries: "list[tuple[str, str]]") -> None:
        single = dict(entries)
        self.has_web = bool(single.get("web"))
        """By HTTP, too."""
        self.mounts = [value for key, value in entries if key == "mount"]
        """Of each dataset that is answered by a node: what it is, and for whom is not staged where
        it lies, as `d/PATH` or `f/PATH`."""
        self.node_away_s = float(single.get("node_away_s", 0))
        """So long readers of datasets wait for a node that is gone."""


class System:
    """A whole system that lies beneath what a job writes to it."""

    def __init__(self, single: "dict[str, str]") -> None:
        self.below = single["system"]
        self.folder = single["system_at"]
        """Where it is mounted, in the job's own namespace."""
        self.size = int(single["system_bytes"])
        """In memory, of what is written."""


class Sandbox:
    """Where the job runs, and as whom: by bubblewrap, or as a user of its own in a container."""

    def __init__(self, entries: "list[tuple[str, str]]") -> None:
        single = dict(entries)
        self.cgroup = JobCgroup(
            dict(value.partition("=")[::2] for key, value in entries if key == "cgroup")
        )
        self.seccomp = single["seccomp"]
        """Path of the filter's program."""
        self.has_disk = bool(single.get("has_disk"))
        """Its work folder is a file system of its own, behind FD_DISK."""
        self.has_secrets = bool(single.get("has_secrets"))
        """Some are behind FD_SECRETS (swarmnode.executor.shim.secret_files)."""
        self.has_net = bool(single.get("net"))
        """It has a network of its own making: see net/."""
        self.bwrap_args = single.get("bwrap_args", "")
        """Path of bubblewrap's options; empty in a container."""
        self.stage = [value for key, value in entries if key == "stage"]
        """What is laid out for a user who may not go where it lies."""
        self.paths = [value for key, value in entries if key == "path"]
        """In a container: what Landlock leaves it, see kernel/landlock.py."""
        self.data = Data(entries)
        self.system = System(single) if single.get("system") else None
        """Of a plain user's job: an image that it may write to."""
        self.note = single.get("note", "")
        """For the task's log, before it begins."""
        self.uid = int(single.get("uid", 0))
        """Who it runs as; 0: as we do."""
        self.guard_uid = int(single.get("guard_uid", 0))
        """Nothing runs as it: from it that user's processes are killed; 0: not needed."""
        self.is_container = self.guard_uid > 0
