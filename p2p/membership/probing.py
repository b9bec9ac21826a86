"""Whom to ping next, how long to wait, and what silence says about them and about us."""

import msgspec

from p2p.effects import Rng
from p2p.ids import PeerId
from p2p.limits import RELAYS_MAX
from p2p.membership.config import MembershipConfig

RTT_WEIGHT = 0.25
"""Share of a new round trip in the smoothed one."""


class Probe(msgspec.Struct, eq=False):
    """One ping of ours and the help asked for."""

    target: PeerId
    sent_s: float
    timeout_s: float
    """How long the ping itself may take; then helpers are asked."""
    helpers: list[PeerId] = msgspec.field(default_factory=list)
    """Asked to ping in our place; nobody before the ping is late."""
    nacks: int = 0
    """How often they said that they got no answer either; never more than there are helpers."""


class Relay(msgspec.Struct, frozen=True):
    """A ping in somebody else's place."""

    requester: PeerId
    sequence: int
    """The requester's number of it; ours is its key in `Prober.relays`."""
    target: PeerId


class Prober:
    """State of the pings under way, of round trips and of our own health."""

    def __init__(self, config: MembershipConfig, rng: Rng) -> None:
        self._config = config
        self._rng = rng
        self._ring: list[PeerId] = []
        """Whom to ping in the rest of this round, the next one last; some may be gone by then."""
        self._last_sequence = 0
        """Of our newest ping, for ourselves or in somebody's place."""
        self._rtts_s: dict[PeerId, float] = {}
        """Smoothed round trips of pings; forgotten when a member is gone."""
        self.probes: dict[int, Probe] = {}
        """Pings for ourselves without an answer, by sequence; ProbeOver ends each."""
        self.relays: dict[int, Relay] = {}
        """Pings in somebody's place, by our sequence; at most RELAYS_MAX, RelayOver ends each."""
        self.awareness = 0
        """How often we failed of late: 0 is healthy, awareness_max - 1 the worst."""

    @property
    def slowdown(self) -> int:
        """Factor on every wait: a node that hears nobody doubts itself first."""
        return 1 + self.awareness

    def period_s(self) -> float:
        """Until the next ping."""
        return self._config.probe_s * self.slowdown

    def timeout_s(self, target: PeerId) -> float:
        """How long a ping to this member may take."""
        rtt_s = self._rtts_s.get(target)
        if rtt_s is None:
            return self._config.timeout_unknown_s * self.slowdown
        limits = max(self._config.timeout_min_s, self._config.timeout_rtts * rtt_s)
        return limits * self.slowdown

    def end_s(self, probe: Probe) -> float:
        """When a probe has failed: helpers get as long as the ping had, twice, or the period."""
        rest_s = max(self.period_s() - probe.timeout_s, 2 * probe.timeout_s)
        return probe.sent_s + probe.timeout_s + rest_s

    def next_target(self, members: list[PeerId]) -> PeerId | None:
        """Round robin over `members` in an order shuffled each round; None when alone."""
        present = dict.fromkeys(members)
        while self._ring:
            peer = self._ring.pop()
            if peer in present:
                return peer
        self._ring = list(members)
        self._rng.shuffle(self._ring)
        return self._ring.pop() if self._ring else None

    def welcome(self, peer: PeerId) -> None:
        """Have a new member probed somewhere in the present round."""
        self._ring.insert(self._rng.randrange(0, len(self._ring) + 1), peer)

    def begin(self, target: PeerId, now_s: float) -> tuple[int, Probe]:
        """A probe and its sequence."""
        probe = Probe(target, now_s, self.timeout_s(target))
        self._last_sequence += 1
        self.probes[self._last_sequence] = probe
        return self._last_sequence, probe

    def is_probing(self, target: PeerId) -> bool:
        """Whether a ping to this member is under way."""
        return any(probe.target == target for probe in self.probes.values())

    def relay(self, requester: PeerId, sequence: int, target: PeerId) -> int:
        """Remember a ping in somebody's place; returns its sequence."""
        self._last_sequence += 1
        self.relays[self._last_sequence] = Relay(requester, sequence, target)
        return self._last_sequence

    def on_ack(self, sender: PeerId, sequence: int, now_s: float) -> bool:
        """An answer; True when it ends a probe of ours."""
        probe = self.probes.get(sequence)
        if probe is None or (sender != probe.target and sender not in probe.helpers):
            return False
        del self.probes[sequence]
        if sender == probe.target:
            self._measured(sender, now_s - probe.sent_s)
        self.awareness = max(0, self.awareness - 1)
        return True

    def on_nack(self, sender: PeerId, sequence: int) -> None:
        """A helper is well, so our own link is too."""
        probe = self.probes.get(sequence)
        if probe is not None and sender in probe.helpers and probe.nacks < len(probe.helpers):
            probe.nacks += 1

    def on_failed(self, sequence: int) -> Probe | None:
        """Time is up; the probe when it was still unanswered. Missing nacks speak against us."""
        probe = self.probes.pop(sequence, None)
        if probe is not None:
            self.doubt_ourselves(len(probe.helpers) - probe.nacks if probe.helpers else 1)
        return probe

    def doubt_ourselves(self, points: int) -> None:
        """Something speaks for a problem on our side."""
        self.awareness = min(self._config.awareness_max - 1, self.awareness + points)

    def forget(self, peer: PeerId) -> None:
        """The member is gone."""
        self._rtts_s.pop(peer, None)

    def check_invariants(self) -> None:
        """Between two events: what is under way keeps its bounds."""
        assert 0 <= self.awareness < self._config.awareness_max, "our health is out of its scale"
        assert len(self.relays) <= RELAYS_MAX, "more pings for others than there may be"
        assert self.probes.keys().isdisjoint(self.relays), "one sequence means two pings"
        newest = max((*self.probes, *self.relays), default=0)
        assert newest <= self._last_sequence, "a sequence that was never given"
        for probe in self.probes.values():
            assert probe.nacks <= len(probe.helpers), "more nacks than helpers"
            assert probe.target not in probe.helpers, "it was asked to ping itself"

    def _measured(self, peer: PeerId, rtt_s: float) -> None:
        before_s = self._rtts_s.get(peer, rtt_s)
        self._rtts_s[peer] = before_s + RTT_WEIGHT * (rtt_s - before_s)
