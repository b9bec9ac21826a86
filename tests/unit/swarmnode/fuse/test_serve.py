"""Requests as the kernel gives them to who serves a mount; a socket is in its device's place."""

import errno
import socket
import struct
from pathlib import Path

import trio

from swarmnode.fuse.core import FuseCore
from swarmnode.fuse.opens import Opens
from swarmnode.fuse.passthrough import Notes
from swarmnode.fuse.protocol import INTERRUPT, READ, Op
from swarmnode.fuse.serve import FuseMount
from tests.data_lab import Numbered, one_file

HEAD = struct.Struct("=IIQQIIII")
FILE = 1


def request(op: Op, unique: int, body: bytes) -> bytes:
    return HEAD.pack(HEAD.size + len(body), op, unique, FILE, 0, 0, 0, 0) + body


async def test_a_read_that_is_taken_back_before_it_was_begun_is_answered_at_once(
    tmp_path: Path,
) -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        core = FuseCore(one_file(1 << 20), 1 << 40, Opens(None, is_wanted=False))
        mount = FuseMount(ours.fileno(), core, Numbered(is_held=True), Notes(tmp_path / "notes"))
        kernel.send(request(Op.READ, 7, READ.pack(0, 0, 4096, 0, 0, 0, 0)))
        kernel.send(request(Op.INTERRUPT, 8, INTERRUPT.pack(7)))
        kernel.setblocking(False)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(mount.run)
                await trio.lowlevel.wait_readable(kernel)
                nursery.cancel_scope.cancel()
        assert struct.unpack("=IiQ", kernel.recv(64)) == (16, -errno.EINTR, 7)
