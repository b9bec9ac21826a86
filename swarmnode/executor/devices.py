"""The node's end of a job's datasets: takes their devices from the shim and has them answered.

The shim keeps copies (shim/hatch.py), so a node that dies or restarts is followed by another, which
takes them again. That somebody answers is known by the connection, which stays open meanwhile.
"""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

import trio

from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.port import DataDevice, DataReaders, JobId
from swarmnode.executor.shim.hatch import LET_GO, MOUNTS, NAME, WEB
from swarmnode.limits import DATA_MAX

_LOOK_S: Final = 0.01
log = logging.getLogger("swarm")
Answering: TypeAlias = Callable[[Sequence[DataDevice], int], Awaitable[None]]
"""Answers the devices, and on a listener (-1: there is none), until there is nothing mounted any
more, or it is cancelled."""


async def nobody(_job: JobId, readers: DataReaders) -> None:
    """The answer where nobody answers."""
    if readers.web >= 0:
        os.close(readers.web)
    raise OSError(errno.EIO, "this node has no datasets")


async def run(folder: JobFolder, answer: Answering) -> None:
    """Have the job's datasets answered until it ends or wants nobody any more."""
    try:
        caller = await _connected(folder)
        if caller is None:
            return
        with caller:
            await _serve(folder, caller, answer)
    except OSError as error:  # the shim has gone
        log.warning("%s: its datasets: %s", folder.path.name, error.strerror)


async def _connected(folder: JobFolder) -> trio.socket.SocketType | None:
    """As soon as the shim listens there; None when it has gone."""
    parent = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            caller = trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                await caller.connect(f"/proc/self/fd/{parent}/{NAME}")
            except (FileNotFoundError, ConnectionRefusedError):
                caller.close()
            else:
                return caller
            if not folder.shim_lives():
                return None
            await trio.sleep(_LOOK_S)
    finally:
        os.close(parent)


async def _serve(folder: JobFolder, caller: trio.socket.SocketType, answer: Answering) -> None:
    fds = await _asked_for(caller, MOUNTS)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_hung_up, caller, nursery.cancel_scope)
            if fds:
                web = await _web_listener(folder)
                held = [DataDevice(fd, folder.data_notes(at)) for at, fd in enumerate(fds)]
                await _answered(folder, caller, partial(answer, held, web))
            nursery.cancel_scope.cancel()
    finally:
        for fd in fds:
            os.close(fd)


async def _asked_for(caller: trio.socket.SocketType, kind: bytes) -> list[int]:
    """Descriptors that the shim gives."""
    await caller.send(kind)
    size = socket.CMSG_SPACE(4 * DATA_MAX)
    _, messages, _, _ = await caller.recvmsg(1, size, socket.MSG_CMSG_CLOEXEC)
    data = messages[0][2] if messages else b""
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


async def _web_listener(folder: JobFolder) -> int:
    """-1: it has none, or has ended."""
    caller = await _connected(folder)
    if caller is None:
        return -1
    with caller:
        fds = await _asked_for(caller, WEB)
    return fds[0] if fds else -1


async def _answered(
    folder: JobFolder, caller: trio.socket.SocketType, answer: Callable[[], Awaitable[None]]
) -> None:
    try:
        await answer()
    except OSError as error:
        # Requests of the node before us are lost (Linux before 6.9): nobody may wait for them.
        log.warning("%s: its datasets cannot be answered: %s", folder.path.name, error.strerror)
        folder.order_note(f"swarm: the datasets end here: {error.strerror}")
        with contextlib.suppress(OSError):
            await caller.send(LET_GO)


async def _until_hung_up(caller: trio.socket.SocketType, scope: trio.CancelScope) -> None:
    with contextlib.suppress(OSError):
        await caller.recv(1)
    scope.cancel()
