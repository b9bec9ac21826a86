"""What was acknowledged, and so must be kept; shared by threads."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Put:
    """An object whose put was acknowledged to `owner` (a machine's number)."""

    cap: str
    address: str
    sha256: str
    owner: int
    is_removed: bool = False
    """Its removal was acknowledged."""
    is_doubtful: bool = False
    """A removal was asked for and its answer never came."""


@dataclass(slots=True)
class Job:
    """A task that was accepted from `owner`."""

    task: str
    number: int
    owner: int
    is_once: bool
    says: str
    """The last line of what it prints."""
    warned: str = ""
    """What the answer said of who does not hold it yet; such a task may go with its machine."""


@dataclass(slots=True)
class Ledger:
    """Append only, but for the marks of removals."""

    puts: list[Put] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """How often what was done: puts, gets, removals, tasks, refused; figures of the load."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        """One more."""
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def choose(self, rng: random.Random, suits: Callable[[Put], bool]) -> Put | None:
        """Any object that stands and suits, or None."""
        with self._lock:
            standing = [p for p in self.puts if not (p.is_removed or p.is_doubtful) and suits(p)]
        return rng.choice(standing) if standing else None
