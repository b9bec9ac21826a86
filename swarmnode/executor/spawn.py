"""Spawns shims: one process, its interpreter and modules ready, forks each of them.

Given a job by its socket, the folder's path and the descriptors, the job's lock among them, it
forks and says the shim's pid; an interpreter of its own would cost each start as much as all the
rest. A node that ends or dies closes the socket, and that process ends; the shims live on.
posix_spawn, and not subprocess: nobody here may end or wait with this process. Blocking; node-side.
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
from swarmnode.executor.shim.door import PID_BYTES
from swarmnode.limits import JOB_START_TIMEOUT_S

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
        self._stem: tuple[int, socket.socket] | None = None
        """Pid and socket of the process that forks them; None: there is none just now."""
        self._is_open = True
        """False after `let_go`: none is made ready any more."""

    def start(self, folder: Path, fds: Sequence[int]) -> int:
        """Give a job to a shim, its descriptors in the order of shim.door; the shim's pid."""
        with self._lock:
            if self._stem is not None:
                try:
                    return _forked(self._stem, folder, fds)
                except OSError:  # somebody has ended it, or froze it
                    self._end()
            self._stem = _spawned(self._folder)
            try:
                return _forked(self._stem, folder, fds)
            except OSError:
                self._end()
                raise

    def stock(self) -> None:
        """Have the process that forks them. Raises OSError."""
        with self._lock:
            if self._is_open and self._stem is None:
                self._stem = _spawned(self._folder)

    def let_go(self) -> None:
        """None is made ready any more."""
        with self._lock:
            self._is_open = False
            self._end()

    def _end(self) -> None:
        """It may be frozen, and would not notice that its socket is closed."""
        if self._stem is None:
            return
        (pid, door), self._stem = self._stem, None
        door.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _forked(stem: tuple[int, socket.socket], folder: Path, fds: Sequence[int]) -> int:
    """Raises OSError, and then no shim has the job, nor will."""
    _, door = stem
    socket.send_fds(door, [os.fsencode(folder)], fds)
    try:
        said = door.recv(PID_BYTES)
    except TimeoutError:
        door.shutdown(socket.SHUT_RD)  # from here on no shim begins; one may have just now
        said = door.recv(PID_BYTES)
    if len(said) != PID_BYTES:
        raise ConnectionResetError("the process that forks shims has ended")
    return int.from_bytes(said)


def _spawned(folder: Path) -> tuple[int, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(JOB_START_TIMEOUT_S)
    with theirs:
        door = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    try:
        return _run_stem(folder, door), ours
    except OSError:
        ours.close()
        raise
    finally:
        os.close(door)


def _run_stem(folder: Path, door: int) -> int:
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
