"""Logs of tasks that have ended, as the bytes of one object.

    length  LogPart     length  LogPart ...

Of each task first the pages of both its streams, then how they belong together.
"""

from collections.abc import AsyncIterator, Iterator, Sequence

from p2p.errors import WireError
from p2p.wire.codec import Record, decode_as, encode
from p2p.wire.frames import frame, payloads_in
from storage.errors import ManifestError
from swarmnode.market.logbook import LogBook, StreamRecord
from swarmnode.tasks.ids import TaskId

Log = tuple[tuple[StreamRecord, ...], Sequence[tuple[bytes, bytes]]]
"""As `LogBook.take_back` wants it: streams and pages."""


class LogPart(Record, frozen=True):
    """A page, or the end of a task's log."""

    task: TaskId
    place: bytes = b""
    """Of the page among the task's: stream and number."""
    page: bytes = b""
    streams: tuple[StreamRecord, ...] = ()
    """Of the end: how far each stream is kept."""


async def pack_logs(logbook: LogBook, tasks: Sequence[TaskId]) -> AsyncIterator[bytes]:
    """The bytes of an object."""
    for task in tasks:
        for part in _parts_of(logbook, task):
            yield frame(encode(part))


def _parts_of(logbook: LogBook, task: TaskId) -> Iterator[LogPart]:
    streams = logbook.streams(task)  # first: what comes meanwhile is not counted
    for place, page in logbook.pages(task):
        yield LogPart(task, place, page)
    yield LogPart(task, streams=streams)


def unpack_log(data: bytes, task: TaskId) -> Log | None:
    """The log of one task, None when it is not in it. Raises ManifestError for other bytes."""
    pages: list[tuple[bytes, bytes]] = []
    try:
        for piece in payloads_in(data):
            part = decode_as(LogPart, piece)
            if part.task == task and part.streams:
                return part.streams, pages
            if part.task == task:
                pages.append((part.place, part.page))
    except WireError as exc:
        raise ManifestError(f"the log of {task} in the pool cannot be read ({exc})") from exc
    return None
