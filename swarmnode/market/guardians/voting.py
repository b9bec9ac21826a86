"""Who acts next: whoever has not heard asks for votes, and each gives one a term."""

from math import inf

import msgspec

from p2p.effects import Send, WakeAt
from p2p.ids import PeerId
from swarmnode.market.counting import is_near
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.kept import STEPS, Kept, Post, Turn
from swarmnode.market.guardians.messages import (
    AskVote,
    GuardBeat,
    GuardHeard,
    GuardLine,
    Relieve,
    Vote,
)
from swarmnode.market.guardians.records import rank
from swarmnode.market.guardians.shelf.tasks import TaskShelf
from swarmnode.tasks.lifecycle import TASK_ENDS


class Voting:
    """The tasks another machine acts for, or nobody."""

    def __init__(self, shelf: TaskShelf) -> None:
        self._shelf = shelf

    def on_beat(self, peer: PeerId, message: GuardBeat, now_s: float) -> list[g.Effect]:
        effects, lines = list[g.Effect](), list[GuardLine]()
        for line in {line.task: line for line in message.lines}.values():
            kept = self._shelf.kept.get(line.task)
            if kept is None:
                lines.append(GuardLine(line.task, 0, 0))
                effects += self._shelf.if_over(peer, line.task)
                continue
            is_party = kept.record.is_party(peer) and is_near(line.term, kept.known)
            if is_party and self.is_outranked(kept, line.term):
                kept.known_term = max(kept.known_term, line.term)
                effects += self.outranked(kept, now_s)
            if is_party and line.term >= max(kept.record.term, kept.record.promised):
                self._hear(kept, now_s)
            lines.append(self._shelf.line(kept))
        return [*effects, Send(peer, GuardHeard(message.number, tuple(lines)))]

    def _hear(self, kept: Kept, now_s: float) -> None:
        """Somebody acts."""
        kept.heard_s = now_s
        kept.candidacy.rest()

    def is_outranked(self, kept: Kept, term: int) -> bool:
        """A term above ours, unless we stand for that one or a higher one ourselves."""
        ours = kept.candidacy.term if kept.post is Post.STANDS else kept.record.term
        return term > ours

    def outranked(self, kept: Kept, now_s: float) -> list[g.Effect]:
        """Somebody acts under a higher term: not we. Its submitter asks for it back."""
        was, record = kept.post, kept.record
        kept.post = STEPS[was, Turn.OUTRANKED]
        kept.copies.forget()
        self._hear(kept, now_s)
        if was is Post.ACTS:
            self._shelf.rest(record)
        return self.stand(kept, now_s) if record.submitter == self._shelf.me else []

    def on_stand_due(self, event: g.StandDue, now_s: float) -> list[g.Effect]:
        kept = self._shelf.kept.get(event.task)
        if kept is None or kept.post is Post.ACTS or now_s < self.vacant_s(kept):
            return []
        return self.stand(kept, now_s)

    def vacant_s(self, kept: Kept) -> float:
        """When it is our turn to stand, if nobody is heard: not all at once, or nobody wins."""
        record, config = kept.record, self._shelf.config
        if record.submitter == self._shelf.me:
            return kept.candidacy.again_s(config.vote_s) if kept.post is Post.STANDS else -inf
        if record.task_record.state in TASK_ENDS or self._shelf.me not in record.keepers:
            return inf
        turn = sorted(record.keepers, key=lambda peer: rank(record.task, peer)).index(
            self._shelf.me
        )
        patience_s = turn * config.stagger_s
        if kept.post is Post.STANDS:
            return kept.candidacy.again_s(config.vote_s) + patience_s
        return kept.heard_s + config.lease_s + patience_s

    def stand(self, kept: Kept, now_s: float) -> list[g.Effect]:
        record, in_vain = kept.record, self._is_over_there(kept)
        if in_vain and record.submitter == self._shelf.me and kept.candidacy.is_hopeless:
            return self._shelf.drop(kept)  # ours alone from here on
        kept.post, term = STEPS[kept.post, Turn.SILENT], kept.known + 1
        kept.candidacy.begin(term, self._shelf.me, now_s, in_vain=in_vain)
        kept.record = record = msgspec.structs.replace(record, promised=term)
        ask = AskVote(record.task, term, record.term, record.seq)
        whom = dict.fromkeys((*record.keepers, record.acting, record.submitter))
        asked: list[g.Effect] = [Send(peer, ask) for peer in whom if peer != self._shelf.me]
        asked.append(WakeAt(self.vacant_s(kept), g.StandDue(record.task)))
        return [self._shelf.write(kept), *asked, *self._close(kept, now_s)]

    def _is_over_there(self, kept: Kept) -> bool:
        """Nobody who may know of it is there and keeps it: it ended while we were away, perhaps."""
        record, roster = kept.record, self._shelf.roster
        parties = {*record.keepers, record.acting, record.submitter} - {self._shelf.me}
        here = {peer for peer in parties if roster.stays(peer)}
        return bool(here) and here <= kept.candidacy.strangers

    def on_ask_vote(self, peer: PeerId, ask: AskVote, now_s: float) -> list[g.Effect]:
        kept = self._shelf.kept.get(ask.task)
        if kept is None:
            vote = Vote(ask.task, ask.term, granted=False, known_term=0)
            return [Send(peer, vote), *self._shelf.if_over(peer, ask.task)]
        record, known = kept.record, max(kept.record.term, kept.record.promised)
        may = self._may_have_vote(kept, peer, now_s)
        is_newest = (ask.seen_term, ask.seen_seq) >= record.version
        granted = may and is_newest and known < ask.term and is_near(ask.term, kept.known)
        effects: list[g.Effect] = []
        if granted:
            self._give_way(kept, now_s)
            kept.record = msgspec.structs.replace(kept.record, promised=ask.term)
            effects.append(self._shelf.write(kept))
        elif may and not is_newest:
            effects.append(self._shelf.carry(peer, record))
        elif kept.post is Post.ACTS and not (is_newest or record.is_party(peer)):
            # It was none any more while it was away: what told it so was lost.
            effects.append(Send(peer, Relieve(ask.task, is_over=False)))
        vote = Vote(ask.task, ask.term, granted=granted, known_term=known)
        return [*effects, Send(peer, vote)]

    def _may_have_vote(self, kept: Kept, peer: PeerId, now_s: float) -> bool:
        """Its submitter; a keeper only where nobody who acts was heard for a lease."""
        record, lease_s = kept.record, self._shelf.config.lease_s
        is_silent = now_s >= kept.heard_s + lease_s or record.acting == peer
        is_vacant = kept.post is not Post.ACTS and is_silent
        return peer == record.submitter or (is_vacant and peer in record.keepers)

    def _give_way(self, kept: Kept, now_s: float) -> None:
        """We have given our vote away: until somebody wins with it nobody acts here."""
        if kept.post is Post.ACTS:
            self._shelf.rest(kept.record)
        kept.post, kept.heard_s = STEPS[kept.post, Turn.GAVE_WAY], now_s

    def on_vote(self, peer: PeerId, vote: Vote, now_s: float) -> list[g.Effect]:
        kept = self._shelf.kept.get(vote.task)
        if kept is None or not kept.record.is_party(peer):
            return []
        if not is_near(vote.known_term, kept.known):
            return []
        kept.known_term = max(kept.known_term, vote.known_term)
        if vote.known_term == 0:
            kept.candidacy.strangers.add(peer)
        if vote.known_term == 0 and self._shelf.is_over(kept):
            kept.copies.has[peer] = (0, 0)  # relieved before we stopped in the middle of that
            return self._shelf.part(kept, now_s) if self._shelf.may_part(kept, now_s) else []
        if kept.post is not Post.STANDS or vote.term != kept.candidacy.term or not vote.granted:
            return []
        kept.candidacy.votes.add(peer)
        return self._close(kept, now_s)

    def _close(self, kept: Kept, now_s: float) -> list[g.Effect]:
        """Act, if enough have voted for us."""
        record = kept.record
        if not record.agreed(kept.candidacy.votes):
            return []
        kept.post = STEPS[kept.post, Turn.WON]
        ours, me = kept.candidacy, self._shelf.me
        kept.record = msgspec.structs.replace(record, term=ours.term, seq=record.seq + 1, acting=me)
        kept.copies.begin({peer: ours.asked_s for peer in sorted(ours.votes) if peer != me})
        self._shelf.count(kept, now_s)
        self._shelf.decisions.append(g.Acts(kept.record, record.acting))
        return [self._shelf.write(kept), *self._shelf.carry_all(kept, now_s)]
