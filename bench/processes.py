"""Processes of a bench: started, spoken to line by line, measured from outside, terminated."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_CPUCLOCK_SCHED: Final = 2
"""Of the clock ids the kernel makes from process ids: user plus system time, to the nanosecond."""

_LOOK_EVERY_S: Final = 0.1
_BUSY_SHARE: Final = 0.1
"""Of one core, all processes together: less is keep-alives."""
_SETTLE_S_MAX: Final = 60.0


class Process:
    """A module that runs in a process of its own."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen

    def line(self) -> str:
        """The next line it prints."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self._popen.args!r} ended early")
        return line

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def cpu_s(self) -> float:
        """User and system time of all its threads so far."""
        return time.clock_gettime((~self._popen.pid << 3) | _CPUCLOCK_SCHED)

    def memory_mib(self) -> float:
        """VmRSS now."""
        status = Path(f"/proc/{self._popen.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


_RUNNING: Final[list[Process]] = []
"""Of this bench, now."""


@contextmanager
def spawned(module: str, *arguments: str) -> Iterator[Process]:
    """Run `python -m module arguments` and terminate it afterwards."""
    popen = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process = Process(popen)
    _RUNNING.append(process)
    try:
        yield process
    finally:
        _RUNNING.remove(process)
        popen.kill()
        popen.communicate()


def settle() -> None:
    """Return when no process of the bench is at work: what is under way belongs to the last figure.

    Raises TimeoutError after a minute.
    """
    until_s = time.monotonic() + _SETTLE_S_MAX
    before_s = _all_cpu_s()
    while time.monotonic() < until_s:
        threading.Event().wait(_LOOK_EVERY_S)
        now_s = _all_cpu_s()
        if now_s - before_s < _BUSY_SHARE * _LOOK_EVERY_S:
            return
        before_s = now_s
    raise TimeoutError("a process of the bench did not come to rest")


def _all_cpu_s() -> float:
    return sum(process.cpu_s() for process in _RUNNING)


class Worker:
    """A client and the server it is connected to."""

    def __init__(self, client: Process, server: Process) -> None:
        self._client, self._server = client, server

    def wait_ready(self) -> None:
        """Until the client is connected."""
        if self._client.line() != "ready":
            raise RuntimeError("the client is not ready")

    def ask(self, figure: str, size: int) -> float:
        """Have one figure measured."""
        value: float = self._answer(figure, size)
        return value

    def ask_all(self, figure: str, size: int) -> list[float]:
        """Have one measured that has several values."""
        values: list[float] = self._answer(figure, size)
        return values

    def _answer(self, figure: str, size: int) -> Any:  # noqa: ANN401
        settle()
        self._client.tell(f"{figure} {size}")
        return json.loads(self._client.line())[figure]

    def cpu_s(self) -> float:
        """Of both ends so far, at rest."""
        return self._client.cpu_s() + self._server.cpu_s()
