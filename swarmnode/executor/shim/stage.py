"""A node that is root: what a job may see, laid out where the job's own user can reach it.

The folders of a node are closed to everybody else, so bubblewrap, which runs as the job's user,
could not even name them. Between fork and exec the shim therefore enters a mount namespace of its
own, covers /tmp there with an empty one and binds each thing to it. The machine sees none of it,
and all of it is gone with the job. Shim-side: the standard library only.
"""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from swarmnode.executor.shim.order import System

_STAGE = "/tmp"  # noqa: S108  (always there; covered in a namespace of our own)

HELD = "fd:"
"""Before the number of a descriptor, in place of a path: a file system that is mounted nowhere."""
FOLDER, FILE = "fuse:d", "fuse:f"
"""In place of a path: a dataset that the node answers for."""
STAGE_CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "SETGID": 6, "SETUID": 7, "SYS_ADMIN": 21}
"""linux/capability.h: what root needs to give a job a user and a view of its own."""


def staged_path(number: int) -> str:
    """Where the job's user finds the thing of that number."""
    return f"{_STAGE}/{number}"


def lay_out(sources: "list[str]", uid: int = 0) -> "list[int]":
    """Bind every source under /tmp, in a new mount namespace of this process. Raises OSError.

    The devices of what is FOLDER or FILE, in their order; `uid` is who may read there.
    """
    from swarmnode.executor.kernel import (
        syscalls as kernel,  # here: every other shim can do without
    )
    from swarmnode.executor.kernel import system_overlay as system

    kernel.new_mount_namespace()
    devices: list[int] = []
    asked = [system.path_in(source) for source in sources]
    trees = [_mounted(path, uid, devices) or _tree(path) for path, _ in asked]
    kernel.cover(_STAGE, "mode=0711,size=64k")
    for number, ((path, size), tree) in enumerate(zip(asked, trees, strict=True)):
        place = staged_path(number)
        _make_place(place, is_folder=path == FOLDER or (path != FILE and _is_folder(tree)))
        if size:
            system.lay_for(uid, tree, size, _STAGE, place)
        else:
            kernel.attach(tree, place)
        os.close(tree)
    return devices


def mount_at(places: "list[str]", own: "System | None" = None) -> "list[int]":
    """A plain user: what a node answers for, each at a path, as `d/PATH` or `f/PATH`; the devices.

    In namespaces of this process, and so a system of its own. Raises OSError.
    """
    from swarmnode.executor.kernel import fuse_mount, syscalls

    fuse_mount.enter_own_namespaces()
    if own is not None:
        from swarmnode.executor.kernel import system_overlay as system

        system.lay(own.below, own.size, own.folder)
    devices = []
    for place in places:
        device, tree = fuse_mount.open_mount(
            is_folder=place[0] == "d", uid=os.geteuid(), gid=os.getegid()
        )
        syscalls.attach(tree, place[1:])
        os.close(tree)
        devices.append(device)
    return devices


def _mounted(source: str, uid: int, devices: "list[int]") -> int:
    """0 for what is no dataset."""
    if source not in (FOLDER, FILE):
        return 0
    from swarmnode.executor.kernel import fuse_mount  # here: most jobs have none

    device, tree = fuse_mount.open_mount(is_folder=source == FOLDER, uid=uid, gid=uid)
    devices.append(device)
    return tree


def _tree(source: str) -> int:
    from swarmnode.executor.kernel import syscalls as kernel

    number = source.removeprefix(HELD)
    return os.dup(int(number)) if number != source else kernel.clone_tree(source)


def _is_folder(tree: int) -> bool:
    return stat.S_ISDIR(os.fstat(tree).st_mode)


def _make_place(place: str, *, is_folder: bool) -> None:
    """Of the same kind as what is to lie there. Who answers for a dataset is not asked: it does
    not answer yet."""
    if is_folder:
        os.mkdir(place, 0o700)
    else:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def become(uid: int) -> None:
    """Be that user and no other, without groups, for good. Raises OSError."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
