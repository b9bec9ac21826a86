"""What a seed becomes, and what came of it."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

FAULTS: Final = ("kill", "power_cut", "partition", "pause", "clock_step", "breaks", "loss")
ALONE: Final = ("kill", "clock_step", "pause")
"""What can happen to a swarm of one that keeps its promise: it is only ever restarted."""


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


@dataclass(slots=True)
class Outcome:
    """One run: what went wrong, what was reached, and the hash of every frame delivered."""

    options: Options
    violations: list[str] = field(default_factory=list)
    reached: Counter[str] = field(default_factory=Counter)
    trace_hash: str = ""
