"""What a seed becomes, and what came of it."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

FAULTS: Final = (
    "kill", "power_cut", "partition", "pause", "clock_step", "breaks", "loss", "twice",
    "full_disk", "disk_loss", "rot",
)  # fmt: skip
ALONE: Final = ("kill", "clock_step", "pause", "full_disk")
"""What can happen to a swarm of one that keeps its promise: it is only ever restarted."""

COUNTERS: Final = ("repair", "fencing", "expiry", "re-auction", "restore")
"""What the seeds must have reached together; a run that never does proves nothing."""
COUNTERS_ALONE: Final = ("re-auction", "restore")
"""A machine without others repairs nothing, and nobody's messages come late."""


@dataclass(frozen=True, slots=True)
class Options:
    """Printed with every failure."""

    seed: int
    nodes: int
    seconds: float
    faults: tuple[str, ...]
    down_max: int
    """Machines that may be away or cut off at a time."""

    @classmethod
    def of(cls, seed: int, nodes: int, seconds: float) -> "Options":
        """Half of the faults, chosen by the seed."""
        dice = random.Random(f"options/{seed}/{nodes}")  # noqa: S311
        known = FAULTS if nodes > 1 else ALONE
        faults = tuple(one for one in known if dice.random() < 0.5) or ("kill",)
        return cls(seed, nodes, seconds, faults, 2 if nodes >= 7 else 1)

    @property
    def keeps_names(self) -> bool:
        """Whether names are promised to be linearizable (see storage.records.names.core).

        Two members cannot have a majority without each other, and a holder that lost its disk
        has forgotten what it promised.
        """
        return self.nodes != 2 and "disk_loss" not in self.faults


@dataclass(slots=True)
class Outcome:
    """One run: what went wrong, what was reached, and the hash of every frame delivered."""

    options: Options
    violations: list[str] = field(default_factory=list)
    reached: Counter[str] = field(default_factory=Counter)
    trace_hash: str = ""


def missed(nodes: int, reached: Counter[str]) -> list[str]:
    """The counters that are 0 and must not be."""
    return [one for one in (COUNTERS if nodes > 1 else COUNTERS_ALONE) if not reached[one]]
