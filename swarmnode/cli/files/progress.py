"""How far a long transfer has come, for people and for programs, never among the data itself.

A person at a terminal sees one line on stderr that rewrites itself. With `-o jsonl` each second is
an object of its own on stdout, told from the result by its `event`; with `-o json` there is none.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, TextIO

from swarmnode.cli import exits
from swarmnode.cli.client import Source
from swarmnode.cli.talk import human_bytes

BEGINS_S: Final = 2.0
"""What is over sooner needs no line."""
EVERY_S: Final = 0.25
TOLD_EVERY_S: Final = 1.0
"""A program needs it less often than an eye."""
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """The line, or the lines."""

    def __init__(
        self,
        verb: str,
        total: int | None = None,
        *,
        fmt: str = "table",
        is_stdout: bool = False,
        write: Callable[[str], None] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`total` is the size, where it is known; `is_stdout`: the data goes to our stdout."""
        self._verb, self._total, self._now_s = verb, total, now_s
        self._is_told = fmt == "jsonl"
        self._write = write or _writer(fmt, is_stdout)
        self._begun_s = now_s()
        self._due_s = self._begun_s + BEGINS_S
        self._done = 0
        self._is_shown = False

    def add(self, size: int) -> None:
        """So many more bytes have passed."""
        self._done += size
        now_s = self._now_s()
        if self._write is None or now_s < self._due_s:
            return
        if self._is_told:
            self._due_s = now_s + TOLD_EVERY_S
            self._write(self.event(now_s) + "\n")
            return
        self._due_s = now_s + EVERY_S
        self._is_shown = True
        self._write(_CLEAR + self.line(now_s))

    def event(self, now_s: float) -> str:
        """What has passed, as one line of JSON; `total` is null where it is not known."""
        told = {"event": "progress", "verb": self._verb, "done": self._done, "total": self._total}
        rate = round(self._done / max(now_s - self._begun_s, 1e-9))
        return json.dumps(told | {"bytes_per_s": rate})

    def line(self, now_s: float) -> str:
        """What has passed, how fast, and how long the rest takes at that rate."""
        rate = self._done / max(now_s - self._begun_s, 1e-9)
        done = human_bytes(self._done)
        if not self._total:
            return f"{self._verb} {done}, {human_bytes(rate)}/s"
        left_s = max(0, self._total - self._done) / max(rate, 1e-9)
        share = min(100, 100 * self._done // self._total)
        of = f"{done} of {human_bytes(self._total)} ({share} %), {human_bytes(rate)}/s"
        return f"{self._verb} {of}, {_duration(left_s)} left"

    def end(self) -> None:
        """Take the line away again."""
        if self._is_shown and self._write is not None:
            self._write(_CLEAR)

    def reading(self, source: Source) -> "Counted":
        """The source, counted as it is read."""
        return Counted(source, self)

    def passing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks, counted as they pass."""
        try:
            for chunk in chunks:
                self.add(len(chunk))
                yield chunk
        finally:
            self.end()


class Counted:
    """A source that tells a Progress what is read of it."""

    def __init__(self, source: Source, progress: Progress) -> None:
        self._source, self._progress = source, progress
        self.is_at_end = False
        """Whoever read it has had all of it."""

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._source.read(size)
        self.is_at_end = not data
        self._progress.add(len(data))
        return data


def _writer(fmt: str, is_stdout: bool) -> Callable[[str], None] | None:
    if fmt == "jsonl":
        return None if is_stdout else _to(sys.stdout)
    # Data on a screen is not to be painted over.
    is_mixed = is_stdout and sys.stdout is not None and sys.stdout.isatty()
    if fmt != "table" or is_mixed or sys.stderr is None or not sys.stderr.isatty():
        return None
    return _to(sys.stderr)


def _to(stream: TextIO | None) -> Callable[[str], None] | None:
    if stream is None:
        return None

    def write(text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError as error:  # no OSError: an upload takes those for its connection's
            raise exits.ReaderGoneError from error
        except OSError as error:
            raise exits.CliError(f"cannot tell how far it is: {error.strerror}") from error

    return write


def _duration(seconds: float) -> str:
    whole = int(seconds + 0.5)
    return f"{whole // 60}:{whole % 60:02d}" if whole < 3600 else f"{whole // 3600} h"
