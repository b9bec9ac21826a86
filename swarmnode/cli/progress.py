"""How far a long transfer has come: one line on stderr that rewrites itself, on a terminal only."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from swarmnode.cli.client import Source
from swarmnode.cli.talk import human_bytes

BEGINS_S: Final = 2.0
"""What is over sooner needs no line."""
EVERY_S: Final = 0.25
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """The line. Nothing is written where stderr is no terminal."""

    def __init__(
        self,
        verb: str,
        total: int | None = None,
        *,
        write: Callable[[str], None] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`total` is the size, where it is known."""
        self._verb, self._total, self._now_s = verb, total, now_s
        self._write = write or _on_terminal()
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
        self._due_s = now_s + EVERY_S
        self._is_shown = True
        self._write(_CLEAR + self.line(now_s))

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

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._source.read(size)
        self._progress.add(len(data))
        return data


def _on_terminal() -> Callable[[str], None] | None:
    stderr = sys.stderr
    if stderr is None or not stderr.isatty():
        return None

    def write(text: str) -> None:
        stderr.write(text)
        stderr.flush()

    return write


def _duration(seconds: float) -> str:
    whole = int(seconds + 0.5)
    return f"{whole // 60}:{whole % 60:02d}" if whole < 3600 else f"{whole // 3600} h"
