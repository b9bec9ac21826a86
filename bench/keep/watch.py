"""How long two attempts of one task run at once, seen from outside in /proc."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MARK: Final = b"keep-task-"
"""Every task of the bench has an argument that begins so; the rest of it is the task's number."""
LOOK_EVERY_S: Final = 0.5


@dataclass(slots=True)
class Overlaps:
    """Running attempts by task; pure: `look` is told who runs where at what time."""

    longest_s: float = 0.0
    since_s: dict[str, float] = field(default_factory=dict)
    """Task -> when its present overlap was first seen."""

    def look(self, running: Mapping[str, set[str]], now_s: float) -> None:
        """Take one sample: task -> the machines on which an attempt of it runs."""
        for task in [task for task in self.since_s if len(running.get(task, ())) < 2]:
            del self.since_s[task]
        for task, machines in running.items():
            if len(machines) >= 2:
                began_s = self.since_s.setdefault(task, now_s)
                self.longest_s = max(self.longest_s, now_s - began_s)


class Watch:
    """Looks every half second, in a thread of its own, until `stop` is set."""

    def __init__(self, homes: Callable[[], Sequence[Path]], stop: threading.Event) -> None:
        self._homes, self._stop = homes, stop
        self.overlaps = Overlaps()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stop.wait(LOOK_EVERY_S):
            self.overlaps.look(running_tasks(self._homes()), time.monotonic())


def running_tasks(homes: Sequence[Path]) -> dict[str, set[str]]:
    """Task -> names of the homes below which a process of it runs and is not stopped."""
    parents, found = dict[int, int](), dict[str, set[str]]()
    marked: list[tuple[int, str]] = []
    commands: dict[int, bytes] = {}
    for pid, parent, state, command in _processes():
        parents[pid], commands[pid] = parent, command
        if MARK in command and state not in "TtZX":
            marked.append((pid, command.partition(MARK)[2].partition(b"\0")[0].decode()))
    for pid, task in marked:
        for ancestor in _upwards(pid, parents):
            home = next((h for h in homes if bytes(h) + b"/" in commands[ancestor]), None)
            if home is not None:
                found.setdefault(task, set()).add(home.name)
                break
    return found


def with_descendants(pids: Sequence[int]) -> list[int]:
    """These processes and everything below them."""
    parents = {pid: parent for pid, parent, _, _ in _processes()}
    wanted = set(pids)
    return [pid for pid in sorted(parents) if wanted.intersection(_upwards(pid, parents))]


def _upwards(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    while pid in parents:
        yield pid
        pid = parents[pid]


def _processes() -> Iterator[tuple[int, int, str, bytes]]:
    """Pid, parent, state and command line of every process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                yield int(entry.name), int(stat[1]), stat[0], (entry / "cmdline").read_bytes()
