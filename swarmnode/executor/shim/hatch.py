"""How descriptors that belong to a job come out of it: from the child to its shim, then to nodes.

A node connects to `hatch.sock` in the job's folder and sends one byte that says what it wants; it
gets an answer with descriptors, copies of those that the shim keeps: nodes come and go. Shim-side.

    S    of its network: the listener, the socket of DNS, the listener of DNS
    W    the listener on which it reads its datasets by HTTP
    M    devices of its datasets, in their order: whoever has them answers those who read there. It
         stays connected meanwhile. When nobody has been for a while the shim lets go of its copies,
         of the listener as well, and readers get an error instead of waiting for ever.
    X    nobody can answer any more: let go of them at once
"""

import _socket
import os

from swarmnode.executor.shim.order import MOUNTS_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

NAME = "hatch.sock"
SOCKETS, WEB, MOUNTS, LET_GO = b"S", b"W", b"M", b"X"
SOCKETS_COUNT = 3
_CALLERS_MAX = 4
"""A node asks once; another may come while it goes."""
_POLLIN = 1


def pair() -> "tuple[_socket.socket, int]":
    """What the shim takes descriptors from, and the one by which its child sends them."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return ours, theirs.detach()


def hand_out(fd: int, kind: bytes, fds: "list[int]") -> None:
    """In the child: these are for the shim. Raises OSError."""
    sock = _socket.socket(fileno=os.dup(fd))
    _send(sock, kind, fds)
    sock.close()


def take(ours: "_socket.socket", kinds: int) -> "dict[bytes, list[int]]":
    """The child's descriptors, of so many kinds; fewer when it could not make them."""
    held: dict[bytes, list[int]] = {}
    size = _socket.CMSG_SPACE(4 * MOUNTS_MAX)
    for _ in range(kinds):
        kind, messages, _, _ = ours.recvmsg(1, size, _socket.MSG_CMSG_CLOEXEC)
        data = messages[0][2] if messages else b""
        held[kind] = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
    ours.close()
    return held


def _send(sock: "_socket.socket", kind: bytes, fds: "list[int]") -> None:
    data = b"".join(fd.to_bytes(4, "little") for fd in fds)
    sock.sendmsg([kind], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, data)])


class Hatch:
    """The shim's end of it: never waits for anybody."""

    def __init__(
        self, folder: str, held: "dict[bytes, list[int]]", away_s: float, now_s: float
    ) -> None:
        self._sockets = {kind: held.get(kind, []) for kind in (SOCKETS, WEB)}
        """Kept open for as long as the job lives, so that connections wait for a node."""
        self._devices = held.get(MOUNTS, [])
        """Kept open while a node may come for them, so that readers wait for it."""
        self._away_s = away_s
        """For so long."""
        self._callers: dict[int, _socket.socket] = {}
        """Nodes that have connected, the oldest first; those that were answered stay."""
        self._serving: set[int] = set()
        """Of them: have the devices."""
        self._alone_s = now_s
        """Since when nobody has been serving; while somebody is, of no meaning."""
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

    def hear(self, fd: int, poll: "select.poll", now_s: float) -> None:
        """Somebody has come, says what it wants, or has gone."""
        try:
            if fd in self._callers:
                self._answer(fd, poll, now_s)
            else:
                self._let_in(poll, now_s)
        except OSError:  # it went away
            pass

    def look(self, now_s: float) -> None:
        """Let readers go when no node has answered them for too long."""
        if self._devices and not self._serving and now_s - self._alone_s > self._away_s:
            self.let_go()

    def let_go(self) -> None:
        """No reader waits any more: they get an error, also from a node that serves still."""
        for fd in (*self._devices, *self._sockets.pop(WEB, [])):
            os.close(fd)
        self._devices = []
        for caller in self._callers.values():
            try:  # noqa: SIM105
                caller.shutdown(_socket.SHUT_RDWR)  # who serves closes its copies
            except OSError:
                pass

    def _let_in(self, poll: "select.poll", now_s: float) -> None:
        number, _ = self._door._accept()  # type: ignore[attr-defined]  # `socket` is slow to load
        caller = _socket.socket(fileno=number)
        caller.setblocking(False)
        if len(self._callers) >= _CALLERS_MAX:
            self._hang_up(next(iter(self._callers)), poll, now_s)
        self._callers[number] = caller
        poll.register(number, _POLLIN)

    def _answer(self, fd: int, poll: "select.poll", now_s: float) -> None:
        is_answered = False
        try:
            said = self._callers[fd].recv(1)
            if said == LET_GO:
                self.let_go()
            if said in self._sockets:
                _send(self._callers[fd], said, self._sockets[said])
            if said == MOUNTS and self._devices:
                _send(self._callers[fd], MOUNTS, self._devices)
                self._serving.add(fd)
                is_answered = True
        finally:
            if not is_answered:
                self._hang_up(fd, poll, now_s)

    def _hang_up(self, fd: int, poll: "select.poll", now_s: float) -> None:
        poll.unregister(fd)
        self._callers.pop(fd).close()
        if fd in self._serving:
            self._serving.discard(fd)
            self._alone_s = now_s
