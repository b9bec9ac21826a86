"""What this machine can enforce, found out by trying it, and how to mend what it cannot.

Nothing here falls back in silence: what cannot be done is a sentence that `status`, `doctor` and
the refusal of a task repeat word for word.
"""

import os
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.errors import ConfigError, ExecutorUnavailableError
from swarmnode.executor.disk.work_disk import WorkDisks
from swarmnode.executor.kernel import landlock
from swarmnode.executor.kernel.cgroup import JobCgroup
from swarmnode.executor.kernel.cgroup_parents import Parents, find_parents, hand_down_controllers
from swarmnode.executor.kernel.disk_io import disk_under
from swarmnode.executor.port import DataWay, Limit
from swarmnode.executor.sandbox import bubblewrap, net_trial
from swarmnode.executor.sandbox.data_ways import data_way
from swarmnode.executor.sandbox.image_ways import image_trouble
from swarmnode.executor.sandbox.own_count import counts_jobs_apart
from swarmnode.executor.sandbox.seccomp import MACHINES
from swarmnode.executor.shim import stage, uid_mode
from swarmnode.resources.mounts import MEMBERSHIP, MOUNTINFO, read_proc

BWRAP: Final = "bwrap"
CONTAINER: Final = "container"
_DELEGATE: Final = (
    "run the node as a systemd service with Delegate=yes, or with "
    "`systemd-run --user --scope -p Delegate=yes swarmnode up`"
)
_GROUP_OF_ITS_OWN: Final = (
    "run the node as root, or give its user a control group of its own (cgcreate -a)"
)


class ExecutorConfig(msgspec.Struct, frozen=True):
    """How jobs are confined on this machine."""

    sandbox: str = BWRAP
    """`bwrap`, or `container` for a node inside a container without user namespaces."""
    ctx_module: Path | None = None
    """`swarmnode/sdk/ctx.py`; None leaves tasks without `swarm_ctx`."""
    # Logs are kept on the worker until fetched: enough for weeks of a chatty training.
    log_bytes: int = 256 * 1024 * 1024
    # What all jobs together may be given, beside what they may write: as much as is lent for that.
    given_bytes_max: int = 20 * 1024**3
    # Hosts that tasks may reach though their addresses are private: names or addresses.
    net_private: tuple[str, ...] = ()
    # Of all tasks together, two open files each.
    net_connections: int = 4096
    # Somebody answers at the mirrors' names (Executor.on_mirror): tasks are told of them.
    has_mirror: bool = False
    # What environments that were built for the pool may take: some ten of the usual size.
    environments_bytes_max: int = 20 * 1024**3
    # Of the disk under the jobs' folders, for each job, reading and writing apart; 0: no bound.
    io_bytes_per_s: int = 0
    # Readers of datasets wait so long for a node that is gone: an upgrade takes a minute at most.
    data_away_s: float = 300.0
    # Open files: data loaders hold some hundreds.
    nofile: int = 16_384
    # Users [first, first + count) are ours, no account has them: a node that is root runs each job
    # as one of them. In the `container` sandbox the last one guards kills. systemd keeps 60578 to
    # 61183 free: https://systemd.io/UIDS-GIDS/
    uid_first: int = bubblewrap.UID_FIRST
    uid_count: int = 65

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if self.sandbox not in (BWRAP, CONTAINER):
            raise ConfigError(f"sandbox must be {BWRAP} or {CONTAINER}, not {self.sandbox!r}")
        if self.uid_first < 1000 or self.uid_count < 2:
            raise ConfigError("uid_first must be at least 1000 and uid_count at least 2")


class Capability(msgspec.Struct, frozen=True):
    """The findings. `limits` is what `Executor.enforceable()` answers."""

    trouble: str
    """"" when jobs can run here, else why not and the remedy."""
    limits: Mapping[Limit, str]
    parents: Parents
    bwrap: str
    pids_rlimit: bool
    """Processes are limited by resource limit, no cgroup being ours."""
    net_trouble: str
    """"" when a task can have a network, else why not and the remedy."""
    is_staged: bool
    """bubblewrap runs as the job's own user, the node being root."""
    disk: str
    """That under the jobs' folders, as control groups name it; "" where it has no such name."""
    data_way: DataWay
    """How datasets are shown here."""
    data_trouble: str
    """Why not in a better way, and the remedy."""
    image_trouble: str = ""
    """Why a task cannot write to its image, and the remedy."""


def probe(config: ExecutorConfig, folder: Path) -> Capability:
    """Try everything once; takes some 20 ms, the very first time twice that. Blocking."""
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="trials") as beside:
        disks = beside.submit(_disk_trouble, config, folder)
        net = beside.submit(net_trial.trouble, is_container=config.sandbox == CONTAINER)
        data = beside.submit(data_way, config.sandbox)
        there = _existing(folder)
        image = beside.submit(image_trouble, there, config.uid_first)
        found = _probe(config, folder, disks, net, data)
        return msgspec.structs.replace(found, image_trouble=image.result())


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _probe(
    config: ExecutorConfig,
    folder: Path,
    disks: "Future[str]",
    net: "Future[str]",
    data: "Future[tuple[DataWay, str]]",
) -> Capability:
    bwrap = bubblewrap.find()
    trouble = _trouble(config, folder, bwrap)
    parents = _own_parents()
    disk = disk_under(str(_existing(folder)))
    enforced, is_io_held = _try_limits(parents, disk, config.io_bytes_per_s)
    limits = _limits(config.sandbox, parents, enforced)
    limits[Limit.IO] = "" if is_io_held else _why_no_io(config, parents, disk)
    limits[Limit.PATHS] = "" if config.sandbox == BWRAP else landlock.trouble()
    limits[Limit.DISK_FS] = disks.result()
    is_container = config.sandbox == CONTAINER
    is_honest = counts_jobs_apart(os.uname().release, is_container=is_container)
    pids_rlimit = bool(limits[Limit.PIDS]) and is_honest
    if pids_rlimit:
        limits[Limit.PIDS] = ""
    if trouble:
        limits = dict.fromkeys(limits, trouble)
    is_staged = config.sandbox == BWRAP and os.geteuid() == 0
    return Capability(
        trouble,
        limits,
        parents,
        bwrap,
        pids_rlimit,
        trouble or net.result(),
        is_staged,
        disk,
        *data.result(),
    )


def _trouble(config: ExecutorConfig, folder: Path, bwrap: str) -> str:
    if config.sandbox == CONTAINER:
        trouble = _container_trouble(Path("/proc/self/status").read_text(), folder)
    else:
        trouble = _root_trouble() or _bwrap_trouble(bwrap, config)
    if not trouble and os.uname().machine not in MACHINES:
        trouble = f"tasks run on {' and '.join(sorted(MACHINES))} only"
    return trouble


def templates_in(folder: Path) -> Path:
    """Where an executor keeps empty file systems."""
    return folder / "shared" / "disks"


def _disk_trouble(config: ExecutorConfig, folder: Path) -> str:
    if config.sandbox == CONTAINER:
        why = "tasks share the container's file system"
    else:
        why = WorkDisks(templates_in(folder)).trouble()
    return why and f"{why}; work folders are measured four times a second instead"


def free_user(config: ExecutorConfig, capability: Capability, taken: Collection[int]) -> int:
    """A user for a job; 0 where jobs run as the node does. Raises ExecutorUnavailableError."""
    if not (config.sandbox == CONTAINER or capability.is_staged):
        return 0
    first, guard = config.uid_first, config.uid_first + config.uid_count - 1
    for uid in range(first, guard):
        if uid not in taken:
            return uid
    if capability.is_staged:  # namespaces keep two jobs of one user apart, too
        return first + len(taken) % (guard - first)
    raise ExecutorUnavailableError(f"all {guard - first} task users are taken: forget old jobs")


def _own_parents() -> Parents:
    parents = find_parents(read_proc(MOUNTINFO), read_proc(MEMBERSHIP))
    hand_down_controllers(parents, os.getpid())
    return parents


def _try_limits(parents: Parents, disk: str, io_bytes_per_s: int) -> tuple[tuple[str, ...], bool]:
    """Which of memory, pids and cpu a group made here really takes, and whether it holds io."""
    group = JobCgroup(parents.plan(f"swarm-probe-{os.getpid()}"))
    try:
        took = group.make(memory_bytes=64 * 1024 * 1024, pids_max=16, cpu_millis=1000)
        return took, group.limit_io(disk, io_bytes_per_s)
    finally:
        group.remove()


def _why_no_io(config: ExecutorConfig, parents: Parents, disk: str) -> str:
    """Where the rate of a job at the disk is not held to what the owner wants."""
    if not config.io_bytes_per_s:
        return "no rate is set; set compute.io_mb_per_s"
    if not disk:
        return "the tasks' folder lies on no disk that can be limited; set compute.tasks_folder"
    if "blkio" in parents.dirs:
        return (
            "control groups of version 1 hold what is read and what is written past memory, and no "
            "other writes; boot with systemd.unified_cgroup_hierarchy=1"
        )
    why = parents.troubles.get("io") or parents.troubles.get("v2", "no io controller is ours")
    remedy = "give the container a writable cgroup" if config.sandbox == CONTAINER else _DELEGATE
    return f"{why}; {remedy}"


def _limits(sandbox: str, parents: Parents, enforced: tuple[str, ...]) -> dict[Limit, str]:
    limits = dict.fromkeys(Limit, "")
    for limit in (Limit.MEMORY, Limit.PIDS, Limit.CPU):
        if limit.value in enforced:
            continue
        why = parents.troubles.get(limit.value) or parents.troubles.get("v2", "")
        why = why or f"no {limit.value} controller is mounted for us"
        remedy = _GROUP_OF_ITS_OWN if parents.is_v1 else _DELEGATE
        if sandbox == CONTAINER:
            remedy = "give the container a writable cgroup, or a limit of its own"
        limits[limit] = f"{why}; {remedy}"
    return limits


def _container_trouble(status: str, folder: Path) -> str:
    missing = uid_mode.missing_capabilities(status, uid_mode.CONTAINER_CAPABILITIES)
    if missing:
        added = " ".join(f"--cap-add {name}" for name in missing)
        return (
            "sandbox = container runs each task as a user of its own, for which the node must be "
            f"root in its container with {', '.join(missing)}: start the container with {added}"
        )
    for path in folder.parents:
        if path.exists() and not path.stat().st_mode & 0o001:
            return (
                f"tasks are other users and cannot pass {path}: set compute.tasks_folder to a "
                "folder below which nobody is shut out, such as /var/lib/swarm-tasks"
            )
    return ""


def _root_trouble() -> str:
    """A node that is root gives each job a user of its own, and lays out what that user sees."""
    if os.geteuid() != 0:
        return ""
    status = Path("/proc/self/status").read_text()
    missing = uid_mode.missing_capabilities(status, stage.STAGE_CAPABILITIES)
    if not missing:
        return ""
    return (
        f"the node is root but lacks {', '.join(missing)}, which it needs to run tasks as a user "
        f"without rights: run it as a plain user, or inside a container set sandbox = {CONTAINER}"
    )


def _bwrap_trouble(bwrap: str, config: ExecutorConfig) -> str:
    trouble = bubblewrap.trouble(bwrap, run=bubblewrap.runner(config.uid_first))
    return "" if trouble is None else f"{trouble.detail}. Remedy: {trouble.fix}"
