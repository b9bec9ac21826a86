"""A view of a folder in which what is root's is another user's. Imported late: it needs ctypes.

Nothing on the disk changes, and who sees the view otherwise sees no more of it.
https://man7.org/linux/man-pages/man2/mount_setattr.2.html (Linux 5.12, beneath overlayfs 5.19)
"""

import os
import struct

from swarmnode.executor.kernel import syscalls

_MOUNT_SETATTR = 442  # the same on x86_64 and aarch64
_AT_RECURSIVE, _AT_EMPTY_PATH = 0x8000, 0x1000
_IDMAP = 0x100000
_CLONE_NEWUSER = 0x10000000


def give_to(tree: int, uid: int) -> None:
    """Have root's files in a tree, which is mounted nowhere, be that user's. Raises OSError."""
    users = _users(uid)
    try:
        wanted = struct.pack("4Q", _IDMAP, 0, 0, users)
        how = _AT_EMPTY_PATH | _AT_RECURSIVE
        syscalls.call(_MOUNT_SETATTR, tree, b"", how, wanted, len(wanted))
    finally:
        os.close(users)


def _users(uid: int) -> int:
    """A descriptor of a user namespace with one user. Raises OSError."""
    made, told = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        try:
            syscalls.unshare(_CLONE_NEWUSER)
            os.write(made[1], b"x")
            os.close(told[1])
            os.read(told[0], 1)  # until it was looked at, or whoever did is gone
        finally:
            os._exit(0)
    os.close(made[1])
    try:
        if not os.read(made[0], 1):
            raise OSError(1, "no user namespace can be made")
        for name in ("uid_map", "gid_map"):
            fd = os.open(f"/proc/{child}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, f"0 {uid} 1".encode())
            finally:
                os.close(fd)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for fd in (made[0], *told):
            os.close(fd)
        os.waitpid(child, 0)
