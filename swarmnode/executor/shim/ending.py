"""Why and when a shim ends its job. Decides only: time is an argument, but for the lease's."""

from swarmnode.executor.shim.lease import Lease

_AGAIN_S = 1.0
"""What was killed and still lives is killed again after this."""


class Ending:
    """While there is no reason the job may end by itself. Times are of the monotonic clock."""

    def __init__(self, kill_at_s: float, lease: str) -> None:
        self.reason = ""
        """Why we end the job; empty while it may end by itself."""
        self.kill_at_s = kill_at_s
        """When it is killed: at the end of its time; a stop brings it nearer."""
        self._kill_reason = "wall"
        """Why, should that come."""
        self._is_killed = False
        """SIGKILL was sent once."""
        self.is_notice_due = False
        """SIGTERM is to be sent, as soon as somebody can hear it; whoever sent it lowers this."""
        self._lease = Lease(lease)

    def renew(self, lease: bytes) -> None:
        """What the node says of the lease."""
        self._lease.renew(lease)

    def stop(self, grace_s: float, now_s: float) -> None:
        """Somebody wants it ended, in so many seconds at the latest."""
        self.kill_at_s = min(self.kill_at_s, now_s + grace_s)
        if not self.reason:
            self.reason = self._kill_reason = "killed"
            self.is_notice_due = grace_s > 0

    def heed_lease(self) -> bool:
        """Have the job told that its lease ends; whether it must be killed for that."""
        if self._lease.is_over() and self._kill_reason != "lease":
            return True
        if self._lease.is_ending() and not (self._lease.was_noticed or self.reason):
            self._lease.was_noticed = self.is_notice_due = True
        return False

    def due(self, now_s: float) -> str:
        """Why it must be killed now, or "": not yet."""
        return self._kill_reason if now_s >= self.kill_at_s else ""

    def record_kill(self, reason: str, now_s: float) -> bool:
        """It is being killed, for this; whether it was before, and lives."""
        was_killed, self._is_killed = self._is_killed, True
        self.reason = self._kill_reason = reason
        self.kill_at_s = now_s + _AGAIN_S
        return was_killed

    def explain(self, reason: str) -> None:
        """What came to light after its end; no more than what we knew."""
        self.reason = self.reason or reason

    def explanation(self, code: int) -> str:
        """Why it ended with that exit code; "": by itself."""
        if not self.reason and self._lease.was_noticed and (code or self._lease.is_ending()):
            return "lease"
        return self.reason
