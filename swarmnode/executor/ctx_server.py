"""The node's end of `ctx`: one unix socket per job, in a folder the sandbox sees at /run/swarm.

A request is four bytes of length, big endian, and that many bytes of JSON; so is its answer. What
is in them is the affair of whoever answers. A task that sends anything else loses its connection.
The folder is bound, not the socket: a node that comes back listens anew at the same place.
"""

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from swarmnode.executor.job_folder import JobFolder
from swarmnode.limits import CTX_CONNECTIONS_MAX, CTX_REQUEST_BYTES_MAX

SOCKET = "ctx.sock"
_LENGTH_BYTES = 4


async def listen(folder: JobFolder, uid: int) -> trio.SocketListener:
    """Take the job's socket over from whoever listened before. `uid` (0: ours) may connect."""
    parent = os.open(folder.ctx, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = f"/proc/self/fd/{parent}/{SOCKET}"  # a socket's path may have 107 bytes only
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=parent)
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        await sock.bind(place)
        os.chmod(place, 0o600)
        if uid:
            os.chown(place, uid, uid)
        sock.listen(CTX_CONNECTIONS_MAX)
    finally:
        os.close(parent)
    return trio.SocketListener(sock)


async def serve(listener: trio.SocketListener, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
    """Answer the job's processes until cancelled."""
    slots = trio.Semaphore(CTX_CONNECTIONS_MAX)
    await trio.serve_listeners(partial(_converse, answer, slots), [listener])


async def _converse(
    answer: Callable[[bytes], Awaitable[bytes]], slots: trio.Semaphore, stream: trio.SocketStream
) -> None:
    async with slots:  # one more connection than allowed waits, and holds no memory of ours
        try:
            while (request := await _receive(stream)) is not None:
                reply = await answer(request)
                await stream.send_all(len(reply).to_bytes(_LENGTH_BYTES) + reply)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the task went away
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)


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
