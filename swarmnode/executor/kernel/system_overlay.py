"""A whole system that a task may write to: what it was given beneath, its own in memory above.

What lies beneath is only read (Linux's overlayfs); what is written counts as the task's memory and
goes with it. Between fork and exec of a job: see shim/stage.py.
"""

import os

from swarmnode.executor.kernel import syscalls as kernel

BELOW, ABOVE = "below", "above"
_MARK = "over:"
_NAME_BYTES, _NAMES_LEAST = 2048, 1024
"""What the kernel has of a file here beside its pages, which is no part of a size: without a bound
of their own empty files would take half of the machine's memory where no group holds the task."""
_TRIAL = "/tmp"  # noqa: S108  (always there; covered in a namespace of our own)


def marked(path: str, size: int) -> str:
    """As one of the things that are staged."""
    return f"{_MARK}{size}:{path}"


def path_in(source: str) -> "tuple[str, int]":
    """The path, and how much may be written; 0 for what is no such system."""
    if not source.startswith(_MARK):
        return source, 0
    size, _, path = source.removeprefix(_MARK).partition(":")
    return path, int(size)


def lay_for(uid: int, tree: int, size: int, stage: str, place: str) -> None:
    """Root lays it for a job's user, to whom all of it then belongs. Raises OSError."""
    from swarmnode.executor.kernel import idmap

    for name in (BELOW, ABOVE):
        os.mkdir(f"{stage}/{name}", 0o700)
    idmap.give_to(tree, uid)
    kernel.attach(tree, f"{stage}/{BELOW}")
    _lay(f"{stage}/{BELOW}", f"{stage}/{ABOVE}", size, place, uid)


def lay(below: str, size: int, folder: str) -> None:
    """A plain user, in namespaces of this process: in `folder`. Raises OSError."""
    for name in (BELOW, ABOVE):
        os.makedirs(f"{folder}/{name}", 0o700, exist_ok=True)
    held = os.open(below, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # By descriptor, as what is above: some characters in a path would mean something else.
        _lay(f"/proc/self/fd/{held}", f"{folder}/{ABOVE}", size, f"{folder}/{BELOW}", 0)
    finally:
        os.close(held)


def trial(below: str, uid: int) -> None:
    """Try it in this process, which is good for nothing else then. Raises OSError."""
    # Now: this package may lie below what is covered.
    from swarmnode.executor.kernel import idmap  # noqa: F401

    if os.geteuid():
        from swarmnode.executor.kernel import fuse_mount

        fuse_mount.enter_own_namespaces()
        held = os.open(below, os.O_PATH | os.O_DIRECTORY)
        kernel.cover(_TRIAL, "mode=0700,size=64k")
        lay(f"/proc/self/fd/{held}", 1 << 16, _TRIAL)
        return
    kernel.new_mount_namespace()
    tree = kernel.clone_tree(os.path.realpath(below))
    kernel.cover(_TRIAL, "mode=0700,size=64k")
    os.mkdir(f"{_TRIAL}/place")
    lay_for(uid, tree, 1 << 16, _TRIAL, f"{_TRIAL}/place")


def _lay(below: str, above: str, size: int, place: str, uid: int) -> None:
    names = str(max(_NAMES_LEAST, size // _NAME_BYTES))
    settings = {"size": str(size), "nr_inodes": names, "mode": "755"}
    memory = kernel.open_file_system("tmpfs", settings)
    kernel.attach(memory, above)
    os.close(memory)
    held = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    upper, scratch = f"/proc/self/fd/{held}/upper", f"/proc/self/fd/{held}/scratch"
    for path in (upper, scratch):
        os.mkdir(path, 0o755)
        if uid:
            os.chown(path, uid, uid)
    settings = {"lowerdir": below, "upperdir": upper, "workdir": scratch}
    tree = kernel.open_file_system("overlay", settings, () if uid else ("userxattr",))
    os.close(held)
    kernel.attach(tree, place)
    os.close(tree)
