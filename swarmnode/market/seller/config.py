"""Settings of the seller's side, with the reasons for their values."""

import msgspec


class SellerConfig(msgspec.Struct, frozen=True):
    """Times in seconds, on this machine's monotonic clock."""

    lends: bool = True
    """Whether this machine runs tasks at all."""
    has_secret_place: bool = True
    """Whether jobs here are given secrets: not without namespaces (compute.sandbox = container)."""
    tasks_max: int = 16
    lease_s: float = 15.0
    """A buyer silent for this long has lost its lease."""
    lease_renew_s: float = 5.0
    """The buyer hears of every job this often."""
    orphan_grace_s: float = 60.0
    """So much longer a job goes on: its buyer may only be restarting. Then it has ended."""
    hold_max_s: float = 3.0
    """Room is held for an unanswered bid at most this long, whatever the buyer would like."""
    waiting_s: float = 30.0
    """A place in the queue is kept this long; the buyer asks again meanwhile if it still waits."""
    calls_burst: int = 200
    calls_per_s: float = 50.0
    """Calls one foreign machine may make: a busy buyer makes 20 a second."""
    net: tuple[str, ...] = ()
    """What of the network tasks of our own lab may talk to from here, as swarmnode.reach has it."""
    net_others: tuple[str, ...] = ()
    """The same for tasks of other labs."""
    foreign_share: float = 0.25
    """Part of the machine that one foreign lab's holds may take; one hold is always allowed."""
    orphan_stop_s: float = 10.0
    """The end of that, in which a job without a buyer is told to save its progress."""
    asleep_s: float = 2.0
    """A timer this late tells that this machine was stopped: it asks before it judges others."""
    ask_s: float = 3.0
    """So long it waits for the answer."""
    owner_notice_s: float = 3.0
    """What guests in the way of the owner's own task get: with it there is room within 5 s."""
    cancel_grace_s: float = 2.0
    """A job that is not wanted gets this long to end by itself."""
    result_keep_s: float = 600.0
    """A result nobody asks for is kept this long."""
    result_again_s: float = 0.5
    """A result is repeated after this long, then after twice as long ..."""
    result_again_max_s: float = 15.0

    def __post_init__(self) -> None:
        if not 0 < self.lease_renew_s < self.lease_s:
            raise ValueError("times must satisfy 0 < lease_renew_s < lease_s")
        if not 0 < self.hold_max_s <= 3.0:
            raise ValueError("hold_max_s must be in (0, 3]: longer holds waste the machine")

    @property
    def alone_s(self) -> float:
        """No process of a job lives longer than this after the last renewal."""
        return self.lease_s + self.orphan_grace_s

    @property
    def notice_s(self) -> float:
        """From the notice to that end; a short grace is not all notice."""
        return min(self.orphan_stop_s, self.orphan_grace_s / 2)
