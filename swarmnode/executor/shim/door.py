"""Where the process waits that forks the shims of a node, everything they need imported. Shim-side.

A job comes as one message: the path of its folder, with the descriptors of its log, of the pipe
that says it runs, of its lock, of its secrets (else /dev/null), and of its disk if it has one. The
shim is forked, and says its pid. No message: no node any more.
"""

import os

from swarmnode.executor.shim import main as shim
from swarmnode.executor.shim.order import FD_DISK
from swarmnode.executor.shim.secret_files import FD_SECRETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal
else:
    import _signal as signal  # without the enums of `signal`, which cost five milliseconds

PID_BYTES = 4
_PATH_BYTES_MAX = 4096
READY_FD, LOCK_FD = 30, 31  # FD_SECRETS is 28, FD_DISK 29


def wait() -> None:
    """Body of the process; standard input is the socket."""
    os.closerange(3, shim.FDS_MAX)  # nothing of the node's lives on here, no socket of its API
    if os.geteuid() == 0:
        import swarmnode.executor.kernel.syscalls  # noqa: F401 - for its child, which lays out a job
    import _socket  # `socket` would cost five milliseconds

    door = _socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # shims are nobody's business once they are there
    while True:
        folder, fds = _receive(door)
        if not folder:
            return
        pid = os.fork()
        if pid == 0:
            # By the shim itself, and before all else: where the node has given up there is nobody
            # to hear it, and the job, which another one has then, does not start.
            door.send(os.getpid().to_bytes(PID_BYTES, "big"))
            _be_a_shim(folder, fds)
            return
        for fd in fds:
            os.close(fd)  # the lock among them: a shim that has ended must not seem to live


def _be_a_shim(folder: bytes, fds: "list[int]") -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    for number, fd in zip((1, READY_FD, LOCK_FD, FD_SECRETS, FD_DISK), fds, strict=False):
        os.dup2(fd, number)
    os.dup2(1, 2)
    shim.main(os.fsdecode(folder), READY_FD, LOCK_FD)


def _receive(door: "_socket.socket") -> "tuple[bytes, list[int]]":
    """The job's folder and its descriptors; b"" when no message comes any more."""
    import _socket

    folder, held, _, _ = door.recvmsg(_PATH_BYTES_MAX, _socket.CMSG_SPACE(5 * 4))
    return folder, [
        int.from_bytes(data[at : at + 4], "little")
        for _, _, data in held
        for at in range(0, len(data), 4)
    ]
