"""How requests of the kernel and answers to it are written: linux/fuse.h, version 7.

Little is taken for granted of a request, though the kernel makes it: one that is not as it should
be gets an error for an answer, or none.
"""

import struct
from enum import IntEnum
from typing import Final

import msgspec

from swarmnode.fuse.inodes import Inode

VERSION: Final = (7, 40)
"""The newest that we speak: 7.40 has what a lost request is sent again by, and files that the
kernel reads by itself (Linux 6.9)."""
MINOR_MIN: Final = 31
"""Of Linux 5.4; before that nothing can be mounted in the way that we do."""
FOREVER_S: Final = 1 << 30
"""What is shown does not change."""
_LONG_AGO_S: Final = 315_619_200
"""The time of everything: 2 January 1980, UTC. What is older nobody can put into a zip archive."""
READ_BYTES_MAX: Final = 1 << 20
PAGE_BYTES: Final = 4096
REQUEST_BYTES_MAX: Final = 1 << 16
"""Longer than any request to what cannot be written to; the kernel insists on 8 KiB at least."""

_HEAD: Final = struct.Struct("=IIQQIIII")
_ANSWER: Final = struct.Struct("=IiQ")
_ATTRIBUTES: Final = struct.Struct("=QQQQQQIIIIIIIIII")
_ENTRY: Final = struct.Struct("=QQQQII")
_ATTRIBUTES_HEAD: Final = struct.Struct("=QII")
_NAME_HEAD: Final = struct.Struct("=QQII")
READ: Final = struct.Struct("=QQIIQII")
INIT: Final = struct.Struct("=IIIII")
_INIT_ANSWER: Final = struct.Struct("=IIIIHHIIHHII24x")
_OPEN_ANSWER: Final = struct.Struct("=QIi")
_STATFS: Final = struct.Struct("=QQQQQIIII24x")
INTERRUPT: Final = struct.Struct("=Q")

_READ_AHEAD_BYTES: Final = 8 << 20
_BACKGROUND, _CONGESTED = 64, 48
"""Requests of read-ahead under way: 64 of 128 KiB hide 8 MiB of distance."""
# ASYNC_READ, DO_READDIRPLUS, READDIRPLUS_AUTO, NO_OPEN_SUPPORT, PARALLEL_DIROPS, MAX_PAGES,
# CACHE_SYMLINKS, NO_OPENDIR_SUPPORT, EXPLICIT_INVAL_DATA, INIT_EXT
_FLAGS: Final = sum(1 << bit for bit in (0, 13, 14, 17, 18, 22, 23, 24, 25, 30))
_HAS_RESEND, PASSTHROUGH = 1 << 7, 1 << 5
"""In the second word of flags."""
_STACKED_MAX: Final = 2
"""File systems that lie on others, below a file that the kernel reads by itself and with us: as
many as it allows, for the disk of a container is one already."""
_KEEP_CACHE, _NO_FLUSH, _PASSES = 1 << 1, 1 << 5, 1 << 7
"""How a file is open: pages stay, closing asks nobody, the kernel reads it by itself."""
_RESEND: Final = 7
RESEND_MARK: Final = 1 << 63
"""In the number of a request that is sent again; its answer has it, too."""


class Op(IntEnum):
    """Requests that are answered by more than an error."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    READLINK = 5
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    ACCESS = 34
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    READDIRPLUS = 44


WRITES: Final = frozenset({4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51})
"""Requests that would change something. The mount is read-only: the kernel refuses them itself."""


class FuseRequest(msgspec.Struct, frozen=True):
    """One of the kernel's."""

    op: int
    unique: int
    """By which its answer is known."""
    node: int
    body: bytes


def read_request(data: bytes) -> FuseRequest | None:
    """None for what is no request at all: nobody waits for an answer then."""
    if len(data) < _HEAD.size:
        return None
    length, op, unique, node, *_ = _HEAD.unpack_from(data)
    if length != len(data) or not unique & ~RESEND_MARK:
        return None
    return FuseRequest(op, unique, node, data[_HEAD.size :])


def answer_head(unique: int, size: int, error: int = 0) -> bytes:
    """What comes before `size` bytes of an answer; `error` as errno has it."""
    return _ANSWER.pack(_ANSWER.size + size, -error, unique)


def resend_please() -> bytes:
    """Asks for all requests again that were sent to a server that is no more."""
    return _ANSWER.pack(_ANSWER.size, _RESEND, 0)


def attributes(number: int, node: Inode) -> bytes:
    """As GETATTR answers."""
    return _ATTRIBUTES_HEAD.pack(FOREVER_S, 0, 0) + _attributes(number, node)


def entry(number: int, node: Inode) -> bytes:
    """As LOOKUP answers."""
    return _ENTRY.pack(number, 0, FOREVER_S, FOREVER_S, 0, 0) + _attributes(number, node)


def no_entry() -> bytes:
    """There is no such name, and there will be none."""
    return _ENTRY.pack(0, 0, FOREVER_S, 0, 0, 0) + bytes(_ATTRIBUTES.size)


def _attributes(number: int, node: Inode) -> bytes:
    blocks = (node.size + 511) // 512
    times = (_LONG_AGO_S,) * 3 + (0,) * 3
    return _ATTRIBUTES.pack(
        number, node.size, blocks, *times, node.mode, 1, 0, 0, 0, READ_BYTES_MAX, 0
    )


def name_line(number: int, place: int, name: bytes, node: Inode) -> bytes:
    """One name of a folder; `place` is where reading goes on after it."""
    head = _NAME_HEAD.pack(number, place, len(name), node.mode >> 12)
    return head + name + bytes(-(len(head) + len(name)) % 8)


def init_answer(minor: int, flags: int, flags2: int) -> bytes:
    """What of the kernel's offers is taken; `flags2`: the second word of what we would take."""
    agreed = min(minor, VERSION[1])
    pages = READ_BYTES_MAX // PAGE_BYTES
    taken = flags2 & (_HAS_RESEND | PASSTHROUGH)
    return _INIT_ANSWER.pack(
        VERSION[0], agreed, _READ_AHEAD_BYTES, flags & _FLAGS, _BACKGROUND, _CONGESTED,
        PAGE_BYTES, 1, pages, 0, taken, _STACKED_MAX if taken & PASSTHROUGH else 0,
    )  # fmt: skip


def open_answer(backing: int = 0) -> bytes:
    """As OPEN answers; `backing`: the file that the kernel reads by itself."""
    return _OPEN_ANSWER.pack(0, (_PASSES if backing else _KEEP_CACHE) | _NO_FLUSH, backing)


def statfs(files: int, size: int) -> bytes:
    """A full disk of that size: nothing can be written."""
    blocks = -(-size // PAGE_BYTES)
    return _STATFS.pack(blocks, 0, 0, files, 0, PAGE_BYTES, 255, PAGE_BYTES, 0)
