"""Keeps what tasks print: pages in the tables, the beginning and the newest end of each stream.

    offset  0 ......... head ......... (not kept) ......... tail ......... length
    A task's stream is one line of bytes; each attempt begins where the one before had come to.

A provider pushes from the offset that we have; whatever comes twice or too early changes nothing.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from p2p.wire.codec import Record, encode
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from swarmnode.errors import LogStaleError
from swarmnode.limits import ATTEMPTS_KEPT_MAX, LOG_HEAD_PAGES, LOG_PAGE_BYTES, LOG_TAIL_PAGES
from swarmnode.tasks.choices import STREAMS
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.store import LOG_PAGES, LOG_STREAMS, task_key

_DELETED_PER_COMMIT: Final = 512
_READ_AT_ONCE: Final = 16
_WRITTEN_AT_ONCE: Final = 64


class StreamRecord(Record, frozen=True):
    """How far one stream of one task is kept."""

    length: int = 0
    """Bytes of all attempts, also of those not kept any more."""
    fence: int = 0
    """The attempt that is writing."""
    base: int = 0
    """Length when that attempt began."""
    before: tuple[tuple[int, int], ...] = ()
    """(fence, base) of the attempts before it that wrote, the newest ones."""

    def span(self, fence: int) -> tuple[int, int]:
        """Where what an attempt wrote begins and ends; everything for fence 0."""
        if not fence:
            return 0, self.length
        begins = [*self.before, (self.fence, self.base)]
        ends = [base for _, base in begins[1:]] + [self.length]
        spans = {attempt: (base, end) for (attempt, base), end in zip(begins, ends, strict=True)}
        return spans.get(fence, (self.length, self.length))

    def cut_back(self, is_known: Callable[[int], bool]) -> "StreamRecord":
        """Without the first attempt that is not known, and all that came after it."""
        begins = [*self.before, (self.fence, self.base)]
        for number, (fence, base) in enumerate(begins):
            if fence and not is_known(fence):
                *before, (last, began) = begins[:number] or [(0, 0)]
                return StreamRecord(base, last, began, tuple(before))
        return self

    def turned_to(self, fence: int) -> "StreamRecord":
        """With a later attempt, which writes from here on."""
        if fence == self.fence:
            return self
        before = (*self.before, (self.fence, self.base))[-ATTEMPTS_KEPT_MAX:]
        return StreamRecord(self.length, fence, self.length, before if self.fence else ())


class LogBook:
    """The logs of tasks submitted here. A stream is `stdout` or `stderr`."""

    def __init__(
        self, tables: Tables, head_pages: int = LOG_HEAD_PAGES, tail_pages: int = LOG_TAIL_PAGES
    ) -> None:
        self._tables = tables
        self._head, self._tail = head_pages, tail_pages
        """Pages kept of the beginning and of the end of each stream."""
        self._news: dict[TaskId, trio.Event] = {}
        """By task that somebody reads along: set and dropped by `wake`."""
        self._followers: dict[tuple[TaskId, str], int] = {}
        """How many read a stream now; a stream of none is not in it."""
        self._told_of_growth: list[Callable[[TaskId], None]] = []

    def on_grown(self, listener: Callable[[TaskId], None]) -> None:
        """Be told of the task after every piece that was taken; must not block."""
        self._told_of_growth.append(listener)

    async def take(self, task: TaskId, fence: int, stream: str, offset: int, body: bytes) -> int:
        """Keep a piece of an attempt's stream; the bytes of it that are stored now.

        Raises LogStaleError when a newer attempt is writing, StoreFullError.
        """

        def apply(view: WriteView) -> int:
            return self._append(view, task, fence, stream, offset, body)

        have = await self._tables.transact(apply)
        self.wake(task)
        for tell in self._told_of_growth:
            tell(task)
        return have

    def is_followed(self, task: TaskId, stream: str) -> bool:
        """Somebody reads along."""
        return (task, stream) in self._followers

    def wake(self, task: TaskId) -> None:
        """Let readers of a task look again: more has come, or it has ended."""
        event = self._news.pop(task, None)
        if event is not None:
            event.set()

    async def read(
        self, task: TaskId, stream: str, *, follow: Callable[[], bool], attempt: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """What is kept, in order, with a line where bytes are missing; of one attempt or of all.

        Goes on while `follow` says that more may come.
        """
        with self._following(task, stream):
            at = 0
            while True:
                may_grow = follow()  # asked first: what came before the end is read below
                first, length = self._stream(self._tables, task, stream).span(attempt)
                at = max(min(at, length), first)  # it may have been cut back
                while at < length:
                    at, piece = self._piece(task, stream, at, length)
                    yield piece
                if not may_grow:
                    return
                await self._wait_for_news(task, stream, at)

    @contextmanager
    def _following(self, task: TaskId, stream: str) -> Iterator[None]:
        key = (task, stream)
        self._followers[key] = self._followers.get(key, 0) + 1
        try:
            yield
        finally:
            self._followers[key] -= 1
            if not self._followers[key]:
                del self._followers[key]

    def extent(self, task: TaskId, stream: str) -> tuple[int, int]:
        """The attempt that wrote last, and how much of it there is."""
        record = self._stream(self._tables, task, stream)
        return record.fence, record.length - record.base

    def piece_after(
        self, task: TaskId, stream: str, fence: int, offset: int
    ) -> tuple[int, int, bytes]:
        """Attempt, place in it and bytes of the next piece after that; no bytes: nothing more.

        What is not kept is passed over.
        """
        record = self._stream(self._tables, task, stream)
        for attempt, _ in (*record.before, (record.fence, record.base)):
            base, end = record.span(attempt)
            at = base + offset if attempt == fence else base
            if attempt < fence or at >= end:
                continue
            if piece := self._page_from(task, stream, at, end):
                return attempt, at - base, piece
        return 0, 0, b""

    def length(self, task: TaskId) -> int:
        """Bytes of both streams, also of those not kept any more."""
        return sum(self._stream(self._tables, task, stream).length for stream in STREAMS)

    def streams(self, task: TaskId) -> tuple[StreamRecord, ...]:
        """How far each of STREAMS is kept, in that order."""
        return tuple(self._stream(self._tables, task, stream) for stream in STREAMS)

    def pages(self, task: TaskId) -> Iterator[tuple[bytes, bytes]]:
        """What is kept, as `take_back` wants it."""
        after: bytes | None = None
        while some := self._tables.scan(
            LOG_PAGES, task_key(task), after=after, limit=_READ_AT_ONCE
        ):
            yield from ((key[len(task_key(task)) :], page) for key, page in some)
            after = some[-1][0]

    async def take_back(
        self, task: TaskId, streams: Sequence[StreamRecord], pages: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Keep what another machine had kept of a task, unless as much of it is here.

        Raises StoreFullError; then, as after a crash, it may be said again.
        """
        have = self.length(task)
        if len(streams) != len(STREAMS) or have >= sum(stream.length for stream in streams):
            return
        if have:  # whoever ran it had begun to bring it
            await self.forget(task)
        for at in range(0, len(pages), _WRITTEN_AT_ONCE):
            await self._tables.transact(_putting(task, pages[at : at + _WRITTEN_AT_ONCE]))
        await self._tables.transact(_ending(task, streams))

    async def cut_back(self, task: TaskId, is_known: Callable[[int], bool]) -> None:
        """Drop what an attempt that is not known printed, and all that was kept after it: what the
        attempts before it printed can be gone on with. Raises StoreFullError."""

        def apply(view: WriteView) -> None:
            for stream in STREAMS:
                self._cut_back(view, task, stream, is_known)

        await self._tables.free(apply)

    def _cut_back(
        self, view: WriteView, task: TaskId, stream: str, is_known: Callable[[int], bool]
    ) -> None:
        record = self._stream(view, task, stream)
        cut = record.cut_back(is_known)
        if cut == record:
            return
        number, inside = divmod(cut.length, LOG_PAGE_BYTES)
        first, prefix = _page_key(task, stream, number), _stream_key(task, stream)
        for key, page in view.scan(LOG_PAGES, prefix, limit=self._head + self._tail + 1):
            if key > first or (key == first and not inside):
                view.delete(LOG_PAGES, key)
            elif key == first:
                view.put(LOG_PAGES, key, page[:inside])
        view.put(LOG_STREAMS, prefix, encode(cut))

    def tasks(self) -> list[TaskId]:
        """Every task of which something is kept."""
        tasks: dict[TaskId, None] = {}
        after: bytes | None = None
        while page := self._tables.scan(LOG_STREAMS, after=after):
            tasks.update((TaskId(key[:-1].decode()), None) for key, _ in page)
            after = page[-1][0]
        return list(tasks)

    async def forget(self, task: TaskId) -> None:
        """Delete everything kept of a task. Raises StoreFullError: then some of it is left."""

        def apply(view: WriteView) -> int:
            pages = view.scan(LOG_PAGES, task_key(task), limit=_DELETED_PER_COMMIT)
            for key, _ in pages:
                view.delete(LOG_PAGES, key)
            for stream in STREAMS:
                view.delete(LOG_STREAMS, _stream_key(task, stream))
            return len(pages)

        while await self._tables.free(apply) == _DELETED_PER_COMMIT:
            pass

    async def _wait_for_news(self, task: TaskId, stream: str, at: int) -> None:
        event = self._news.setdefault(task, trio.Event())
        if self._stream(self._tables, task, stream).length <= at:
            await event.wait()

    def _append(
        self, view: WriteView, task: TaskId, fence: int, stream: str, offset: int, body: bytes
    ) -> int:
        record = self._stream(view, task, stream)
        if fence < record.fence:
            raise LogStaleError(f"attempt {record.fence} of {task} is writing, not {fence}")
        record = record.turned_to(fence)
        have = record.length - record.base
        fresh = body[have - offset :] if 0 <= offset <= have else b""
        if fresh:
            self._write(view, task, stream, record.length, fresh)
        grown = StreamRecord(record.length + len(fresh), fence, record.base, record.before)
        view.put(LOG_STREAMS, _stream_key(task, stream), encode(grown))
        return grown.length - grown.base

    def _write(self, view: WriteView, task: TaskId, stream: str, at: int, data: bytes) -> None:
        while data:
            number, inside = divmod(at, LOG_PAGE_BYTES)
            key = _page_key(task, stream, number)
            piece, data = data[: LOG_PAGE_BYTES - inside], data[LOG_PAGE_BYTES - inside :]
            before = (view.get(LOG_PAGES, key) or b"") if inside else b""
            view.put(LOG_PAGES, key, before + piece)
            if number - self._tail >= self._head:
                view.delete(LOG_PAGES, _page_key(task, stream, number - self._tail))
            at += len(piece)

    def _piece(self, task: TaskId, stream: str, at: int, length: int) -> tuple[int, bytes]:
        """What is kept from `at` on, up to the end of its page, and where it ends."""
        if piece := self._page_from(task, stream, at, length):
            return at + len(piece), piece
        last = (length - 1) // LOG_PAGE_BYTES
        kept = max(self._head, last - self._tail + 1, at // LOG_PAGE_BYTES + 1)
        goes_on = min(length, kept * LOG_PAGE_BYTES)
        return goes_on, f"\n[{goes_on - at} bytes are not kept]\n".encode()

    def _page_from(self, task: TaskId, stream: str, at: int, end: int) -> bytes:
        """What is kept of the page of that place from it on, as far as it is before the end."""
        number, inside = divmod(at, LOG_PAGE_BYTES)
        page = self._tables.get(LOG_PAGES, _page_key(task, stream, number)) or b""
        return page[inside : end - number * LOG_PAGE_BYTES]

    def _stream(self, view: "Tables | WriteView", task: TaskId, stream: str) -> StreamRecord:
        raw = view.get(LOG_STREAMS, _stream_key(task, stream))
        return StreamRecord() if raw is None else stored(StreamRecord, raw, "state.lmdb")


def _putting(task: TaskId, pages: Sequence[tuple[bytes, bytes]]) -> Callable[[WriteView], None]:
    def apply(view: WriteView) -> None:
        for place, page in pages:
            view.put(LOG_PAGES, task_key(task) + place, page)

    return apply


def _ending(task: TaskId, streams: Sequence[StreamRecord]) -> Callable[[WriteView], None]:
    """Last of all; not over what its worker has brought meanwhile."""

    def apply(view: WriteView) -> None:
        for stream, record in zip(STREAMS, streams, strict=True):
            if view.get(LOG_STREAMS, _stream_key(task, stream)) is None:
                view.put(LOG_STREAMS, _stream_key(task, stream), encode(record))

    return apply


def _stream_key(task: TaskId, stream: str) -> bytes:
    return task_key(task) + STREAMS.index(stream).to_bytes(1)


def _page_key(task: TaskId, stream: str, number: int) -> bytes:
    return _stream_key(task, stream) + number.to_bytes(6)
