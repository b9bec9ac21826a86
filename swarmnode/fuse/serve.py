"""Answers one mount while there is one: reads requests, hands wishes on, writes answers."""

import errno
import os
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import trio

from swarmnode.fuse import protocol
from swarmnode.fuse.core import FuseAnswer, FuseCore, Interrupted, Wanted
from swarmnode.fuse.inodes import ContentPlace

Pieces: TypeAlias = Sequence[bytes | memoryview]
_AT_ONCE: Final = 32
"""Requests handled before others get a turn."""
_NOBODY_WAITS: Final = (errno.ENOENT, errno.ENODEV, errno.ENOTCONN, errno.ECONNABORTED)
"""Of an answer: whoever asked was killed, or the mount is gone."""


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


class FuseMount:
    """One descriptor of /dev/fuse, which stays its owner's."""

    def __init__(self, fd: int, core: FuseCore, content: Content) -> None:
        self._fd, self._core, self._content = fd, core, content
        self._waiting: dict[int, trio.CancelScope] = {}
        """Reads under way, by the numbers of their requests."""

    async def run(self, *, is_taken_over: bool = False) -> None:
        """Return once it is unmounted. `is_taken_over`: another process has served it before.

        Raises OSError (EINVAL) where that process's requests cannot be asked for again: whoever
        waits for them must be let go by closing every copy of the descriptor.
        """
        os.set_blocking(self._fd, False)
        if is_taken_over:
            os.write(self._fd, protocol.resend_please())
        buffer = bytearray(protocol.REQUEST_BYTES_MAX)
        async with trio.open_nursery() as nursery:
            while self._take_some(buffer, nursery):
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.wait_readable(self._fd)
            nursery.cancel_scope.cancel()

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
                    nursery.start_soon(self._fetch, wanted)
                else:
                    self._send(wanted.unique, pieces)
            case Interrupted(unique):
                if (scope := self._waiting.get(unique)) is not None:
                    scope.cancel()
            case None:
                pass

    async def _fetch(self, wanted: Wanted) -> None:
        pieces: Pieces = ()
        error = errno.EINTR
        with trio.CancelScope() as scope:
            self._waiting[wanted.unique] = scope
            try:
                pieces = await self._content.read(wanted.place, wanted.size)
                error = 0
            except ContentFailedError:
                error = errno.EIO
            finally:
                del self._waiting[wanted.unique]
        self._send(wanted.unique, pieces, error)

    def _send(self, unique: int, pieces: Pieces, error: int = 0) -> None:
        head = protocol.answer_head(unique, sum(map(len, pieces)), error)
        try:
            os.writev(self._fd, [head, *pieces])
        except OSError as exc:
            if exc.errno not in _NOBODY_WAITS:
                raise
