"""Files on their way to this machine, each once for all who wait for it.

From the internet a file is read along while it comes: it comes as it would without us, over TLS,
and its last bytes are held back until all are known to be right, so nobody takes a wrong one for
whole. From a machine of our lab, or of this one before it started, nothing is shown before all of
it was checked: who goes on with a download that broke off would go on with wrong bytes.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Final

import msgspec
import trio

from p2p.ids import PeerId
from p2p.workers import Workers
from swarmnode.contained import contained
from swarmnode.mirror.errors import MirrorError, NotKeptError, UpstreamError
from swarmnode.mirror.lab import LabFiles
from swarmnode.mirror.limits import AHEAD_BYTES, LAB_PIECE_BYTES, LAB_PIECES_AT_ONCE
from swarmnode.mirror.rules.digest import FileCheck, FileDigest
from swarmnode.mirror.shelf import FileComing, MirrorShelf
from swarmnode.mirror.upstream import UpstreamAnswer

_READ_BYTES: Final = 256 * 1024
_HELD_BACK_BYTES: Final = 64 * 1024
log = logging.getLogger("swarm")


class FileWant(msgspec.Struct, frozen=True):
    """What somebody waits for."""

    digest: FileDigest
    fetch: Callable[[], AbstractAsyncContextManager[UpstreamAnswer]]
    """Asks the internet for all of it."""
    size: int | None = None
    """Where it is known."""


class FileArrival:
    """One file as far as it is here."""

    def __init__(self, workers: Workers, *, is_over: bool = False) -> None:
        """`is_over`: nobody brings more of it."""
        self._workers, self._is_over = workers, is_over
        self.size: int | None = None
        """None before it is known."""
        self.origin = ""
        """Where it comes from: kept, lab or upstream."""
        self.scope = trio.CancelScope()
        self.readers = 0
        self._fd = -1
        self._shown = 0
        """Bytes that may be read."""
        self._wanted = 0
        """As far as somebody has read."""
        self._failure: MirrorError | None = None
        self._changed = trio.Event()

    def begin(self, fd: int, size: int, origin: str) -> None:
        """Its bytes will be there; the descriptor is ours from now on."""
        self._close()
        self._fd, self.size, self.origin = fd, size, origin
        self._stir()

    def show(self, count: int) -> None:
        """So many bytes from the start may be read."""
        self._shown = count
        self._stir()

    def fail(self, error: MirrorError) -> None:
        """No more will come, for that reason."""
        self._failure = self._failure or error
        self._stir()

    def over(self) -> None:
        """Nobody brings more of it."""
        self._is_over = True
        self.fail(UpstreamError("it was broken off"))  # of no concern to who can have all of it
        self.leave(0)

    def leave(self, count: int = 1) -> None:
        """A reader is done."""
        self.readers -= count
        if not self.readers and self._is_over:
            self._close()

    async def known(self) -> int:
        """Its size. Raises MirrorError."""
        while self.size is None:
            await self._change()
        return self.size

    async def read(self, at: int, end: int) -> bytes:
        """Some bytes from there on, as soon as there are any. Raises MirrorError."""
        self._wanted = max(self._wanted, at)
        self._stir()
        while self._shown <= at:
            await self._change()
        count = min(end - at, self._shown - at, _READ_BYTES)
        try:
            piece = await self._workers.run(partial(os.pread, self._fd, count, at))
        except OSError as error:
            raise UpstreamError(f"this machine's disk: {error.strerror}") from error
        if not piece:
            raise UpstreamError("this machine's disk: it is shorter than it was")
        return piece

    async def room(self, have: int) -> None:
        """Return when somebody has read so far that more is to come."""
        while have > self._wanted + AHEAD_BYTES:
            await self._changed.wait()

    async def _change(self) -> None:
        if self._failure is not None:
            raise self._failure
        await self._changed.wait()

    def _stir(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FileBringer:
    """All files of this machine's mirrors."""

    def __init__(
        self, shelf: MirrorShelf, lab: LabFiles, workers: Workers, nursery: trio.Nursery
    ) -> None:
        self._shelf, self._lab, self._workers, self._nursery = shelf, lab, workers, nursery
        self._coming: dict[FileDigest, FileArrival] = {}

    def is_near(self, digest: FileDigest) -> bool:
        """Whether it is here, or on its way."""
        return digest in self._coming or self._shelf.size(str(digest)) is not None

    @asynccontextmanager
    async def file(self, want: FileWant) -> AsyncIterator[FileArrival]:
        """One that is here, or comes; when nobody waits for it any more it comes no further."""
        arrival = self._coming.get(want.digest) or self._kept(want.digest)
        if arrival is None:
            arrival = self._coming[want.digest] = FileArrival(self._workers)
            self._nursery.start_soon(self._bring, want, arrival)
        arrival.readers += 1
        try:
            yield arrival
        finally:
            arrival.leave()
            if not arrival.readers and self._coming.get(want.digest) is arrival:
                del self._coming[want.digest]
                arrival.scope.cancel()

    def _kept(self, digest: FileDigest) -> FileArrival | None:
        if not self._shelf.is_checked(str(digest)):
            return None
        arrival = FileArrival(self._workers, is_over=True)
        return arrival if self._show_kept(digest, arrival) else None

    def _show_kept(self, digest: FileDigest, arrival: FileArrival) -> bool:
        try:
            fd = self._shelf.open(str(digest))
        except OSError:
            return False
        size = os.fstat(fd).st_size
        arrival.begin(fd, size, "kept")
        arrival.show(size)
        return True

    async def _bring(self, want: FileWant, arrival: FileArrival) -> None:
        try:
            with arrival.scope, contained(f"the fetch of {want.digest}"):
                await self._try(want, arrival)
        finally:
            arrival.over()
            if self._coming.get(want.digest) is arrival:
                del self._coming[want.digest]

    async def _try(self, want: FileWant, arrival: FileArrival) -> None:
        try:
            await self._bring_from_somewhere(want, arrival)
        except MirrorError as error:
            arrival.fail(error)

    async def _bring_from_somewhere(self, want: FileWant, arrival: FileArrival) -> None:
        """Raises MirrorError."""
        name = str(want.digest)
        is_here = await self._workers.run(partial(self._shelf.check, name))
        if is_here and self._show_kept(want.digest, arrival):
            return
        asked: set[PeerId] = set()
        while (holder := await self._lab.holder(name, asked)) is not None:
            peer, size = holder
            asked.add(peer)
            with suppress(
                NotKeptError
            ):  # for want of room here: nothing is wrong with that machine
                if want.size in (None, size) and await self._bring_from(peer, size, want, arrival):
                    return
                self._lab.shun(peer)
        async with want.fetch() as answer:
            await self._bring_answer(answer, want, arrival)

    # -- from the internet

    async def _bring_answer(
        self, answer: UpstreamAnswer, want: FileWant, arrival: FileArrival
    ) -> None:
        size = _length_of(answer)
        if want.size not in (None, size):
            raise UpstreamError(f"{answer.place} has {size} bytes, and not {want.size}")
        async with self._place(size, want.digest) as writing:
            if size:  # of no bytes nothing can be held back until it is checked
                arrival.begin(writing.another(), size, "upstream")
            while piece := await answer.more():
                await arrival.room(writing.count)
                await writing.take(piece)
                arrival.show(max(0, writing.count - _HELD_BACK_BYTES))
            if not writing.check.is_right():
                log.warning("%s is not what its digest says: it is not kept", answer.place)
                raise UpstreamError(f"{answer.place} is not what its digest says")
            if not size:
                arrival.begin(writing.another(), size, "upstream")
            arrival.show(size)

    # -- from a machine of our lab

    async def _bring_from(
        self, peer: PeerId, size: int, want: FileWant, arrival: FileArrival
    ) -> bool:
        """False where it has not given what was asked for: nobody has heard of it then, not even
        how long that was. Raises NotKeptError."""
        try:
            async with self._place(size, want.digest) as writing:
                await self._write_pieces(peer, size, want.digest, writing)
                if not writing.check.is_right():
                    log.warning("%s gave a file that is not what its digest says", peer)
                    raise UpstreamError("a machine of this lab gave other bytes")
                arrival.begin(writing.another(), size, "lab")
                arrival.show(size)
        except UpstreamError:
            return False
        return True

    async def _write_pieces(
        self, peer: PeerId, size: int, digest: FileDigest, writing: "_Writing"
    ) -> None:
        """Several on their way at once, written in order."""
        for start in range(0, size, LAB_PIECES_AT_ONCE * LAB_PIECE_BYTES):
            pieces: dict[int, bytes | UpstreamError] = {}
            async with trio.open_nursery() as nursery:
                for at in range(start, size, LAB_PIECE_BYTES)[:LAB_PIECES_AT_ONCE]:
                    count = min(LAB_PIECE_BYTES, size - at)
                    nursery.start_soon(self._one_piece, peer, str(digest), at, count, pieces)
            for at in sorted(pieces):
                if isinstance(piece := pieces[at], UpstreamError):
                    raise piece
                await writing.take(piece)

    async def _one_piece(
        self, peer: PeerId, name: str, at: int, count: int, into: dict[int, bytes | UpstreamError]
    ) -> None:
        try:
            into[at] = await self._lab.piece(peer, name, at, count)
        except UpstreamError as error:
            into[at] = error

    @asynccontextmanager
    async def _place(self, size: int, digest: FileDigest) -> AsyncIterator["_Writing"]:
        """Where it is written; kept unless something was raised meanwhile."""
        coming = await self._workers.run(partial(self._shelf.begin, size))
        name = ""
        try:
            yield _Writing(coming, digest, self._workers)
            name = str(digest)
        finally:
            os.close(coming.fd)
            with trio.CancelScope(shield=True):
                await self._workers.run(partial(self._shelf.end, coming, name))


class _Writing:
    """The bytes of one file as they come, onto the disk."""

    def __init__(self, coming: FileComing, digest: FileDigest, workers: Workers) -> None:
        self._coming, self._workers = coming, workers
        self.check, self.count = FileCheck(digest, coming.size), 0

    def another(self) -> int:
        """A descriptor for those who read it. Raises NotKeptError."""
        try:
            return os.dup(self._coming.fd)
        except OSError as error:
            raise NotKeptError(f"this node: {error.strerror}") from error

    async def take(self, piece: bytes) -> None:
        """The next ones. Raises NotKeptError."""
        await self._workers.run(partial(self._write, piece))
        self.count += len(piece)

    def _write(self, piece: bytes) -> None:
        self.check.update(piece)
        view, at = memoryview(piece), self.count
        try:
            while view:
                count = os.pwrite(self._coming.fd, view, at)
                view, at = view[count:], at + count
        except OSError as error:
            raise NotKeptError(f"this machine's disk: {error.strerror}") from error


def _length_of(answer: UpstreamAnswer) -> int:
    """Raises UpstreamError, NotKeptError."""
    if answer.status != 200:
        is_gone = answer.status in (404, 410)
        words = f"{answer.place} answers {answer.status}"
        raise UpstreamError(words, answer.status if is_gone else 502)
    if answer.length is None or answer.header("content-encoding") not in ("", "identity"):
        raise NotKeptError(f"{answer.place} does not say how long it is")
    return answer.length
