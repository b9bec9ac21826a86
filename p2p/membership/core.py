"""Who is alive: SWIM with Lifeguard's local health and a full view, as a pure state machine.

Each period one member is pinged; after a silence three others are asked to ping it; after more
silence it is SUSPECT and has some seconds to object by a higher incarnation; then it is DEAD.
News ride on pings; a comparison of views every half minute repairs what they miss. At one member
nothing is probed; at two and three timeouts alone decide, as nobody could help or confirm.
"""

from collections.abc import Mapping
from typing import assert_never

from p2p.effects import Notify, Rng, Send, WakeAt
from p2p.ids import PeerId
from p2p.limits import ADDRESS_CHARS_MAX, FAREWELLS_MAX, RELAYS_MAX, STRANGERS_MAX
from p2p.membership import events as e
from p2p.membership.config import MembershipConfig
from p2p.membership.knowledge import Knowledge
from p2p.membership.messages import (
    Ack,
    MembershipMessage,
    Nack,
    Ping,
    PingRequest,
    Spread,
    SyncOffer,
    SyncPage,
)
from p2p.membership.ourselves import Ourselves, OwnPresence
from p2p.membership.probing import Prober
from p2p.membership.sync import pages
from p2p.membership.table import MemberTable
from p2p.membership.view import GONE, Liveness, View


class Membership:
    """One node's view of the swarm and its part in keeping everybody's view right.

    `incarnation` starts as wall-clock milliseconds, so that a restart has a higher one; where we
    have no proofs presences are taken at their word, as there are no certificates.
    """

    def __init__(
        self, config: MembershipConfig, who: Ourselves, rng: Rng, incarnation: int
    ) -> None:
        prober = Prober(config, rng)
        self._config, self._rng, self._prober = config, rng, prober
        self._own = OwnPresence(who, incarnation)
        table = MemberTable(who, config.members_max)
        self._known = Knowledge(config, table, self._own, prober, rng)
        self._asked_s: dict[PeerId, float] = {}
        """When each stranger was last asked who it is, the latest last; at most STRANGERS_MAX."""

    def handle(self, event: e.Event, now_s: float) -> list[e.Effect]:
        """Take one event."""
        match event:
            case e.MembershipHeard():
                return self._on_heard(event, now_s)
            case e.ProbeDue():
                return self._on_probe_due(now_s)
            case e.PingLate():
                return self._on_ping_late(event)
            case e.ProbeOver():
                return self._on_probe_over(event, now_s)
            case e.RelayOver():
                return self._on_relay_over(event)
            case e.SuspicionOver():
                return self._known.on_suspicion_over(event, now_s)
            case e.SpreadDue():
                return self._known.on_spread_due(now_s)
            case e.SyncDue():
                return self._on_sync_due(now_s)
            case e.RecontactDue():
                return self._on_recontact_due(now_s)
            case _:
                return self._on_our_side(event, now_s)

    def _on_our_side(self, event: e.Told, now_s: float) -> list[e.Effect]:
        match event:
            case e.MembershipBegan():
                return self._on_begin(event, now_s)
            case e.Readdressed():
                return self._on_readdressed(event, now_s)
            case e.PeerUp():
                return self._on_peer_up(event, now_s)
            case e.PeerDown():
                return self._on_peer_down(event, now_s)
            case e.Join():
                return self._on_join(event, now_s)
            case e.Leave():
                return self._on_leave(now_s)
            case e.Expelled():
                return self._known.on_expelled(event, now_s)
            case _:
                assert_never(event)

    def view(self) -> View:
        """Everybody we know, ourselves included."""
        return self._known.view()

    @property
    def refused(self) -> int:
        """Presences with a wrong signature or content, since the start."""
        return self._known.table.refused

    @property
    def unproven(self) -> int:
        """Presences that nothing proved to be a member's when they came."""
        return self._known.table.unproven

    @property
    def throttled(self) -> int:
        """Presences dropped because the peer that brought them brought too many."""
        return self._known.throttled

    def twins(self, now_s: float) -> Mapping[PeerId, tuple[str, ...]]:
        """Keys with which two machines run, ours included, and the addresses of the two."""
        return self._known.table.lives.twins(now_s)

    @property
    def slowdown(self) -> int:
        """1 when healthy; more when our own links or processor seem to be the problem."""
        return self._prober.slowdown

    def check_invariants(self) -> None:
        """For tests, between two events: what is known agrees with itself and keeps its bounds."""
        self._known.check_invariants()
        self._prober.check_invariants()
        assert len(self._asked_s) <= STRANGERS_MAX, "more strangers than may be remembered"

    # -- our own life

    def _on_begin(self, event: e.MembershipBegan, now_s: float) -> list[e.Effect]:
        self._own.addresses = event.addresses
        config, dice = self._config, self._rng
        return [
            *self._known.announce(now_s),
            WakeAt(now_s + dice.random() * config.probe_s, e.ProbeDue()),
            WakeAt(now_s + dice.random() * config.sync_s, e.SyncDue()),
            WakeAt(now_s + dice.random() * config.recontact_s, e.RecontactDue()),
        ]

    def _on_readdressed(self, event: e.Readdressed, now_s: float) -> list[e.Effect]:
        self._own.addresses = event.addresses
        return [] if self._own.has_left else self._known.renew(now_s)

    def _on_join(self, event: e.Join, now_s: float) -> list[e.Effect]:
        effects: list[e.Effect] = []
        if self._own.has_left:
            self._own.has_left = False
            effects = self._known.renew(now_s)
        return [*effects, *self._offer(event.peer)]

    def _on_leave(self, now_s: float) -> list[e.Effect]:
        if self._own.has_left:
            return []
        self._own.has_left = True
        effects = self._known.renew(now_s)
        others = self._known.with_liveness(Liveness.ALIVE, Liveness.SUSPECT)
        farewell = self._known.farewell()
        for peer in others[:FAREWELLS_MAX]:
            sequence, probe = self._prober.begin(peer, now_s)
            effects.append(Send(peer, Ping(sequence, farewell)))
            effects.append(WakeAt(self._prober.end_s(probe), e.ProbeOver(sequence)))
        return effects

    # -- pings of ours

    def _on_probe_due(self, now_s: float) -> list[e.Effect]:
        again = WakeAt(now_s + self._prober.period_s(), e.ProbeDue())
        if self._own.has_left:
            return [again]
        members = self._known.with_liveness(Liveness.ALIVE, Liveness.SUSPECT)
        target = self._prober.next_target(members)
        return [again] if target is None else [again, *self._probe(target, now_s)]

    def _probe(self, target: PeerId, now_s: float) -> list[e.Effect]:
        sequence, probe = self._prober.begin(target, now_s)
        return [
            Send(target, Ping(sequence, self._known.news_for(target))),
            WakeAt(now_s + probe.timeout_s, e.PingLate(sequence)),
            WakeAt(self._prober.end_s(probe), e.ProbeOver(sequence)),
        ]

    def _on_ping_late(self, event: e.PingLate) -> list[e.Effect]:
        probe = self._prober.probes.get(event.sequence)
        if probe is None:
            return []
        could = [peer for peer in self._known.alive() if peer != probe.target]
        probe.helpers = self._rng.sample(could, min(self._config.helpers, len(could)))
        return [
            Send(helper, PingRequest(event.sequence, probe.target, self._known.news_for(helper)))
            for helper in probe.helpers
        ]

    def _on_probe_over(self, event: e.ProbeOver, now_s: float) -> list[e.Effect]:
        probe = self._prober.on_failed(event.sequence)
        if probe is None or self._own.has_left:
            return []
        return self._known.suspect(probe.target, now_s)

    def _on_ack(self, peer: PeerId, message: Ack, now_s: float) -> list[e.Effect]:
        effects = self._known.take(message.news, peer, now_s)
        relay = self._prober.relays.get(message.sequence)
        if relay is not None and relay.target == peer:
            del self._prober.relays[message.sequence]
            return [*effects, Send(relay.requester, Ack(relay.sequence))]
        if self._prober.on_ack(peer, message.sequence, now_s) and self._own.has_left:
            effects.append(Notify(e.FarewellHeard()))
        return effects

    # -- pings of others

    def _on_heard(self, event: e.MembershipHeard, now_s: float) -> list[e.Effect]:
        effects = self._read(event.peer, event.message, now_s)
        if event.peer not in self._known.table.rows:
            effects = [*effects, *self._ask_stranger(event.peer, now_s)]
        return effects

    def _read(self, peer: PeerId, message: MembershipMessage, now_s: float) -> list[e.Effect]:
        match message:
            case Ping():
                return self._on_ping(peer, message, now_s)
            case Ack():
                return self._on_ack(peer, message, now_s)
            case PingRequest():
                return self._on_ping_request(peer, message, now_s)
            case Nack():
                self._prober.on_nack(peer, message.sequence)
                return []
            case Spread():
                return self._known.take(message.news, peer, now_s)
            case SyncOffer():
                return self._on_sync_offer(peer, message)
            case SyncPage():
                return self._on_sync_page(peer, message, now_s)
            case _:
                assert_never(message)

    def _on_ping(self, peer: PeerId, message: Ping, now_s: float) -> list[e.Effect]:
        effects = self._known.take(message.news, peer, now_s)
        return [*effects, Send(peer, Ack(message.sequence, self._known.news_for(peer)))]

    def _on_ping_request(self, peer: PeerId, message: PingRequest, now_s: float) -> list[e.Effect]:
        effects = self._known.take(message.news, peer, now_s)
        is_known = message.target in self._known.table.rows
        if not is_known or len(self._prober.relays) >= RELAYS_MAX:
            return [*effects, Send(peer, Nack(message.sequence))]
        sequence = self._prober.relay(peer, message.sequence, message.target)
        return [
            *effects,
            Send(message.target, Ping(sequence, self._known.news_for(message.target))),
            WakeAt(now_s + self._prober.timeout_s(message.target), e.RelayOver(sequence)),
        ]

    def _on_relay_over(self, event: e.RelayOver) -> list[e.Effect]:
        relay = self._prober.relays.pop(event.sequence, None)
        return [] if relay is None else [Send(relay.requester, Nack(relay.sequence))]

    # -- whole views

    def _on_sync_due(self, now_s: float) -> list[e.Effect]:
        self._known.forget(now_s - self._config.forget_s)
        again = WakeAt(now_s + self._config.sync_s, e.SyncDue())
        alive = self._known.alive()
        if not alive or self._own.has_left:
            return [again]
        return [again, *self._offer(self._rng.choice(alive))]

    def _on_recontact_due(self, now_s: float) -> list[e.Effect]:
        again = WakeAt(now_s + self._config.recontact_s, e.RecontactDue())
        dead = self._known.dead()
        if not dead or self._own.has_left:
            return [again]
        return [again, *self._offer(self._rng.choice(dead))]

    def _offer(self, peer: PeerId) -> list[e.Effect]:
        return [Send(peer, SyncOffer(self._known.table.digest()))]

    def _on_sync_offer(self, peer: PeerId, message: SyncOffer) -> list[e.Effect]:
        table = self._known.table
        is_equal = table.digest() == message.digest
        rows = [] if is_equal else table.in_order()
        made = pages(rows, self._known.opinion, wants_answer=not is_equal)
        return [Send(peer, page) for page in made]

    def _on_sync_page(self, peer: PeerId, message: SyncPage, now_s: float) -> list[e.Effect]:
        effects = self._known.take_page(message.news, peer, now_s)
        if message.is_last:
            effects.append(Notify(e.Joined(peer)))
        if not message.wants_answer:
            return effects
        low, high = message.low, message.high
        if max(len(low), len(high)) > ADDRESS_CHARS_MAX:
            return effects  # no id is as long, and our answer repeats them
        rows = self._known.table.better_than(message.news, low, high)
        made = pages(rows, self._known.opinion, low, high, wants_answer=False) if rows else []
        return [*effects, *(Send(peer, page) for page in made)]

    # -- connections

    def _on_peer_up(self, event: e.PeerUp, now_s: float) -> list[e.Effect]:
        row = self._known.table.rows.get(event.peer)
        if row is None or row.member.liveness in GONE:
            return self._ask_stranger(event.peer, now_s)
        return []

    def _on_peer_down(self, event: e.PeerDown, now_s: float) -> list[e.Effect]:
        row = self._known.table.rows.get(event.peer)
        if row is None or row.member.liveness in GONE or self._own.has_left:
            return []
        if self._prober.is_probing(event.peer):
            return []
        return self._probe(event.peer, now_s)

    def _ask_stranger(self, peer: PeerId, now_s: float) -> list[e.Effect]:
        last_s = self._asked_s.get(peer)
        if last_s is not None and now_s - last_s < self._config.ask_again_s:
            return []
        self._asked_s.pop(peer, None)
        self._asked_s[peer] = now_s
        if len(self._asked_s) > STRANGERS_MAX:
            del self._asked_s[next(iter(self._asked_s))]
        return self._offer(peer)
