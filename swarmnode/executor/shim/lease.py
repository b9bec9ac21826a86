"""How long a job may go on without word from its node, as its shim counts it.

Counted on CLOCK_BOOTTIME, which goes on while the machine sleeps: a lid that was closed for an
hour must not give a job back the minute that it had left.
"""

import time


def boot_s() -> float:
    """Seconds since the machine was booted, its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The job may run until `until_s` of `boot_s`, and is told `notice_s` before; "" for ever."""

    def __init__(self, words: str) -> None:
        """As the order says it: `UNTIL NOTICE`."""
        self._until_s = self._notice_s = float("inf")
        """The first only grows; the second belongs to it."""
        self.was_noticed = False
        """The job has been told once that its lease ends: it may be ending because of that."""
        if words:
            self._until_s, self._notice_s = map(float, words.split())

    def renew(self, words: bytes) -> None:
        """What the node says later, in the same form; a lease only grows."""
        until_s, notice_s = map(float, words.split())
        if until_s > self._until_s:
            self._until_s, self._notice_s = until_s, notice_s

    def is_ending(self) -> bool:
        """It is time to tell the job."""
        return boot_s() >= self._until_s - self._notice_s

    def is_over(self) -> bool:
        """It is time to end the job."""
        return boot_s() >= self._until_s
