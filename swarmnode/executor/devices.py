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
from swarmnode.executor.port import DataMount, JobId
from swarmnode.executor.shim.hatch import LET_GO, MOUNTS, NAME
from swarmnode.limits import DATA_MAX

_LOOK_S: Final = 0.01
log = logging.getLogger("swarm")
Answering: TypeAlias = Callable[[Sequence[int]], Awaitable[None]]
"""Answers the devices until there is nothing mounted any more, or it is cancelled."""


async def nobody(
    _job: JobId, _mounts: Sequence[DataMount], _fds: Sequence[int], _is_taken_over: bool
) -> None:
    """The answer where nobody answers."""
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
    await caller.send(MOUNTS)
    size = socket.CMSG_SPACE(4 * DATA_MAX)
    _, held, _, _ = await caller.recvmsg(1, size, socket.MSG_CMSG_CLOEXEC)
    data = held[0][2] if held else b""
    fds = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_hung_up, caller, nursery.cancel_scope)
            if fds:
                await _answered(folder, caller, partial(answer, fds))
            nursery.cancel_scope.cancel()
    finally:
        for fd in fds:
            os.close(fd)


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
