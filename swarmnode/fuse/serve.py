"""Answers one mount while there is one: reads requests, hands wishes on, writes answers."""

import errno
import logging
import os
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import trio

from swarmnode.fuse import passthrough, protocol
from swarmnode.fuse.core import FileOpening, FuseAnswer, FuseCore, Interrupted, Wanted
from swarmnode.fuse.inodes import ContentPlace
from swarmnode.fuse.opens import Opens
from swarmnode.fuse.passthrough import Notes

Pieces: TypeAlias = Sequence[bytes | memoryview]
_AT_ONCE: Final = 32
"""Requests handled before others get a turn."""
_SETTLES_S: Final = 0.5
"""Whoever opens a file waits so long for its last bytes to come to this machine's disk."""
_NOBODY_WAITS: Final = (errno.ENOENT, errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED)
"""Of an answer: whoever asked was killed, or the mount is gone."""

log = logging.getLogger("swarm")


class ContentFailedError(Exception):
    """Bytes that cannot be given: the reader gets an input/output error. Whoever raises it has told
    the owner of the job."""


class Content(Protocol):
    """Where the bytes come from."""

    def ready(self, place: ContentPlace, size: int) -> Pieces | None:
        """What is here already; None: it takes a while."""
        ...

    async def read(self, place: ContentPlace, size: int) -> Pieces:
        """Exactly so many bytes. Raises ContentFailedError."""
        ...

    def whole(self, place: ContentPlace) -> int | None:
        """A descriptor of a file of this machine that is what begins there, to its last byte, and
        stays so. Whoever asked closes it. None: there is none."""
        ...

    def is_settling(self, place: ContentPlace) -> bool:
        """There may be one in a moment."""
        ...

    async def settle(self, place: ContentPlace) -> None:
        """Return when that moment is over."""
        ...

    def passed(self, place: ContentPlace) -> None:
        """Programs read that file without us from here on."""
        ...


class FuseMount:
    """One descriptor of /dev/fuse, which stays its owner's."""

    def __init__(self, fd: int, core: FuseCore, content: Content, notes: Notes) -> None:
        self._fd, self._core, self._content, self._notes = fd, core, content, notes
        self._waiting: dict[int, trio.CancelScope] = {}
        """Reads under way, by the numbers of their requests."""

    async def run(self, *, is_taken_over: bool = False) -> None:
        """Return once it is unmounted. `is_taken_over`: another process has served it before.

        Raises OSError (EINVAL) where that process's requests cannot be asked for again: whoever
        waits for them must be let go by closing every copy of the descriptor.
        """
        os.set_blocking(self._fd, False)
        if is_taken_over:
            self._take_over()
        buffer = bytearray(protocol.REQUEST_BYTES_MAX)
        async with trio.open_nursery() as nursery:
            while self._take_some(buffer, nursery):
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.wait_readable(self._fd)
            nursery.cancel_scope.cancel()

    def _take_over(self) -> None:
        for node in self._core.opens.passed:
            if (place := self._core.place(node)) is not None:
                self._content.passed(place)
        os.write(self._fd, protocol.resend_please())

    def _take_some(self, buffer: bytearray, nursery: trio.Nursery) -> bool:
        """False when there is no mount any more."""
        for _ in range(_AT_ONCE):
            try:
                size = os.readv(self._fd, [buffer])
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):  # whoever asked has just gone
                    continue
                if error.errno in (errno.ENODEV, errno.ECONNABORTED, errno.ENOTCONN):
                    return False
                raise
            self._handle(bytes(memoryview(buffer)[:size]), nursery)
        return True

    def _handle(self, data: bytes, nursery: trio.Nursery) -> None:
        match self._core.handle(data):
            case FuseAnswer() as answer:
                self._send(answer.unique, (answer.body,), answer.error)
            case Wanted() as wanted:
                pieces = self._content.ready(wanted.place, wanted.size)
                if pieces is None:
                    # Known at once: the next request that is read here may take it back.
                    scope = self._waiting[wanted.unique] = trio.CancelScope()
                    nursery.start_soon(self._fetch, wanted, scope)
                else:
                    self._send(wanted.unique, pieces)
            case FileOpening() as opening:
                may_pass = self._core.opens.may_pass(opening.node)
                if may_pass and self._content.is_settling(opening.place):
                    nursery.start_soon(self._open_soon, opening)
                else:
                    self._open(opening)
            case Interrupted(unique):
                if (waiting := self._waiting.get(unique)) is not None:
                    waiting.cancel()
            case None:
                pass

    async def _fetch(self, wanted: Wanted, scope: trio.CancelScope) -> None:
        pieces: Pieces = ()
        error = errno.EINTR
        with scope:
            try:
                pieces = await self._content.read(wanted.place, wanted.size)
                error = 0
            except ContentFailedError:
                error = errno.EIO
        del self._waiting[wanted.unique]
        self._send(wanted.unique, pieces, error)

    async def _open_soon(self, opening: FileOpening) -> None:
        with trio.move_on_after(_SETTLES_S):
            await self._content.settle(opening.place)
        self._open(opening)

    def _open(self, opening: FileOpening) -> None:
        opens = self._core.opens
        backing = opens.passed.get(opening.node) or self._pass_on(opening, opens)
        is_there = self._send(opening.unique, (protocol.open_answer(backing),))
        if is_there and not backing:
            opens.opened(opening.node)

    def _pass_on(self, opening: FileOpening, opens: Opens) -> int:
        """The kernel's number of the file that it reads by itself from now on; 0: there is none."""
        if not opens.may_pass(opening.node):
            return 0
        fd = self._content.whole(opening.place)
        if fd is None:
            return 0
        try:
            backing = passthrough.hand_over(self._fd, fd)
            self._notes.add(opening.node, backing)
        except OSError as error:
            log.info("the kernel does not read datasets by itself: %s", error.strerror)
            opens.refuse()
            return 0
        finally:
            os.close(fd)
        opens.pass_on(opening.node, backing)
        self._content.passed(opening.place)
        return backing

    def _send(self, unique: int, pieces: Pieces, error: int = 0) -> bool:
        """False where nobody waits for it any more."""
        head = protocol.answer_head(unique, sum(map(len, pieces)), error)
        try:
            os.writev(self._fd, [head, *pieces])
        except OSError as exc:
            if exc.errno not in _NOBODY_WAITS:
                raise
            return False
        return True
