"""What clients saw of one mutable value: does one linearizable, fenced history explain it?"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Seen:
    """One finished operation: a `read`, or a `write` that was acknowledged."""

    kind: str
    start_s: float
    end_s: float
    sequence: int
    """0 when nothing had been written yet."""
    fence: int
    value: bytes


@dataclass(slots=True)
class History:
    """Operations in the order in which they ended. Those of unknown outcome are left out."""

    seen: list[Seen] = field(default_factory=list)
    stale: int = 0
    conflicts: int = 0

    def violations(self) -> list[str]:
        """One value per sequence, fences that only grow, and real time is respected."""
        found: list[str] = []
        values: dict[int, tuple[int, bytes]] = {}
        for one in self.seen:
            if one.sequence > 0:
                pair = (one.fence, one.value)
                if values.setdefault(one.sequence, pair) != pair:
                    found.append(f"{one} against {values[one.sequence]}")
        fences = [values[sequence][0] for sequence in sorted(values)]
        if fences != sorted(fences):
            found.append(f"an older fence wrote after a newer one: {fences}")
        written = [one.sequence for one in self.seen if one.kind == "write"]
        if len(written) != len(set(written)):
            found.append("two writes were told they got one sequence")
        return found + self._out_of_time()

    def _out_of_time(self) -> list[str]:
        """Operations that missed what had ended before they began."""
        found: list[str] = []
        ended = sorted((one.end_s, one.sequence) for one in self.seen)
        at, known = 0, 0
        for later in sorted(self.seen, key=lambda one: one.start_s):
            while at < len(ended) and ended[at][0] < later.start_s:
                known, at = max(known, ended[at][1]), at + 1
            if later.sequence < known + (later.kind == "write"):
                found.append(f"{later} began after {known} was known")
        return found
