"""The node's end of `ctx`: one unix socket per job, in a folder the sandbox sees at /run/swarm.

A request is four bytes of length, big endian, and that many bytes of JSON; so is its answer. What
is in them is the affair of whoever answers. A task that sends anything else loses its connection.
The folder is bound, not the socket: a node that comes back listens anew at the same place.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import trio

from p2p.accepting import accept_forever
from swarmnode.executor.job_folder import JobFolder
from swarmnode.limits import CTX_CONNECTIONS_MAX, CTX_REQUEST_BYTES_MAX

SOCKET = "ctx.sock"
_UNREADY = "ctx.sock.new"
_LENGTH_BYTES = 4
_RETRY_S = 1.0
log = logging.getLogger("swarm")


async def nobody(_job: str, _request: bytes) -> bytes:
    """The answer where nobody answers."""
    return b'{"error": "this node answers no ctx requests"}'


def listening(folder: JobFolder, uid: int) -> socket.socket:
    """Take the job's socket over from whoever listened before. `uid` (0: ours) may connect.

    It appears when it listens: the job runs already. Raises OSError.
    """
    parent = os.open(folder.ctx, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        place = f"/proc/self/fd/{parent}/{_UNREADY}"  # a socket's path may have 107 bytes only
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_UNREADY, dir_fd=parent)
        sock.bind(place)
        os.chmod(place, 0o600)
        if uid:
            os.chown(place, uid, uid)
        sock.listen(CTX_CONNECTIONS_MAX)
        os.rename(_UNREADY, SOCKET, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        sock.close()
        raise
    finally:
        os.close(parent)
    return sock


async def run(
    folder: JobFolder,
    uid: int,
    answer: Callable[[bytes], Awaitable[bytes]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer the job's processes until cancelled; says it is ready once the socket is there.

    A machine that has no room for a socket just now (a full disk) is asked again.
    """
    sock = await _listening(folder, uid, task_status)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    seats = CtxSeats(CTX_CONNECTIONS_MAX)
    serve = partial(_converse, answer, seats)
    await accept_forever(listener, serve, seats, what=f"connections of {folder.path.name}")


async def _listening(
    folder: JobFolder, uid: int, task_status: trio.TaskStatus[None]
) -> socket.socket:
    """The socket, as soon as there is room for it; where there is none we are ready without."""
    is_ready = False
    while True:
        try:
            sock = listening(folder, uid)
        except OSError as exc:
            if not is_ready:
                log.warning("%s cannot reach its node yet: %s", folder.path.name, exc.strerror)
                task_status.started()
            is_ready = True
            await trio.sleep(_RETRY_S)
        else:
            if not is_ready:
                task_status.started()
            return sock


class CtxSeats:
    """How many connections one job may hold; the next one waits in the kernel, unaccepted."""

    def __init__(self, count: int) -> None:
        self._left = count
        """Connections that may still be accepted."""
        self._freed = trio.Event()
        """Set, and replaced, when one has ended."""

    async def free(self) -> None:
        """Return once one more connection may be accepted."""
        while not self._left:
            await self._freed.wait()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one."""
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1
            self._freed.set()
            self._freed = trio.Event()


async def _converse(
    answer: Callable[[bytes], Awaitable[bytes]], seats: CtxSeats, stream: trio.SocketStream
) -> None:
    with seats.taken():
        try:
            while (request := await _receive(stream)) is not None:
                reply = await answer(request)
                await stream.send_all(len(reply).to_bytes(_LENGTH_BYTES) + reply)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the task went away


async def _receive(stream: trio.SocketStream) -> bytes | None:
    """One request, or None when the task has hung up or does not keep to the form."""
    head = await _exactly(stream, _LENGTH_BYTES)
    length = int.from_bytes(head)
    if len(head) < _LENGTH_BYTES or length > CTX_REQUEST_BYTES_MAX:
        return None
    body = await _exactly(stream, length)
    return body if len(body) == length else None


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        if not piece:
            break
        data += piece
    return bytes(data)
