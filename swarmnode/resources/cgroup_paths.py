"""Where this process is in the control groups, from /proc. Shim-side: imports nothing.

Format: proc(5), /proc/pid/mountinfo and cgroups(7), /proc/pid/cgroup.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

V2 = "v2"


def own_groups(mountinfo: str, membership: str) -> "dict[str, tuple[str, str]]":
    """Controller (or "v2") to (mount point, our own directory beneath it)."""
    mounts = _mounts(mountinfo)
    found: dict[str, tuple[str, str]] = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        for kind in controllers.split(",") if controllers else [V2]:
            if kind in mounts:
                root, point = mounts[kind]
                inside = path.removeprefix(root) if root != "/" else path
                found[kind] = (point, (point + "/" + inside.strip("/")).rstrip("/"))
    return found


def _mounts(mountinfo: str) -> "Mapping[str, tuple[str, str]]":
    """Controller (or "v2") to (root inside the hierarchy, mount point)."""
    found: dict[str, tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        place, _, kind = line.partition(" - ")
        fields, (fstype, _, options) = place.split(), kind.split(" ", 2)
        if fstype == "cgroup2":
            found[V2] = (fields[3], fields[4])
        elif fstype == "cgroup":
            for option in options.strip().split(","):
                found[option] = (fields[3], fields[4])
    return found
