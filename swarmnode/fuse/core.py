"""What is answered to each request of the kernel. Decides only: bytes in, answers or wishes out."""

import errno
import stat
from typing import Final, TypeAlias

import msgspec

from swarmnode.fuse import protocol
from swarmnode.fuse.inodes import ContentPlace, Inode, Inodes
from swarmnode.fuse.opens import Opens
from swarmnode.fuse.protocol import FuseRequest, Op
from swarmnode.limits import NAME_PART_BYTES_MAX


class FuseAnswer(msgspec.Struct, frozen=True):
    """To be sent to the kernel as it is: head and body."""

    unique: int
    body: bytes = b""
    error: int = 0
    """As errno has it; then there is no body."""


class Wanted(msgspec.Struct, frozen=True):
    """Bytes that the request `unique` waits for: `size` of them from `place` on."""

    unique: int
    place: ContentPlace
    size: int


class FileOpening(msgspec.Struct, frozen=True):
    """Somebody opens that file, and waits for an answer."""

    unique: int
    node: int
    place: ContentPlace


class Interrupted(msgspec.Struct, frozen=True):
    """Whoever waits for `unique` was sent a signal: it is answered with EINTR if it waits still."""

    unique: int


Outcome: TypeAlias = FuseAnswer | Wanted | FileOpening | Interrupted | None
"""None: no answer is expected."""
_SILENT: Final = frozenset({Op.FORGET, Op.BATCH_FORGET})
_DONE: Final = frozenset({Op.RELEASE, Op.RELEASEDIR, Op.DESTROY})


class FuseCore:
    """The answers of one mount. Each request is whole in itself: nothing is remembered of others
    but how files are open, so that another process can go on where one has ended."""

    def __init__(self, inodes: Inodes, size: int, opens: Opens | None = None) -> None:
        """`size`: of all contents, for df(1)."""
        self._inodes, self._size = inodes, size
        self.opens = opens or Opens(is_wanted=False)

    def place(self, number: int) -> ContentPlace | None:
        """Of a file; None for a number that is none."""
        node = self._inodes.get(number)
        return node.place if node is not None and stat.S_ISREG(node.mode) else None

    def handle(self, data: bytes) -> Outcome:
        """One request as the kernel wrote it."""
        request = protocol.read_request(data)
        if request is None or request.op in _SILENT:
            return None
        if request.op == Op.INTERRUPT:
            return _interrupted(request)
        if request.op == Op.INIT:
            return self._on_init(request)
        if request.op in protocol.WRITES:
            return _failed(request, errno.EROFS)
        node = self._inodes.get(request.node)
        if request.op == Op.STATFS:
            return FuseAnswer(request.unique, protocol.statfs(len(self._inodes), self._size))
        if request.op == Op.RELEASE:
            self.opens.released(request.node)
        if request.op in _DONE:
            return FuseAnswer(request.unique)
        if node is None:
            return _failed(request, errno.ESTALE)
        return self._on_node(request, node)

    def _on_node(self, request: FuseRequest, node: Inode) -> Outcome:
        match request.op:
            case Op.READ:
                return _on_read(request, node)
            case Op.LOOKUP:
                return self._on_lookup(request, node)
            case Op.GETATTR:
                return FuseAnswer(request.unique, protocol.attributes(request.node, node))
            case Op.READDIR | Op.READDIRPLUS:
                return self._on_list(request, node)
            case Op.READLINK if stat.S_ISLNK(node.mode):
                return FuseAnswer(request.unique, node.target)
            case Op.READLINK:
                return _failed(request, errno.EINVAL)
            case Op.OPEN if self.opens.are_asked and stat.S_ISREG(node.mode):
                return FileOpening(request.unique, request.node, node.place)
        # OPENDIR, FLUSH, ACCESS, attributes of other kinds, often OPEN: asked once, then never.
        return _failed(request, errno.ENOSYS)

    def _on_init(self, request: FuseRequest) -> FuseAnswer:
        if len(request.body) < protocol.INIT.size:
            return _failed(request, errno.EPROTO)
        major, minor, _, flags, flags2 = protocol.INIT.unpack_from(request.body)
        if major != protocol.VERSION[0] or minor < protocol.MINOR_MIN:
            return _failed(request, errno.EPROTO)
        if not self.opens.is_wanted:
            flags2 &= ~protocol.PASSTHROUGH
        self.opens.is_agreed = bool(flags2 & protocol.PASSTHROUGH)
        return FuseAnswer(request.unique, protocol.init_answer(minor, flags, flags2))

    def _on_lookup(self, request: FuseRequest, node: Inode) -> FuseAnswer:
        if not stat.S_ISDIR(node.mode):
            return _failed(request, errno.ENOTDIR)
        name, end, rest = request.body.partition(b"\0")
        if not end or rest:
            return _failed(request, errno.EINVAL)
        if len(name) > NAME_PART_BYTES_MAX:
            return _failed(request, errno.ENAMETOOLONG)
        number = self._inodes.names(request.node).get(name)
        found = self._inodes.get(number) if number else None
        if number is None or found is None:
            return FuseAnswer(request.unique, protocol.no_entry())
        return FuseAnswer(request.unique, protocol.entry(number, found))

    def _on_list(self, request: FuseRequest, node: Inode) -> FuseAnswer:
        if not stat.S_ISDIR(node.mode):
            return _failed(request, errno.ENOTDIR)
        if len(request.body) < protocol.READ.size:
            return _failed(request, errno.EINVAL)
        _, offset, size, *_ = protocol.READ.unpack_from(request.body)
        lines, left = [], min(size, protocol.READ_BYTES_MAX)
        names = self._inodes.listed(request.node)
        for at in range(min(offset, len(names)), len(names)):
            line = self._line(request.op, at, *names[at])
            if len(line) > left:
                break
            lines.append(line)
            left -= len(line)
        return FuseAnswer(request.unique, b"".join(lines))

    def _line(self, op: int, at: int, name: bytes, number: int) -> bytes:
        node = self._inodes.get(number)
        assert node is not None
        line = protocol.name_line(number, at + 1, name, node)
        if op == Op.READDIR:
            return line
        # The kernel takes no attributes of the folder itself and the one above from here.
        is_told = name not in (b".", b"..")
        return (protocol.entry(number, node) if is_told else protocol.no_entry()) + line


def _failed(request: FuseRequest, error: int) -> FuseAnswer:
    return FuseAnswer(request.unique, error=error)


def _interrupted(request: FuseRequest) -> Interrupted | None:
    if len(request.body) < protocol.INTERRUPT.size:
        return None
    return Interrupted(protocol.INTERRUPT.unpack_from(request.body)[0])


def _on_read(request: FuseRequest, node: Inode) -> FuseAnswer | Wanted:
    if not stat.S_ISREG(node.mode):
        return _failed(request, errno.EISDIR)
    if len(request.body) < protocol.READ.size:
        return _failed(request, errno.EINVAL)
    _, offset, size, *_ = protocol.READ.unpack_from(request.body)
    size = min(size, protocol.READ_BYTES_MAX, node.size - offset)
    if size <= 0:
        return FuseAnswer(request.unique)
    return Wanted(request.unique, node.place.after(offset), size)
