"""What one node knows and says: its own presence, its table of others, and fresh news.

Everything learnt goes through here, whether it came with a ping, a page or from our own probes;
each method returns what must be told to our own side (MemberChanged) and when to act again.
"""

import math

from p2p.buckets import Buckets
from p2p.effects import Notify, Rng, Send, WakeAt
from p2p.ids import LabId, PeerId
from p2p.limits import FORGERY_COST
from p2p.membership.config import MembershipConfig
from p2p.membership.events import Effect, Expelled, SpreadDue, SuspicionOver
from p2p.membership.messages import News, Opinion, Spread
from p2p.membership.news import NewsQueue
from p2p.membership.ourselves import OwnPresence
from p2p.membership.probing import Prober
from p2p.membership.table import MemberRow, MemberTable
from p2p.membership.view import GONE, Liveness, Member, MemberChanged, View
from p2p.wire.envelope import Signed


class Knowledge:
    """The table, our own presence in it and the news on their way out."""

    def __init__(
        self,
        config: MembershipConfig,
        table: MemberTable,
        own: OwnPresence,
        prober: Prober,
        rng: Rng,
    ) -> None:
        """`prober` is told here of who comes and goes, and of doubts about us."""
        self.me = own.me
        self.table = table
        self._own = own
        self._config, self._prober, self._rng = config, prober, rng
        self._news = NewsQueue(config.news_per_message, config.retransmit_factor)
        self._buckets = Buckets(config.burst, config.presences_per_s)
        """Of presences, by the peer that brings them."""
        self.throttled = 0
        """Presences dropped because the peer that brought them brought too many."""
        self._expelled: frozenset[PeerId] = frozenset()
        """Out for good, never ourselves: none of their presences is taken, none lives here."""
        self._is_spreading = False
        """A SpreadDue is under way: there is never a second one."""
        self._view: View | None = None
        """What `view` gives; None once the table has changed."""
        self._alive: list[PeerId] | None = None
        """The same of `alive`."""

    # -- reading

    def view(self) -> View:
        """Everybody, ourselves included."""
        if self._view is None:
            self._view = View(self.me, tuple(row.member for row in self.table.in_order()))
        return self._view

    def alive(self) -> list[PeerId]:
        """The others that are ALIVE, by peer id."""
        if self._alive is None:
            members = (row.member for row in self.table.in_order())
            self._alive = [
                m.peer for m in members if m.liveness is Liveness.ALIVE and m.peer != self.me
            ]
        return self._alive

    def with_liveness(self, *wanted: Liveness) -> list[PeerId]:
        """The others in one of these states, by peer id."""
        members = (row.member for row in self.table.in_order())
        return [m.peer for m in members if m.liveness in wanted and m.peer != self.me]

    def dead(self) -> list[PeerId]:
        """Members held for dead that may yet come back: none of those that are out."""
        return [p for p in self.with_liveness(Liveness.DEAD) if p not in self._expelled]

    def news_for(self, peer: PeerId) -> News:
        """Fresh news, and first what the peer should object to at once."""
        row = self.table.rows.get(peer)
        first: tuple[Opinion, ...] = ()
        if row is not None and row.member.liveness in (Liveness.SUSPECT, Liveness.DEAD):
            first = (self.opinion(row.member, row.member.liveness),)
        return self._news.take(len(self.table.rows), first)

    def opinion(self, member: Member, liveness: Liveness) -> Opinion:
        """Our opinion of a member's present incarnation."""
        return Opinion(member.peer, member.incarnation, liveness, self.me)

    # -- ourselves

    def announce(self, now_s: float) -> list[Effect]:
        """Tell what is true of us now, under the present incarnation."""
        return self._meet(self._own.sealed(), now_s)

    def renew(self, now_s: float) -> list[Effect]:
        """The same under the next incarnation: something about us has changed."""
        self._own.incarnation += 1
        return self.announce(now_s)

    def farewell(self) -> News:
        """Our newest presence, for those that must have it."""
        return News((self.table.rows[self.me].sealed,))

    def _object(self, claimed: int, now_s: float) -> list[Effect]:
        """Answer a doubt about `claimed`, an incarnation of ours, with a higher one."""
        if not self._own.rise_to(claimed):
            return []
        self._prober.doubt_ourselves(1)
        return self.renew(now_s)

    # -- learning

    def take(self, news: News, sender: PeerId, now_s: float) -> list[Effect]:
        """Take in what a message brought along."""
        effects: list[Effect] = []
        for sealed in news.presences:
            effects += self._learn(sealed, sender, now_s)
        for opinion in news.opinions:
            effects += self._hear(self._attributed(opinion, sender), now_s)
        about_us = [opinion for opinion in news.opinions if opinion.peer == self.me]
        if about_us:
            newest = max(about_us, key=lambda opinion: opinion.incarnation)
            effects += self._on_accused(newest, sender, now_s)
        return effects

    def take_page(self, news: News, sender: PeerId, now_s: float) -> list[Effect]:
        """The same for a page of somebody's view: hearsay of a death is only a suspicion.

        The dead that we do not know are not worth knowing.
        """
        doubted = {o.peer for o in news.opinions if o.liveness == Liveness.DEAD}
        rows = self.table.rows
        presences = tuple(s for s in news.presences if s.sender in rows or s.sender not in doubted)
        opinions = tuple(
            Opinion(o.peer, o.incarnation, min(o.liveness, Liveness.SUSPECT), sender)
            for o in news.opinions
        )
        return self.take(News(presences, opinions), sender, now_s)

    def suspect(self, peer: PeerId, now_s: float) -> list[Effect]:
        """Our own probe of a member has failed."""
        row = self.table.rows.get(peer)
        if row is None or row.member.liveness in GONE:
            return []
        opinion = self.opinion(row.member, Liveness.SUSPECT)
        return [*self._suspect(opinion, now_s), Send(peer, Spread(self.news_for(peer)))]

    def on_suspicion_over(self, event: SuspicionOver, now_s: float) -> list[Effect]:
        """Bury a suspect that has not objected, unless its time was shortened or begun anew."""
        row = self.table.rows.get(event.peer)
        if row is None or row.member.liveness is not Liveness.SUSPECT:
            return []
        if row.member.incarnation != event.incarnation or now_s < self._suspicion_ends_s(row):
            return []
        opinion = self.opinion(row.member, Liveness.DEAD)
        return self._judged(opinion, self.table.bury(opinion, now_s), now_s)

    def on_spread_due(self, now_s: float) -> list[Effect]:
        """Send fresh news to a few members; again soon while there are any left."""
        self._is_spreading = False
        others = self.with_liveness(Liveness.ALIVE, Liveness.SUSPECT)
        if not others:
            self._news.clear()
        chosen = self._rng.sample(others, min(self._config.spread_fanout, len(others)))
        batches = [(peer, self.news_for(peer)) for peer in chosen]
        effects: list[Effect] = [Send(p, Spread(news)) for p, news in batches if news != News()]
        return effects if self._news.is_empty else [*effects, *self._spread_soon(now_s)]

    def _learn(self, sealed: Signed, sender: PeerId, now_s: float) -> list[Effect]:
        if not self.table.is_newer(sealed):
            return []
        if not self._buckets.take(sender, 1, now_s):
            self.throttled += 1
            return []
        if sealed.sender != self.me:
            refused = self.table.refused
            effects = self._meet(sealed, now_s)
            if self.table.refused > refused:
                self._buckets.charge(sender, FORGERY_COST, now_s)
            return effects
        if not self.table.heard_of_us(sealed, now_s):
            self._buckets.charge(sender, FORGERY_COST, now_s)
            return []
        return self._answer_our_key(sealed.sequence, now_s)

    def _answer_our_key(self, claimed: int, now_s: float) -> list[Effect]:
        """Of an earlier run with a faster clock, or of another machine with our key."""
        is_double = self.table.lives.is_double(self.me, now_s)
        if not self._own.may_answer(now_s, is_double=is_double):
            return []
        return self._object(claimed, now_s)

    def on_expelled(self, event: Expelled, now_s: float) -> list[Effect]:
        """Hold these machines, and no others, for gone whatever they or others say of them."""
        self._expelled = event.peers - {self.me}
        effects: list[Effect] = []
        for peer in sorted(self._expelled):
            row = self.table.rows.get(peer)
            if row is not None and row.member.liveness not in GONE:
                opinion = self.opinion(row.member, Liveness.DEAD)
                effects += self._judged(opinion, self.table.bury(opinion, now_s), now_s)
        return effects

    def _meet(self, sealed: Signed, now_s: float) -> list[Effect]:
        if sealed.sender in self._expelled:
            return []
        row = self.table.rows.get(sealed.sender)
        old = row.member if row is not None else None
        change = self.table.meet(sealed, now_s)
        if change is None:
            return []
        member = change.member
        if member.peer != self.me and (old is None or old.liveness in GONE):
            self._prober.welcome(member.peer)
        self._view = self._alive = None
        self._news.add(sealed)
        is_worth_telling = old is None or _without_incarnation(old) != _without_incarnation(member)
        told: list[Effect] = [Notify(change)] if is_worth_telling else []
        return [*told, *self._spread_soon(now_s)]

    def _attributed(self, opinion: Opinion, sender: PeerId) -> Opinion:
        """An opinion of nobody we know is its bringer's own: we pass on no text unread."""
        if opinion.accuser in self.table.rows:
            return opinion
        return Opinion(opinion.peer, opinion.incarnation, opinion.liveness, sender)

    def _hear(self, opinion: Opinion, now_s: float) -> list[Effect]:
        if opinion.peer == self.me:
            return []
        if opinion.liveness == Liveness.SUSPECT:
            return self._suspect(opinion, now_s)
        if opinion.liveness == Liveness.DEAD:
            return self._judged(opinion, self.table.bury(opinion, now_s), now_s)
        return []

    def _on_accused(self, opinion: Opinion, sender: PeerId, now_s: float) -> list[Effect]:
        ours = self._own.incarnation
        if opinion.incarnation == ours:
            return self._object(opinion.incarnation, now_s)
        row = self.table.rows.get(self.me)
        if opinion.incarnation < ours and row is not None:
            return [Send(sender, Spread(News((row.sealed,))))]  # it has missed our objection
        return []

    def _suspect(self, opinion: Opinion, now_s: float) -> list[Effect]:
        could_confirm = len(self.alive()) - 1
        wanted = self._config.confirmations
        change = self.table.suspect(opinion, now_s, wanted if could_confirm >= wanted else 0)
        if change is None and not self.table.confirm(opinion):
            return []
        effects = self._judged(opinion, change, now_s)
        if change is None:
            self._news.add(opinion)
            effects += self._spread_soon(now_s)
        due_s = self._suspicion_ends_s(self.table.rows[opinion.peer])
        return [*effects, WakeAt(due_s, SuspicionOver(opinion.peer, opinion.incarnation))]

    def _suspicion_ends_s(self, row: MemberRow) -> float:
        """Shrinks from the longest to the shortest time with the logarithm of confirmations."""
        shortest_s = self._config.suspicion_s
        if row.confirmations_wanted == 0:
            return row.suspect_since_s + shortest_s
        longest_s = shortest_s * self._config.suspicion_factor_max
        share = math.log(len(row.accusers)) / math.log(row.confirmations_wanted + 1)
        return row.suspect_since_s + max(shortest_s, longest_s - share * (longest_s - shortest_s))

    def _judged(self, opinion: Opinion, change: MemberChanged | None, now_s: float) -> list[Effect]:
        if change is None:
            return []
        self._view = self._alive = None
        self._news.add(opinion)
        if change.member.liveness in GONE:
            self._prober.forget(change.member.peer)
        return [Notify(change), *self._spread_soon(now_s)]

    def _spread_soon(self, now_s: float) -> list[Effect]:
        if self._is_spreading or not self.alive():
            return []
        self._is_spreading = True
        return [WakeAt(now_s + self._config.spread_s, SpreadDue())]

    def forget(self, before_s: float) -> None:
        """Drop those that have been gone since before a time."""
        if self.table.forget(before_s):
            self._view = self._alive = None

    def check_invariants(self) -> None:
        """Between two events: our own row is not ahead of us, and what was read is still so."""
        self.table.check_invariants()
        rows = self.table.rows
        own = rows.get(self.me)
        self._own.check_invariants(None if own is None else own.member.incarnation)
        living = [m.peer for m in self.view().members if m.liveness not in GONE]
        assert self._expelled.isdisjoint(living), "somebody lives who is out for good"
        members = tuple(row.member for row in self.table.in_order())
        assert self.view().members == members, "the view is not that of the table"
        alive = [m.peer for m in members if m.liveness is Liveness.ALIVE and m.peer != self.me]
        assert self.alive() == alive, "the living are not those of the table"


def _without_incarnation(member: Member) -> tuple[Liveness, tuple[str, ...], str, LabId, str]:
    return member.liveness, member.addresses, member.name, member.lab, member.site
