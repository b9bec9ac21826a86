"""A node that is root: what a job may see, laid out where the job's own user can reach it.

The folders of a node are closed to everybody else, so bubblewrap, which runs as the job's user,
could not even name them. Between fork and exec the shim therefore enters a mount namespace of its
own, covers /tmp there with an empty one and binds each thing to it. The machine sees none of it,
and all of it is gone with the job. Shim-side: the standard library only.

https://man7.org/linux/man-pages/man2/open_tree.2.html, move_mount.2.html (Linux 5.2)
"""

import os
import stat

_STAGE = "/tmp"  # noqa: S108  (always there; covered in a namespace of our own)
_CLONE_NEWNS = 0x20000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
_OPEN_TREE, _MOVE_MOUNT = 428, 429  # the same on x86_64 and aarch64
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_FROM_EMPTY_PATH = 4

NEEDED_CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "SETGID": 6, "SETUID": 7, "SYS_ADMIN": 21}
"""linux/capability.h: what root needs to give a job a user and a view of its own."""


def staged_path(number: int) -> str:
    """Where the job's user finds the thing of that number."""
    return f"{_STAGE}/{number}"


def lay_out(sources: "list[str]") -> None:
    """Bind every source under /tmp, in a new mount namespace of this process. Raises OSError."""
    import ctypes  # here, because it would cost every other shim four milliseconds

    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: "int | bytes | None") -> int:
        typed = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        result: int = getattr(libc, name)(*typed)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")
        return result

    call("unshare", _CLONE_NEWNS)
    call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    how = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    trees = [call("syscall", _OPEN_TREE, _AT_FDCWD, os.fsencode(path), how) for path in sources]
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    call("mount", b"tmpfs", _STAGE.encode(), b"tmpfs", flags, b"mode=0711,size=64k")
    for number, tree in enumerate(trees):
        place = staged_path(number)
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.mkdir(place, 0o700)
        else:
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        target = place.encode()
        call("syscall", _MOVE_MOUNT, tree, b"", _AT_FDCWD, target, _FROM_EMPTY_PATH)
        os.close(tree)


def become(uid: int) -> None:
    """Be that user and no other, without groups, for good. Raises OSError."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
