"""The sockets of a job's network, as its shim hands them out: see shim/hatch.py."""

import array
import os
import socket
import struct
from typing import Final, NamedTuple

import trio

from swarmnode.executor.job_folder import JobFolder
from swarmnode.executor.shim import hatch

_ORIGINAL_DST: Final = 80  # linux/netfilter_ipv4.h
_RETRY_S: Final = 0.2


class NetSockets(NamedTuple):
    """All made inside."""

    listener: trio.socket.SocketType
    """Every TCP connection that leads out arrives here."""
    questions: trio.socket.SocketType
    """Of DNS."""
    dns_listener: trio.socket.SocketType


async def sockets_of(folder: JobFolder) -> NetSockets:
    """Copies of those that the shim keeps; asked for until it gives them."""
    while True:
        try:
            held = await _ask(folder)
        except OSError:  # it has only begun, or is about to end
            held = []
        if len(held) == hatch.SOCKETS_COUNT:
            sockets = [socket.socket(fileno=fd) for fd in held]
            return NetSockets(*map(trio.socket.from_stdlib_socket, sockets))
        for fd in held:
            os.close(fd)
        await trio.sleep(_RETRY_S)


async def _ask(folder: JobFolder) -> list[int]:
    parent = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            await sock.connect(f"/proc/self/fd/{parent}/{hatch.NAME}")
            await sock.send(hatch.SOCKETS)
            size = socket.CMSG_SPACE(4 * hatch.SOCKETS_COUNT)
            _, held, _, _ = await sock.recvmsg(1, size, socket.MSG_CMSG_CLOEXEC)
    finally:
        os.close(parent)
    fds = array.array("i")
    for _, _, data in held:
        fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def wanted(sock: trio.socket.SocketType) -> tuple[str, int] | None:
    """Address and port that a program connected to; None when that was the listener itself."""
    try:
        raw = sock.getsockopt(socket.IPPROTO_IP, _ORIGINAL_DST, 16)
        here = sock.getsockname()
    except OSError:  # it is over already
        return None
    assert isinstance(raw, bytes)
    port, address = struct.unpack("!2xH4s8x", raw)
    there = socket.inet_ntoa(address), port
    return None if there == here[:2] else there
