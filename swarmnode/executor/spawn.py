"""Spawns shims. One waits with its interpreter and modules ready, so the next job starts sooner.

It is given its job by a socket: the folder's path and the descriptors, the job's lock among them.
A node that ends or dies closes the socket, and what waits ends. posix_spawn, and not subprocess:
no shim may end or wait with this process. Blocking; node-side.
"""

import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from swarmnode.executor.kernel import disk_io
from swarmnode.executor.sandbox import bubblewrap

_SHIM: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from swarmnode.executor.shim import door; "
    "door.wait()"
)
_ABOVE: Final = 64
"""No descriptor of ours below this, so that none is where a new process has its own."""


class Shims:
    """Those of one executor."""

    def __init__(self, folder: Path) -> None:
        """`folder`, of their executor, is the last word of their command lines: a list of processes
        tells whose each is, and who ends a node's tasks with it finds them."""
        self._folder = folder
        self._lock = threading.Lock()
        """Guards the two below, which several threads change."""
        self._waiting: tuple[int, socket.socket] | None = None
        """Pid and socket of the one that has no job yet; None: none is kept ready."""
        self._is_open = True
        """False after `let_go`: none is made ready any more."""

    def start(self, folder: Path, fds: Sequence[int]) -> int:
        """Give a job to a shim, its descriptors in the order of shim.door; the shim's pid."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            try:
                return _begin(waiting, folder, fds)
            except OSError:  # somebody ended it while it waited
                _end(*waiting)
        return _begin(_spawned(self._folder), folder, fds)

    def stock(self) -> None:
        """Have one that waits. Raises OSError."""
        with self._lock:
            if self._is_open and self._waiting is None:
                self._waiting = _spawned(self._folder)

    def let_go(self) -> None:
        """None waits any more."""
        with self._lock:
            waiting, self._waiting, self._is_open = self._waiting, None, False
        if waiting is not None:
            _end(*waiting)


def _end(pid: int, door: socket.socket) -> None:
    """Of one that has no job: it may be frozen, and would not notice that its socket is closed."""
    door.close()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _begin(shim: tuple[int, socket.socket], folder: Path, fds: Sequence[int]) -> int:
    pid, door = shim
    with door:
        socket.send_fds(door, [os.fsencode(folder)], fds)
    return pid


def _spawned(folder: Path) -> tuple[int, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        door = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    try:
        return _run_shim(folder, door), ours
    except OSError:
        ours.close()
        raise
    finally:
        os.close(door)


def _run_shim(folder: Path, door: int) -> int:
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-c", _SHIM, bubblewrap.ROOT, str(folder / "jobs")],
        {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, door, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
        ],
        setsid=True,
    )
    disk_io.put_last(pid)
    return pid
