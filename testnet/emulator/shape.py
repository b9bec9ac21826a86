"""What one direction between two hosts does to packets."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Discipline(StrEnum):
    """How the router's queue is served."""

    FIFO = "fifo"
    """One queue, the newest packet dropped when full: a home router, bloated when it is large."""
    DRR = "drr"
    """One queue per flow in turns, the longest trimmed when full: what fq_codel does for flows."""
    PRIO = "prio"
    """Strictly by DSCP: EF and CS4 to CS7 first, CS1 last; the last band trimmed when full."""


@dataclass(frozen=True, slots=True)
class LinkShape:
    """One direction; the defaults change nothing."""

    delay_ms: float = 0.0
    # Uniform, added to or taken from the delay; never reorders.
    jitter_ms: float = 0.0
    loss: float = 0.0
    # Of IP packets; 0 is as fast as the router goes.
    rate_mbit: float = 0.0
    queue_bytes: int = 500_000
    discipline: Discipline = Discipline.FIFO

    def __post_init__(self) -> None:
        if not 0 <= self.loss <= 1:
            raise ValueError("loss must be between 0 and 1")
        if min(self.delay_ms, self.rate_mbit, self.queue_bytes - 1500) < 0:
            raise ValueError("delay and rate must not be negative, a queue must hold a packet")
        if not 0 <= self.jitter_ms <= self.delay_ms:
            raise ValueError("jitter_ms must be between 0 and delay_ms")

    def as_json(self) -> dict[str, Any]:
        """For the router's process."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """What `as_json` gave."""
        return cls(**{**fields, "discipline": Discipline(fields["discipline"])})
