"""What a keeper does while it acts: beats, carries its record, finds keepers."""

from typing import Final

from p2p.effects import Notify, Send
from p2p.ids import PeerId
from swarmnode.market.counting import is_near
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.beats import Beats
from swarmnode.market.guardians.kept import Kept, Post
from swarmnode.market.guardians.messages import GuardHeard, GuardLine, Relieve
from swarmnode.market.guardians.records import grown
from swarmnode.market.guardians.shelf.tasks import TaskShelf
from swarmnode.market.guardians.voting import Voting
from swarmnode.tasks.lifecycle import TASK_ENDS

REPORT_EVERY: Final = 12
"""Beats after which a keeper that hears nothing asks whether it is still one: a minute."""


class Acting:
    """The tasks this machine acts for."""

    def __init__(self, shelf: TaskShelf, voting: Voting) -> None:
        self._shelf, self._voting = shelf, voting
        self._beats = Beats()

    def tend(self, kept: Kept, now_s: float) -> list[g.Effect]:
        self._shelf.count(kept, now_s)
        if self._shelf.may_part(kept, now_s):
            return self._shelf.part(kept, now_s)
        return [*self.review(kept, now_s), *self._shelf.carry_all(kept, now_s)]

    def review(self, kept: Kept, now_s: float) -> list[g.Effect]:
        """Finish a change of keepers that is agreed, or begin one that is needed."""
        record, shelf, gone = kept.record, self._shelf, list[g.Effect]()
        if record.before:
            if not shelf.agreed(kept):
                return []
            gone = self._changed(kept)
        elif not shelf.roster.is_staffed(record) and (
            (wanted := shelf.roster.wanted(record)) != record.roster
        ):
            kept.record = shelf.staffed(record, wanted)
        else:
            return []
        shelf.count(kept, now_s)
        return [shelf.write(kept), *shelf.carry_all(kept, now_s), *gone]

    def _changed(self, kept: Kept) -> list[g.Effect]:
        """Those before have no say any more, and those of them who are none now are told."""
        record = kept.record
        kept.record = grown(record, before=())
        kept.copies.firm = kept.record.version
        left = [peer for peer in record.before if peer not in (*record.roster, record.submitter)]
        return [Send(peer, Relieve(record.task, is_over=False)) for peer in left]

    def report(self, now_s: float) -> list[g.Effect]:
        """What nobody seems to want from us any more: whoever knows better says so."""
        lines: dict[PeerId, list[GuardLine]] = {}
        stale_s = now_s - REPORT_EVERY * self._shelf.config.beat_s
        for kept in self._shelf.kept.values():
            if kept.post is Post.KEEPS and kept.heard_s < stale_s:
                for peer in dict.fromkeys((kept.record.submitter, kept.record.acting)):
                    if self._shelf.roster.stays(peer) and peer != self._shelf.me:
                        lines.setdefault(peer, []).append(self._shelf.line(kept))
        return self._beats.answers(lines)

    def beat(self, now_s: float) -> list[g.Effect]:
        lines: dict[PeerId, list[GuardLine]] = {}
        for task, kept in self._shelf.kept.items():
            record = kept.record
            if kept.post is not Post.ACTS:
                continue
            line = GuardLine(task, record.term, record.seq)
            for peer in dict.fromkeys((*record.keepers, record.submitter)):
                has_newest = kept.copies.has.get(peer) == record.version
                is_news = record.task_record.state not in TASK_ENDS or not has_newest
                if peer != self._shelf.me and is_news and peer in self._shelf.roster:
                    lines.setdefault(peer, []).append(line)
        return self._beats.beat(lines, now_s)

    def on_heard(self, peer: PeerId, message: GuardHeard, now_s: float) -> list[g.Effect]:
        said_s = self._beats.said_s(message.number)
        effects: list[g.Effect] = []
        for line in {line.task: line for line in message.lines}.values():
            kept = self._shelf.kept.get(line.task)
            if kept is not None:
                effects += self._on_line(kept, peer, line, said_s, now_s)
            elif line.term:
                effects += self._shelf.if_over(peer, line.task)
        return effects

    def _on_line(
        self, kept: Kept, peer: PeerId, line: GuardLine, said_s: float, now_s: float
    ) -> list[g.Effect]:
        acts = kept.post is Post.ACTS
        if not kept.record.is_party(peer) or not is_near(line.term, kept.known):
            return [_relieved(peer, line)] if acts and line.term else []
        if self._voting.is_outranked(kept, line.term):
            kept.known_term = max(kept.known_term, line.term)
            return self._voting.outranked(kept, now_s)
        if acts and peer not in kept.record.keepers and line.term:
            return [] if peer == kept.record.submitter else [_relieved(peer, line)]
        return self._confirmed(kept, peer, line, said_s, now_s) if acts else []

    def _confirmed(
        self, kept: Kept, peer: PeerId, line: GuardLine, said_s: float, now_s: float
    ) -> list[g.Effect]:
        record, had = kept.record, kept.copies.has.get(peer)
        in_turn = line.term == record.term
        kept.copies.note(peer, (line.term, line.seq), said_s, in_turn=in_turn)
        if (line.term, line.seq) == (0, 0) and self._shelf.may_part(kept, now_s):
            return self._shelf.part(kept, now_s)
        self._shelf.count(kept, now_s)
        effects = self.review(kept, now_s)
        if kept.copies.has[peer] != had:
            effects.append(Notify(g.Confirmed(record.task)))
        lacks = peer in kept.record.keepers and kept.copies.has[peer] != kept.record.version
        return [*effects, *(self._shelf.carry_all(kept, now_s) if lacks else ())]


def _relieved(peer: PeerId, line: GuardLine) -> g.Effect:
    """It is no keeper of that task any more."""
    return Send(peer, Relieve(line.task, is_over=False))
