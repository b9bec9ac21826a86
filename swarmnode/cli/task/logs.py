"""A task's two logs on our own output, as they come, until the task or our reader has ended."""

import json
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from swarmnode.cli.client import ApiError, Client, Document, NodeUnreachableError
from swarmnode.cli.machines import Machines
from swarmnode.cli.output import printable
from swarmnode.cli.task.follow import STREAMS, log_pieces

Sink = Callable[[bytes], None]

READER_EVERY_S: Final = 0.2
"""How often we look whether anybody still reads us: also while a task prints nothing."""
TAIL_BYTES: Final = 4096
"""Of a program's stderr: the end of a traceback."""
DOCUMENT_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of each stream in the document of a task that was stayed with: both are held in memory."""
LINE_BYTES_MAX: Final = 1024 * 1024
"""A longer line is printed in pieces: programs that draw with `\\r` never end theirs."""


class Copier:
    """Takes logs to their sinks in the background; `finish` waits for their end."""

    def __init__(
        self,
        client: Client,
        task: str,
        sinks: Mapping[str, Sink],
        *,
        follow: bool,
        attempt: int = 0,
    ) -> None:
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(
                target=self._copy, args=(client, task, stream, sink, follow, attempt), daemon=True
            )
            for stream, sink in sinks.items()
        ]
        for thread in self._threads:
            thread.start()

    def _copy(
        self, client: Client, task: str, stream: str, sink: Sink, follow: bool, attempt: int
    ) -> None:
        try:
            for piece in log_pieces(client, task, stream, follow=follow, attempt=attempt):
                sink(piece)
        except BrokenPipeError:
            return  # whoever read this stream has had enough
        except (ApiError, NodeUnreachableError, EOFError, OSError) as error:
            self._failure = error  # told to the caller by `finish`

    def finish(self) -> bool:
        """Return once the logs are copied, or False as soon as nobody reads our stdout any more.

        Raises what went wrong with either log.
        """
        for thread in self._threads:
            while thread.is_alive():
                if reader_is_gone():
                    return False
                thread.join(READER_EVERY_S)  # in pieces: Ctrl-C must get through
        if self._failure is not None:
            raise self._failure
        return not reader_is_gone()


def to_our_own() -> dict[str, Sink]:
    """stdout to stdout, stderr to stderr."""
    return {stream: _writer(fd) for stream, fd in STREAMS.items()}


class Tail:
    """The last of what went to a sink, for who wants to know how it ended."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.last = b""
        """TAIL_BYTES at most."""

    def take(self, piece: bytes) -> None:
        """On to the sink, and kept."""
        self._sink(piece)
        self.last = (self.last + piece)[-TAIL_BYTES:]


def to_stdout(stream: str) -> dict[str, Sink]:
    """One of them to stdout."""
    return {stream: _writer(1)}


def _writer(fd: int) -> Sink:
    def write(piece: bytes) -> None:
        write_all(fd, piece)

    return write


def rest_of(client: Client, detail: Document, *, was_waited_for: bool = True) -> str:
    """Where the rest of an ended task's output is, in words; empty: it has all come."""
    if not (peer := detail.get("log_at")):  # a node of an older version does not say
        return ""
    task, where = detail["task"], printable(Machines.seen_by(client).label(peer))
    lacks = f"task {task}: the rest of its output has not come: it is at {where}"
    if was_waited_for:
        return f"{lacks}, which does not give it now; swarmnode task logs {task} shows it later"
    return f"{lacks}; swarmnode task logs -f {task} waits for it"


class Lines:
    """Prints every line of several streams as one JSON object, as soon as it has ended."""

    def __init__(self, streams: Mapping[str, int]) -> None:
        self._held = dict.fromkeys(streams, b"")
        self._turn = threading.Lock()

    def sinks(self) -> dict[str, Sink]:
        """One for each stream."""
        return {stream: self._sink(stream) for stream in self._held}

    def end(self) -> None:
        """What has no end of line is a line, too."""
        for stream, rest in self._held.items():
            if rest:
                self._print(stream, [rest])
        self._held = {}

    def _sink(self, stream: str) -> Sink:
        def take(piece: bytes) -> None:
            *lines, rest = (self._held[stream] + piece).split(b"\n")
            while len(rest) > LINE_BYTES_MAX:
                lines.append(rest[:LINE_BYTES_MAX])
                rest = rest[LINE_BYTES_MAX:]
            self._held[stream] = rest
            self._print(stream, lines)

        return take

    def _print(self, stream: str, lines: list[bytes]) -> None:
        rows = [{"stream": stream, "line": line.decode(errors="replace")} for line in lines]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with self._turn:
            write_all(1, text.encode(errors="replace"))


class Whole:
    """Holds everything of several streams, for one document at the end; or the end of each."""

    def __init__(self, streams: Mapping[str, int], bytes_max: int = sys.maxsize) -> None:
        self._parts: dict[str, deque[bytes]] = {stream: deque() for stream in streams}
        self._sizes = dict.fromkeys(streams, 0)
        self._bytes_max = bytes_max
        self.left_out_bytes = 0
        """Of their beginnings."""

    def sinks(self) -> dict[str, Sink]:
        """One for each stream."""
        return {stream: partial(self._take, stream) for stream in self._parts}

    def texts(self) -> dict[str, str]:
        """The streams as text; what is no UTF-8 in them is replaced."""
        return {
            stream: b"".join(parts).decode(errors="replace")
            for stream, parts in self._parts.items()
        }

    def _take(self, stream: str, piece: bytes) -> None:
        parts = self._parts[stream]
        parts.append(piece)
        self._sizes[stream] += len(piece)
        while (over := self._sizes[stream] - self._bytes_max) > 0:
            first = parts.popleft()
            if len(first) > over:
                parts.appendleft(first[over:])
            gone = min(over, len(first))
            self._sizes[stream] -= gone
            self.left_out_bytes += gone


def reader_is_gone() -> bool:
    """Whether our stdout is a pipe that nobody reads: the kernel tells without a write."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def leave_quietly() -> None:
    """Nobody reads us: what Python still holds must not become an error at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout.flush()


def write_all(fd: int, data: bytes) -> None:
    """Unbuffered: a buffer's lock in a thread could hold up the end of the program."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
