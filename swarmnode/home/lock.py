"""One state folder is one node: a lock in every folder that a node keeps, before its first use.

The lock is a flock on `node.lock` in the folder that it protects, so that no other name of the
folder, no other runtime folder and no removed one lets a second node in; the kernel lets go of it
when the process ends, however it ends. On NFS it holds between machines as long as the mount has
locks (no `nolock`, no `local_lock=flock`); a folder whose file system has none is refused.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from p2p.errors import DISK_FULL, UnwritableFileError
from swarmnode.errors import AlreadyRunningError
from swarmnode.home.folders import Home
from swarmnode.resources.mounts import mounts_in

LOCK_NAME: Final = "node.lock"
_NOTE_BYTES_MAX: Final = 512
_HELD: Final = (errno.EWOULDBLOCK, errno.EACCES)
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs"}
)
"""File systems whose locks and memory maps depend on a server and on how they were mounted."""


def folders_of(home: Home, tasks_folder: str = "") -> tuple[Path, ...]:
    """Every folder that must have one node only, that of its whole state first.

    Those of the tables are made by the tables themselves, whole: they count once they are there.
    """
    tables = tuple(path for path in (home.state_tables, home.store_tables) if _has_content(path))
    tasks = Path(tasks_folder) if tasks_folder else home.tasks
    return (home.state, home.runtime, home.segments, tasks, *tables)


@contextmanager
def only_one(home: Home, tasks_folder: str = "") -> Iterator[None]:
    """Hold the locks of a home's folders until the block ends.

    Raises AlreadyRunningError when another node has one, UnwritableFileError when none can be had.
    """
    with ExitStack() as held:
        for folder in folders_of(home, tasks_folder):
            held.enter_context(_locked(folder))
        yield


def file_system_of(folder: Path, mounts: str) -> str:
    """Type of the file system a folder lies on, as /proc/self/mountinfo (`mounts`) tells."""
    best, kind = "", ""
    for mount in mounts_in(mounts):
        if folder.is_relative_to(mount.point) and len(mount.point) >= len(best):
            best, kind = mount.point, mount.kind
    return kind


def _has_content(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / LOCK_NAME
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, flags, 0o600)
    except OSError as exc:
        raise UnwritableFileError(
            f"cannot write {path}: {exc.strerror}: make the folder writable, or choose another"
        ) from exc
    try:
        _take(fd, path)
        _note(fd)
        yield
    finally:
        os.close(fd)


def _note(fd: int) -> None:
    """Who has it, for whoever is refused: a full disk keeps no node from its own folder."""
    note = f"{os.getpid()} {socket.gethostname()}\n".encode()
    try:
        os.pwrite(fd, note, 0)
        os.ftruncate(fd, len(note))
    except OSError as exc:
        if exc.errno not in DISK_FULL:
            raise
        os.ftruncate(fd, 0)


def _take(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno not in _HELD:
            raise UnwritableFileError(
                f"cannot lock {path}: {exc.strerror}: the file system must have locks "
                "(NFS: mount it without nolock), or move the folder to a local disk"
            ) from exc
        who, remedy = _holder(fd)
        raise AlreadyRunningError(
            f"a node already runs in {path.parent} ({who}): {remedy}, or set another SWARM_HOME"
        ) from exc


def _holder(fd: int) -> tuple[str, str]:
    """Who has it, and how to end that: a pid of a container or another machine is nobody's here."""
    pid, _, host = os.pread(fd, _NOTE_BYTES_MAX, 0).decode(errors="replace").partition(" ")
    pid, host = pid.strip(), host.strip()
    if not pid.isdecimal():
        return "pid unknown", "stop it"
    if host not in ("", socket.gethostname()):
        return f"pid {pid} on {host}", "stop it there"
    if not Path("/proc", pid).exists():
        return f"pid {pid}, which is not seen here", "stop it where it runs, in a container perhaps"
    return f"pid {pid}", f"stop it (kill {pid}; by systemctl where a unit starts it)"
