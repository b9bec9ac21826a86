"""What `doctor` looks at in the machine: GPU driver, sandbox, control groups.

Everything is read below `root`, so that a test can show it another machine.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

from swarmnode.cli.doctor.surroundings import FAIL, OK, WARN, Check
from swarmnode.executor.kernel import landlock
from swarmnode.executor.kernel.disk_io import disk_under
from swarmnode.executor.sandbox import bubblewrap, net_trial
from swarmnode.executor.sandbox.data_ways import data_way
from swarmnode.executor.sandbox.image_ways import image_trouble
from swarmnode.executor.sandbox.own_count import counts_jobs_apart
from swarmnode.fuse import passthrough
from swarmnode.tasks.choices import DataWay

_LIMITS: Final = ("memory", "pids", "cpu")
_DELEGATE_FIX: Final = (
    "systemd-run --user --scope -p Delegate=yes swarmnode up (systemd unit: Delegate=yes)"
)


def gpu(root: Path = Path("/")) -> Check:
    """Is there a GPU driver? None is normal: the machine then offers no GPUs."""
    driver = _first_line(root / "proc/driver/nvidia/version")
    device = any((root / "dev").glob("nvidia[0-9]*"))
    if not driver and not device:
        return Check("gpu", OK, "no NVIDIA driver: this machine offers no GPUs")
    fix = "install the NVIDIA driver of the running kernel, then reboot: nvidia-smi must work"
    if not driver or not device:
        missing = "driver is not loaded" if device else "no /dev/nvidia0"
        return Check("gpu", WARN, f"GPU found, driver incomplete: {missing}", fix)
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return Check("gpu", WARN, "the driver's library libnvidia-ml.so.1 cannot be loaded", fix)
    return Check("gpu", OK, driver.removeprefix("NVRM version: "))


def sandbox(*, needed: bool, root: Path = Path("/"), bwrap: str | None = None) -> Check:
    """Can a task be locked in? Tries it; what the kernel forbids explains a failure."""
    program = bwrap
    run: bubblewrap.Run = bubblewrap.run
    if program is None:
        program, run = bubblewrap.find(), bubblewrap.runner()
    trouble = bubblewrap.trouble(program, root, run)
    if trouble is None:
        return Check("sandbox", OK, f"{program} works")
    bad = FAIL if needed and not bubblewrap.is_in_container(root) else WARN
    return Check("sandbox", bad, *trouble)


def task_network(*, sandbox: str) -> Check:
    """Can a task have a network? Tries it: a namespace, and a rule of nf_tables in it."""
    trouble = net_trial.trouble(is_container=sandbox == "container")
    if not trouble:
        return Check("task-net", OK, "tasks can have a network, as far as compute.net allows it")
    detail, _, fix = trouble.partition("; ")
    return Check("task-net", WARN, f"{detail}: tasks with --net do not run here", fix)


def datasets(root: Path = Path("/")) -> Check:
    """Can tasks see datasets while they arrive? Tried by whoever asks, as the node does."""
    if not (root / "dev/fuse").exists():
        fix = "modprobe fuse (in a container: start it with --device /dev/fuse)"
        return Check("datasets", WARN, "fetched whole before a task starts: no /dev/fuse", fix)
    way, why = data_way("bwrap")
    if way is DataWay.LAZY:
        then = ", and read without the node once they are here" if passthrough.is_allowed() else ""
        return Check("datasets", OK, f"seen by tasks while they arrive{then}")
    detail, _, fix = why.partition("; ")
    return Check("datasets", WARN, detail, fix)


def images(tasks: Path, *, sandbox: str) -> Check:
    """Can tasks write to their images? Tried where the node keeps what it is brought."""
    if sandbox == "container":
        return Check("images", OK, "none for tasks: compute.sandbox is container")
    there = next(path for path in (tasks, *tasks.parents) if path.exists())
    trouble = image_trouble(there, bubblewrap.UID_FIRST)
    if not trouble:
        return Check("images", OK, "tasks can write to their images")
    detail, _, fix = trouble.rpartition("; ")
    return Check("images", WARN, f"{detail}: tasks with images go to other machines first", fix)


def work_disks(root: Path = Path("/"), *, is_root: bool | None = None) -> Check:
    """Does each task get a file system of its own? Where it does not, folders are measured."""
    if not (os.geteuid() == 0 if is_root is None else is_root):
        detail = "work folders are measured: only a node that is root can make them file systems"
        return Check("work-disks", OK, detail)
    if not any((root / place / "mkfs.ext4").exists() for place in ("usr/sbin", "sbin")):
        fix = "apt install e2fsprogs"
        return Check("work-disks", WARN, "work folders are measured: no mkfs.ext4", fix)
    if not (root / "dev/loop-control").exists():
        fix = "modprobe loop (in a container: share /dev/loop-control and /dev/loop*)"
        return Check("work-disks", WARN, "work folders are measured: no loop devices", fix)
    return Check("work-disks", OK, "each task has a file system of its own (disk-fs)")


def paths(*, is_container: bool) -> Check:
    """Which files does a task see? bubblewrap shows it few; in a container Landlock has to."""
    version = landlock.abi()
    if not is_container:
        return Check("paths", OK, "bubblewrap shows a task nothing but what is its own")
    if why := landlock.trouble():
        trouble, _, fix = why.partition("; needs ")
        return Check("paths", WARN, trouble, fix)
    return Check("paths", OK, f"Landlock (version {version}) shuts each task in")


def control_groups(root: Path = Path("/"), *, is_container: bool = False) -> Check:
    """Can memory, processes and CPU of a task be limited? Which cannot is said, not hidden."""
    groups, mount = _own_groups(root), root / "sys/fs/cgroup"
    if (mount / "cgroup.controllers").exists():
        open_ones = _open_v2(_existing(mount, groups.get("", "/")))
        version, fix = 2, _DELEGATE_FIX
    else:
        open_ones = _open_v1(mount, groups)
        version, fix = 1, "run as root, or give the user a control group of its own (cgcreate -a)"
    release = _first_line(root / "proc/sys/kernel/osrelease") or ""
    if counts_jobs_apart(release, is_container=is_container):
        open_ones = [name for name in _LIMITS if name in (*open_ones, "pids")]
    closed = [name for name in _LIMITS if name not in open_ones]
    if closed:
        detail = f"version {version}: {', '.join(closed)} of a task cannot be limited"
        return Check("cgroups", WARN, detail, fix)
    return Check("cgroups", OK, f"version {version}: {', '.join(open_ones)} can be limited")


def disk_io(mb_per_s: int, tasks: Path, root: Path = Path("/")) -> Check:
    """Is what tasks read and write of the disk held to the rate that the owner set?"""
    if not mb_per_s:
        return Check("disk-io", OK, "tasks come last at the disk; compute.io_mb_per_s sets no rate")
    if not disk_under(str(next(path for path in (tasks, *tasks.parents) if path.exists()))):
        fix = "set compute.tasks_folder to a folder on a disk (not btrfs, zfs or a network)"
        return Check("disk-io", WARN, f"{tasks} lies on no disk that can be limited", fix)
    mount = root / "sys/fs/cgroup"
    if not (mount / "cgroup.controllers").exists():
        detail = "version 1 of control groups holds what is read, and not what is written as usual"
        return Check("disk-io", WARN, detail, "boot with systemd.unified_cgroup_hierarchy=1")
    if "io" not in _open_v2(_existing(mount, _own_groups(root).get("", "/")), ("io",)):
        return Check("disk-io", WARN, "the io controller is not ours", _DELEGATE_FIX)
    return Check("disk-io", OK, f"each task has {mb_per_s} MB/s of the disk (io)")


def _open_v2(folder: Path, limits: tuple[str, ...] = _LIMITS) -> list[str]:
    """What can be limited below our own group."""
    offered = (_first_line(folder / "cgroup.controllers") or "").split()
    allowed = os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
    return [name for name in limits if allowed and name in offered]


def _open_v1(mount: Path, groups: dict[str, str]) -> list[str]:
    return [
        name
        for name in _LIMITS
        if (mount / name).is_dir()
        and os.access(_existing(mount / name, groups.get(name, "/")), os.W_OK)
    ]


def _own_groups(root: Path) -> dict[str, str]:
    """Controller to our group's path; version 2 has the empty controller."""
    groups: dict[str, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        groups |= dict.fromkeys(names.split(","), path)
    return groups


def _existing(mount: Path, group: str) -> Path:
    """The group's folder; the mount itself where a container sees only that."""
    folder = mount / group.lstrip("/")
    return folder if folder.is_dir() else mount


def _first_line(path: Path) -> str | None:
    lines = _lines(path)
    return lines[0].strip() if lines else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
