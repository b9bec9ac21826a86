"""A node that is root: what a job may see, laid out where the job's own user can reach it.

The folders of a node are closed to everybody else, so bubblewrap, which runs as the job's user,
could not even name them. Between fork and exec the shim therefore enters a mount namespace of its
own, covers /tmp there with an empty one and binds each thing to it. The machine sees none of it,
and all of it is gone with the job. Shim-side: the standard library only.
"""

import os
import stat

_STAGE = "/tmp"  # noqa: S108  (always there; covered in a namespace of our own)

HELD = "fd:"
"""Before the number of a descriptor, in place of a path: a file system that is mounted nowhere."""
STAGE_CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "SETGID": 6, "SETUID": 7, "SYS_ADMIN": 21}
"""linux/capability.h: what root needs to give a job a user and a view of its own."""


def staged_path(number: int) -> str:
    """Where the job's user finds the thing of that number."""
    return f"{_STAGE}/{number}"


def lay_out(sources: "list[str]") -> None:
    """Bind every source under /tmp, in a new mount namespace of this process. Raises OSError."""
    from swarmnode.executor.kernel import (
        syscalls as kernel,  # here: every other shim can do without
    )

    kernel.new_mount_namespace()
    trees = [_tree(source) for source in sources]
    kernel.cover(_STAGE, "mode=0711,size=64k")
    for number, tree in enumerate(trees):
        place = staged_path(number)
        _make_place(place, tree)
        kernel.attach(tree, place)
        os.close(tree)


def _tree(source: str) -> int:
    from swarmnode.executor.kernel import syscalls as kernel

    number = source.removeprefix(HELD)
    return os.dup(int(number)) if number != source else kernel.clone_tree(source)


def _make_place(place: str, tree: int) -> None:
    """Of the same kind as what is to lie there."""
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.mkdir(place, 0o700)
    else:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def become(uid: int) -> None:
    """Be that user and no other, without groups, for good. Raises OSError."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
