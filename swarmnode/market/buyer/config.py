"""Settings of the buyer's side, with the reasons for their values."""

import msgspec

from swarmnode.limits import CALLEES_MAX
from swarmnode.market.guardians.config import GuardianConfig


class BuyerConfig(msgspec.Struct, frozen=True):
    """How a buyer asks, awards and watches. Times in seconds, on the monotonic clock."""

    callees: int = 8
    """Machines asked per auction: with holds, 8 wait 0.28 s at load 0.9 and 4 wait 0.88 s."""
    window_min_s: float = 0.04
    """A call waits at least this long: a busy machine on the same LAN answers within it."""
    window_max_s: float = 0.5
    """And at most this long: whoever is slower would be slow at everything."""
    window_rtts: float = 3.0
    """In between: so many times the round trip that 95 % of the answers keep."""
    rtt_unknown_s: float = 0.1
    """Assumed of a machine never asked before: its connection may have to be opened."""
    auctions_open_max: int = 32
    """Auctions at the same time: each makes others hold room that only one will use."""
    hold_s: float = 3.0
    """How long room should be held: the longest window, and an award that is repeated once."""
    award_repeat_s: float = 0.4
    award_timeout_s: float = 2.0
    """An award unanswered for so long goes to another machine, under a higher fence."""
    lease_s: float = 15.0
    """A provider silent for so long is lost: three beats, and a pause of the machine."""
    renew_s: float = 5.0
    alone_s: float = 75.0
    """How long a job may go on after its lease was renewed last, where a provider does not say."""
    alone_max_s: float = 86_400.0
    """What a provider may say: beyond that a task would wait for ever."""
    alone_slack_s: float = 2.0
    """On top of that, for the end of its processes and clocks that run differently."""
    tick_s: float = 1.0
    """How often the buyer looks at the clock to notice that it was stopped itself."""
    asleep_s: float = 2.0
    """A tick this late tells so: what was not heard meanwhile is nobody's silence."""
    auction_every_s: float = 1.0
    """A task is put to auction at most this often."""
    backoff_max_s: float = 30.0
    """Pauses between auctions that nobody wins double from `auction_every_s` up to this."""
    place_s: float = 20.0
    """While machines keep a place for a task it waits this long before it asks others."""
    shun_s: float = 10.0
    """A machine that failed a task is not asked again for it for so long."""
    kicked_max: int = 8
    """Waiting tasks put to auction because a machine says it has room: about what it can hold."""
    fence_gap: int = 64
    """Fences skipped when a task is taken over: more awards than who acted before, at one a second,
    can have made between its last word to the keepers and the end of its turn."""
    returned_s: float = 20.0
    """What must not run twice and waited when this node stopped waits so long after its start: by
    then it has heard whether another machine of its person has taken it over."""
    unfit_max: int = 8
    """Machines on which a task may turn out not to start before it is the task that is wrong."""

    def __post_init__(self) -> None:
        if not 1 <= self.callees <= CALLEES_MAX:
            raise ValueError(f"callees must be from 1 to {CALLEES_MAX}")
        if not 0 < self.window_min_s <= self.window_max_s < self.hold_s:
            raise ValueError("times must satisfy 0 < window_min_s <= window_max_s < hold_s")
        if not 0 < self.award_repeat_s < self.award_timeout_s < self.lease_s:
            raise ValueError("times must satisfy 0 < award_repeat_s < award_timeout_s < lease_s")
        if not 0 < 2 * self.renew_s < self.lease_s:
            raise ValueError("a lease must outlive two beats")

    @property
    def guard(self) -> GuardianConfig:
        """Keepers of tasks count on the same lease as workers."""
        stagger_s = min(2.0, self.renew_s / 2)
        return GuardianConfig(
            lease_s=self.lease_s,
            beat_s=self.renew_s,
            stagger_s=stagger_s,
            logs_every_s=min(GuardianConfig().logs_every_s, self.lease_s / 2),
        )
