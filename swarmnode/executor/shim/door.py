"""Where a shim waits for its job, everything it will need imported. Shim-side.

The job comes as one message: the path of its folder, with the descriptors of its log, of the pipe
that says it runs, of its lock, of its secrets (else /dev/null), and of its disk if it has one. No
message: no node any more.
"""

import os

from swarmnode.executor.shim import main as shim
from swarmnode.executor.shim.order import FD_DISK
from swarmnode.executor.shim.secret_files import FD_SECRETS

_PATH_BYTES_MAX = 4096
READY_FD, LOCK_FD = 30, 31  # FD_SECRETS is 28, FD_DISK 29


def wait() -> None:
    """Body of the process; standard input is the socket."""
    os.closerange(3, shim.FDS_MAX)  # nothing of the node's lives on here, no socket of its API
    if os.geteuid() == 0:
        import swarmnode.executor.kernel.syscalls  # noqa: F401 - for its child, which lays out a job
    folder, held = _receive()
    if not folder:
        os._exit(0)
    ((_, _, data),) = held
    fds = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    for number, fd in zip((1, READY_FD, LOCK_FD, FD_SECRETS, FD_DISK), fds, strict=False):
        os.dup2(fd, number)
    os.dup2(1, 2)
    shim.main(os.fsdecode(folder), READY_FD, LOCK_FD)


def _receive() -> "tuple[bytes, list[tuple[int, int, bytes]]]":
    """The job's folder, and its descriptors as they come; b"" when no message comes any more."""
    import _socket  # `socket` would cost five milliseconds

    door = _socket.socket(fileno=0)
    folder, held, _, _ = door.recvmsg(_PATH_BYTES_MAX, _socket.CMSG_SPACE(5 * 4))
    door.close()
    return folder, held
