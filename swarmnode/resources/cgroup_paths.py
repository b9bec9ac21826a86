"""Where this process is in the control groups, from /proc.

Format: proc(5), /proc/pid/mountinfo and cgroups(7), /proc/pid/cgroup.
"""

from swarmnode.resources.mounts import mounts_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

V2 = "v2"


def own_groups(mountinfo: str, membership: str) -> "dict[str, tuple[str, str]]":
    """Controller (or "v2") to (mount point, our own directory beneath it)."""
    mounts = _mounts(mountinfo)
    groups: dict[str, tuple[str, str]] = {}
    for line in filter(None, membership.split("\n")):
        _, controllers, path = line.split(":", 2)
        for kind in controllers.split(",") if controllers else [V2]:
            if kind in mounts:
                root, point = mounts[kind]
                inside = path.removeprefix(root) if root != "/" else path
                groups[kind] = (point, (point + "/" + inside.strip("/")).rstrip("/"))
    return groups


def _mounts(mountinfo: str) -> "Mapping[str, tuple[str, str]]":
    """Controller (or "v2") to (root inside the hierarchy, mount point)."""
    mounts: dict[str, tuple[str, str]] = {}
    for mount in mounts_in(mountinfo):
        if mount.kind == "cgroup2":
            mounts[V2] = (mount.root, mount.point)
        elif mount.kind == "cgroup":
            for option in mount.options.split(","):
                mounts[option] = (mount.root, mount.point)
    return mounts
