"""Mounts that a process answers by /dev/fuse. Shim-side; imported late, as it needs ctypes.

The kernel wants the descriptor to be opened in the user namespace that mounts. Whoever reads must
be the one user the mount is for: other users of the machine, root among them, get nothing of it.
"""

import os

from swarmnode.executor.kernel import syscalls

DEVICE = "/dev/fuse"
READ_BYTES_MAX = 1 << 20
_CLONE_NEWUSER = 0x10000000


def open_mount(*, is_folder: bool, uid: int, gid: int) -> "tuple[int, int]":
    """A new device descriptor, and one of its mount, which lies nowhere yet. Raises OSError."""
    device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    settings = {
        "source": "swarm", "fd": str(device), "rootmode": "40000" if is_folder else "100000",
        "user_id": str(uid), "group_id": str(gid), "max_read": str(READ_BYTES_MAX),
    }  # fmt: skip
    try:
        flags = ("default_permissions",)
        return device, syscalls.open_file_system("fuse", settings, flags, is_read_only=True)
    except OSError:
        os.close(device)
        raise


def enter_own_namespaces() -> None:
    """A plain user: a user and a mount namespace in which this process may mount. Raises OSError.

    Users are the same inside as outside, so that whoever reads the mount is who made it.
    """
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(_CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    syscalls.new_mount_namespace()


def trial() -> None:
    """Try it in this process, which is good for nothing else then. Raises OSError."""
    if os.geteuid():
        enter_own_namespaces()
    for fd in open_mount(is_folder=True, uid=os.geteuid(), gid=os.getegid()):
        os.close(fd)
