"""Everybody's newest words, spread by push and mended by digests, as a pure state machine.

    publish -> Push to a few members -> each passes on what was new to it -> ...
    now and then: Digest of all we hold -> the other pushes what we lack and wants what it lacks

What answers a digest is news to one member only and is not passed on, except by its origin.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import assert_never

from p2p.buckets import Buckets
from p2p.effects import Notify, Rng, Send, WakeAt
from p2p.errors import WireError
from p2p.gossip import events as e
from p2p.gossip.config import GossipConfig
from p2p.gossip.holdings import Holdings
from p2p.gossip.items import Item
from p2p.gossip.messages import Digest, Push, Want
from p2p.gossip.origins import Origins
from p2p.gossip.pages import batches, digest_of, pages_in, read_digest, read_want, want_of
from p2p.gossip.table import KEY_MAX, ItemRow
from p2p.ids import NetworkId, PeerId
from p2p.membership.view import View
from p2p.wire.envelope import Signer


class Gossip:
    """One node's part in keeping everybody's table of items the same."""

    def __init__(
        self,
        config: GossipConfig,
        signer: Signer,
        network: NetworkId,
        view: Callable[[], View],
        rng: Rng,
        wall_ms: Callable[[], int],
    ) -> None:
        """`view` is the membership view; `wall_ms` the time in milliseconds since 1970."""
        self._config = config
        self._rng = rng
        self._buckets = Buckets(config.burst, config.items_per_s)
        """What each peer may still cause: items it brings, offers to us or has pushed to it."""
        self._origins = Origins(signer.peer_id, view)
        self._held = Holdings(signer, network, self._origins, wall_ms, self._buckets)
        self._asked_s: dict[int, float] = {}
        """When each item was last wanted, of whomever; a while later it may be wanted again."""
        self._malformed = 0
        """Messages that could not be read at all, since the start."""

    def handle(self, event: e.Event, now_s: float) -> list[e.Effect]:
        """Take one event."""
        match event:
            case e.GossipHeard():
                return self._on_heard(event, now_s)
            case e.Publish():
                return self._on_publish(event, now_s)
            case e.MemberUp():
                return self._on_member_up(event, now_s)
            case e.ReconcileDue():
                return self._on_reconcile_due(now_s)
            case e.GossipBegan():
                first_s = self._rng.random() * self._config.reconcile_s
                return [WakeAt(now_s + first_s, e.ReconcileDue())]
            case _:
                assert_never(event)

    def items(self, kind: int, now_s: float) -> Mapping[PeerId, Item]:
        """Live items of members not known to be gone, ours included, sorted by origin."""
        return self._held.items(kind, now_s)

    @property
    def refused(self) -> int:
        """Items and messages with a wrong signature, content or time, since the start."""
        return self._held.refused + self._malformed

    @property
    def throttled(self) -> int:
        """Items dropped because the peer that brought them brought too many."""
        return self._held.throttled

    def check_invariants(self) -> None:
        """For tests, between two events: what is held agrees with itself and keeps its bounds."""
        self._held.check_invariants()

    # -- push

    def _on_publish(self, event: e.Publish, now_s: float) -> list[e.Effect]:
        row = self._held.publish(event.kind, event.body, event.ttl_s, now_s)
        return [] if row is None else self._spread([row], self._config.hops_max, now_s)

    def _on_heard(self, event: e.GossipHeard, now_s: float) -> list[e.Effect]:
        peer = event.peer
        try:
            match event.message:
                case Push() as push:
                    return self._on_push(peer, push, now_s)
                case Digest() as digest:
                    return self._on_digest(peer, digest, now_s)
                case Want() as want:
                    return self._on_want(peer, want, now_s)
                case _:
                    assert_never(event.message)
        except WireError:
            self._malformed += 1
            return []

    def _on_push(self, peer: PeerId, push: Push, now_s: float) -> list[e.Effect]:
        taken = [self._held.take(peer, carried, now_s) for carried in push.items]
        fresh = [row for row in taken if row is not None]
        ours = [row for row in fresh if row.item.origin == self._held.me]
        others = [row for row in fresh if row.item.origin != self._held.me]
        return [
            *self._spread(others, min(push.hops, self._config.hops_max), now_s, but=peer),
            *self._spread(ours, self._config.hops_max, now_s),
        ]

    def _spread(
        self, rows: Sequence[ItemRow], hops: int, now_s: float, but: PeerId | None = None
    ) -> list[e.Effect]:
        """Tell our own side, and a few members while hops are left."""
        effects: list[e.Effect] = [Notify(e.Accepted(row.item)) for row in rows]
        if hops <= 0 or not rows:
            return effects
        could = [peer for peer in self._origins.alive() if peer != but]
        for target in self._rng.sample(could, min(self._config.fanout, len(could))):
            news = [row for row in rows if row.item.origin != target]
            effects += (Send(target, Push(hops - 1, batch)) for batch in batches(news, now_s))
        return effects

    # -- digests

    def _on_reconcile_due(self, now_s: float) -> list[e.Effect]:
        self._held.table.forget(now_s)
        since_s = now_s - self._config.ask_again_s
        self._asked_s = {key: at_s for key, at_s in self._asked_s.items() if at_s > since_s}
        again_s = now_s + self._config.reconcile_s * self._rng.uniform(0.8, 1.2)
        alive = self._origins.alive()
        offer = [self._digest(self._rng.choice(alive), now_s)] if alive else []
        return [WakeAt(again_s, e.ReconcileDue()), *offer]

    def _on_member_up(self, event: e.MemberUp, now_s: float) -> list[e.Effect]:
        """Compare with a newcomer at once; with many members a few of us do."""
        effects = self._spread(
            self._held.welcome(event.peer, now_s), self._config.hops_max, now_s, but=event.peer
        )
        alive = len(self._origins.alive())
        if self._rng.random() * alive < self._config.fanout:
            effects.append(self._digest(event.peer, now_s))
        return effects

    def _digest(self, peer: PeerId, now_s: float) -> Send:
        rows = self._held.table.live(0, KEY_MAX, now_s)
        return Send(peer, digest_of(rows, self._rng.randrange(0, pages_in(rows))))

    def _on_digest(self, peer: PeerId, digest: Digest, now_s: float) -> list[e.Effect]:
        told = read_digest(digest)
        rows = self._held.table.live(digest.low, digest.high, now_s)
        effects = self._answer(
            peer, (r for r in rows if told.get(r.key, -1) < r.item.sequence), now_s
        )
        wanted = [key for key, sequence in told.items() if self._should_ask(key, sequence, now_s)]
        wanted = wanted[: self._buckets.take(peer, len(wanted), now_s)]
        self._asked_s.update(dict.fromkeys(wanted, now_s))
        return [*effects, Send(peer, want_of(wanted))] if wanted else effects

    def _on_want(self, peer: PeerId, want: Want, now_s: float) -> list[e.Effect]:
        rows = (self._held.table.get(key) for key in dict.fromkeys(read_want(want)))
        return self._answer(peer, (r for r in rows if r is not None and r.is_live(now_s)), now_s)

    def _should_ask(self, key: int, sequence: int, now_s: float) -> bool:
        asked_s = self._asked_s.get(key)
        if asked_s is not None and now_s - asked_s < self._config.ask_again_s:
            return False
        return self._held.lacks(key, sequence)

    def _answer(self, peer: PeerId, rows: Iterable[ItemRow], now_s: float) -> list[e.Effect]:
        """Push what a digest showed to be missing: as much as the peer may cause."""
        chosen = list(rows)
        chosen = chosen[: self._buckets.take(peer, len(chosen), now_s)]
        ours = [row for row in chosen if row.item.origin == self._held.me]
        others = [row for row in chosen if row.item.origin != self._held.me]
        return [
            *(Send(peer, Push(self._config.hops_max - 1, b)) for b in batches(ours, now_s)),
            *(Send(peer, Push(0, b)) for b in batches(others, now_s)),
        ]
