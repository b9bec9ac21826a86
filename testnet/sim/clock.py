"""Wall time of a simulation: virtual time since a fixed date, with steps when a fault asks."""

import trio

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: any date after the first release would do."""


class VirtualWall:
    """One machine's wall clock in milliseconds since 1970; call it to read it."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._start_ms = start_ms

    def __call__(self) -> int:
        """The time now."""
        return self._start_ms + int(trio.current_time() * 1000)

    def step(self, by_ms: int) -> None:
        """Set the clock forward or (negative) back, as an operator or NTP does."""
        self._start_ms += by_ms
