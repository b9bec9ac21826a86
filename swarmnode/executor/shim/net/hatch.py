"""How the sockets of a job's network come out of it: from the child to its shim, then to nodes.

A node connects to `net.sock` in the job's folder, sends one byte that says what it wants, and gets
an answer with descriptors: nodes come and go, and a socket stays the same. Shim-side.

    S    the listener, the socket of DNS, the listener of DNS: copies of those that the shim keeps
"""

import _socket
import os

from swarmnode.executor.shim.net import space

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

NAME = "net.sock"
SOCKETS = b"S"
SOCKETS_COUNT = 3
_CALLERS_MAX = 4
"""A node asks once; another may come while it goes."""
_POLLIN = 1


def make(fd: int, *, is_root: bool) -> None:
    """In the child: be in a network of its own, and hand its sockets over. Raises OSError."""
    sockets = space.make(is_root=is_root)
    _send(_socket.socket(fileno=fd), [sock.fileno() for sock in sockets])


def pair() -> "tuple[_socket.socket, int]":
    """What the shim takes the sockets from, and the descriptor by which its child sends them."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return ours, theirs.detach()


def take(ours: "_socket.socket") -> "list[int]":
    """The child's sockets; none when it could not make them."""
    size = _socket.CMSG_SPACE(4 * SOCKETS_COUNT)
    _, held, _, _ = ours.recvmsg(1, size, _socket.MSG_CMSG_CLOEXEC)
    ours.close()
    data = held[0][2] if held else b""
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def _send(sock: "_socket.socket", fds: "list[int]") -> None:
    data = b"".join(fd.to_bytes(4, "little") for fd in fds)
    sock.sendmsg([SOCKETS], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, data)])


class Hatch:
    """The shim's end of it: never waits for anybody."""

    def __init__(self, folder: str, sockets: "list[int]") -> None:
        self._sockets = sockets
        """Kept open for as long as the job lives, so that connections wait for a node."""
        self._callers: dict[int, _socket.socket] = {}
        """Nodes that have not said what they want; the oldest first."""
        self._door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self._door.setblocking(False)
        parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._door.bind(f"/proc/self/fd/{parent}/{NAME}")  # a path may have 107 bytes only
            self._door.listen(_CALLERS_MAX)
        finally:
            os.close(parent)

    def watch(self, poll: "select.poll") -> None:
        """Listen to nodes."""
        poll.register(self._door.fileno(), _POLLIN)

    def knows(self, fd: int) -> bool:
        """Whether what happened there is for `hear`."""
        return fd == self._door.fileno() or fd in self._callers

    def hear(self, fd: int, poll: "select.poll") -> None:
        """Somebody has come, or says what it wants."""
        try:
            if fd in self._callers:
                self._answer(fd, poll)
            else:
                self._let_in(poll)
        except OSError:  # it went away
            pass

    def _let_in(self, poll: "select.poll") -> None:
        number, _ = self._door._accept()  # type: ignore[attr-defined]  # of `socket`, which is slow to load
        caller = _socket.socket(fileno=number)
        caller.setblocking(False)
        if len(self._callers) >= _CALLERS_MAX:
            self._hang_up(next(iter(self._callers)), poll)
        self._callers[number] = caller
        poll.register(number, _POLLIN)

    def _answer(self, fd: int, poll: "select.poll") -> None:
        caller = self._callers[fd]
        try:
            if caller.recv(1) == SOCKETS:
                _send(caller, self._sockets)
        finally:
            self._hang_up(fd, poll)

    def _hang_up(self, fd: int, poll: "select.poll") -> None:
        poll.unregister(fd)
        self._callers.pop(fd).close()
