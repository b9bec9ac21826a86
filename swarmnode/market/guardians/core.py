"""Who acts for a task while its submitter is away: a pure state machine at each of its keepers.

    KEEPS --silent--> STANDS --won--> ACTS --outranked, gave way--> KEEPS
      ^                  |             |
      +-----gave way-----+             +--relieved--> (gone)

See the package for the idea. It is told by events and by messages of other keepers; `Custody`
answers those who ask. What the buyer's core tells of its own tasks are events, too, though it tells
them within a step of its own: it goes on with the effects that come back.

Decisions are a list beside the effects: that core carries them out in the same step, so that no
renewal leaves under a term that has ended. Among the effects they would have to be found again
before those leave, and put in order with what came before and after them.
"""

from collections.abc import Callable
from math import inf
from typing import assert_never

import msgspec

from p2p.effects import Send, WakeAt
from p2p.ids import PeerId
from swarmnode.limits import GUARDED_MAX
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.acting import REPORT_EVERY, Acting
from swarmnode.market.guardians.config import GuardianConfig
from swarmnode.market.guardians.custody import Custody
from swarmnode.market.guardians.homing import Homing
from swarmnode.market.guardians.kept import Kept, Post
from swarmnode.market.guardians.messages import (
    AskVote,
    ComeHome,
    GuardBeat,
    GuardHeard,
    GuardLine,
    KeeperMessage,
    Relieve,
    Vote,
)
from swarmnode.market.guardians.records import GuardRecord, grown
from swarmnode.market.guardians.shelf.past import note
from swarmnode.market.guardians.shelf.tasks import HandOn, TaskShelf
from swarmnode.market.guardians.voting import Voting
from swarmnode.tasks.ids import TaskId, is_task_id
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord


class Keeper:
    """Every task this machine keeps, its own included."""

    def __init__(
        self,
        config: GuardianConfig,
        me: PeerId,
        find: Callable[[TaskId], TaskRecord | None],
        hand_on: HandOn,
        home: Callable[[TaskRecord], ComeHome],
        was_forgotten: Callable[[TaskId], bool] = lambda _task: False,
    ) -> None:
        """`find` gives the record of a task of the ledger, `hand_on` the right of a new keeper.

        `home` seals that its owner is at this machine now.
        """
        self._shelf = TaskShelf(config, me, find, hand_on, was_forgotten)
        self._voting = Voting(self._shelf)
        self._acting = Acting(self._shelf, self._voting)
        self._homing = Homing(self._shelf, home, self._on_begun)
        self.custody = Custody(self._shelf, self._homing)
        """In whose hands each task is: for who asks, and tells nothing."""
        self._ticks = 0
        """Since the start; each REPORT_EVERY-th also reports."""
        self._tick_due_s = inf
        """When the next one is due; one that is asleep_s late tells that we were stopped."""

    def check_invariants(self) -> None:
        """What holds between two events."""
        self._shelf.check_invariants()

    def take_decisions(self) -> list[g.Decision]:
        """What was decided since the last look; to be done in order."""
        decisions, self._shelf.decisions = self._shelf.decisions, []
        return decisions

    def handle(self, event: g.Event, now_s: float) -> list[g.Effect]:
        """Take one event."""
        match event:
            case g.GuardTick():
                return self._on_tick(now_s)
            case g.StandDue():
                return self._voting.on_stand_due(event, now_s)
            case g.YoungDue():
                return self._on_young_due(event, now_s)
            case g.KeepHeard():
                return self._on_keep(event, now_s)
            case g.HomeHeard():
                return self._on_home(event, now_s)
            case g.KeeperStands():
                self._shelf.roster.stands(event.peer, event.liveness, event.lab)
                return []
            case g.KnowsSecrets():
                self._shelf.roster.knows_secrets(event.peer, knows=event.knows)
                return []
            case g.MachinesRemoved():
                return self._on_machines_removed(event)
            case g.GuardsLoaded():
                return self._on_loaded(event, now_s)
            case g.EndsCopied():
                return self._on_ends_copied(event)
            case g.Woke():
                return self._on_woke(now_s)
            case _:
                return self._on_our_side(event, now_s)

    def _on_our_side(self, event: g.OurSide, now_s: float) -> list[g.Effect]:
        match event:
            case g.TaskNoted():
                return self._on_noted(event.record, now_s)
            case g.TaskBegun():
                return self._on_begun(event.record, now_s, at_once=event.at_once)
            case g.TaskTakenUp():
                return self._homing.begin(event.record, event.patience_s, now_s)
            case g.TaskWentOn():
                return self._on_went_on(event.task)
            case g.TaskRemoved():
                return self._on_removed(event.task)
            case _:
                assert_never(event)

    def hear(self, peer: PeerId, message: KeeperMessage, now_s: float) -> list[g.Effect]:
        """Take one message of another keeper."""
        match message:
            case GuardBeat():
                return self._voting.on_beat(peer, message, now_s)
            case GuardHeard():
                return self._acting.on_heard(peer, message, now_s)
            case AskVote():
                return self._voting.on_ask_vote(peer, message, now_s)
            case Vote():
                return self._voting.on_vote(peer, message, now_s)
            case Relieve():
                return self._on_relieve(peer, message, now_s)
            case _:
                assert_never(message)

    def _on_loaded(self, event: g.GuardsLoaded, now_s: float) -> list[g.Effect]:
        for record in event.records:
            has_turn = record.acting == self._shelf.me and record.promised <= record.term
            post = Post.ACTS if has_turn else Post.KEEPS
            self._shelf.add(Kept(record, post, now_s))
            if record.submitter == self._shelf.me or post is Post.ACTS:
                self._shelf.count(self._shelf.kept[record.task], now_s)
        self._shelf.since_s = now_s
        return self._tick_at(now_s)

    def _on_begun(
        self, record: TaskRecord, now_s: float, *, at_once: bool = False
    ) -> list[g.Effect]:
        is_known = record.task in self._shelf.kept or record.task in self._homing
        if is_known or not record.key or record.submitter:
            return []
        if at_once:
            return self._on_young_due(g.YoungDue(record.task), now_s)
        return [WakeAt(now_s + self._shelf.config.after_s, g.YoungDue(record.task))]

    def _on_noted(self, record: TaskRecord, now_s: float) -> list[g.Effect]:
        kept = self._shelf.kept.get(record.task)
        if kept is None or kept.post is not Post.ACTS or _same(kept.record.task_record, record):
            return []
        kept.record = grown(kept.record, task_record=_bare(record))
        return [self._shelf.write(kept), *self._shelf.carry_all(kept, now_s)]

    def _on_went_on(self, task: TaskId) -> list[g.Effect]:
        """Those who keep it for us let go."""
        note(self._shelf.past.let_go, task, 0)
        kept = self._shelf.kept.get(task)
        if kept is None:
            return []
        told = self._shelf.relieve_all(kept) if kept.post is Post.ACTS else []
        return [*told, *self._shelf.drop(kept)]

    def _on_removed(self, task: TaskId) -> list[g.Effect]:
        kept = self._shelf.kept.get(task)
        if kept is None:
            return []
        return [*self._shelf.relieve_all(kept, True), *self._shelf.drop(kept)]

    def _on_ends_copied(self, event: g.EndsCopied) -> list[g.Effect]:
        """At the next beat their keepers may go."""
        self._shelf.are_copies_kept = True
        for task, kept in self._shelf.kept.items():
            kept.is_copied = kept.is_copied or (task in event.tasks and self._shelf.is_over(kept))
        return []

    def _on_home(self, event: g.HomeHeard, now_s: float) -> list[g.Effect]:
        kept, peer = self._shelf.kept.get(event.task), event.peer
        if kept is None or kept.record.submitter == self._shelf.me:
            return []
        moved = self._shelf.move(kept, peer, now_s)
        return [*moved, self._shelf.carry(peer, kept.record)]

    def _on_young_due(self, event: g.YoungDue, now_s: float) -> list[g.Effect]:
        record = self._shelf.find(event.task)
        if record is None or record.state in TASK_ENDS or event.task in self._shelf.kept:
            return []
        if len(self._shelf.kept) >= GUARDED_MAX:
            return [WakeAt(now_s + self._shelf.config.lease_s, event)]
        first = GuardRecord(
            record.task, self._shelf.me, 1, 1, self._shelf.me, (self._shelf.me,), (), _bare(record)
        )
        kept = self._shelf.add(Kept(first, Post.ACTS, now_s))
        self._shelf.count(kept, now_s)
        return [self._shelf.write(kept), *self._acting.review(kept, now_s)]

    def _on_tick(self, now_s: float) -> list[g.Effect]:
        if now_s > self._tick_due_s + self._shelf.config.asleep_s:
            self._on_woke(now_s)
        effects = self._tick_at(now_s + self._shelf.config.beat_s)
        for kept in list(self._shelf.kept.values()):
            if kept.post is Post.ACTS:
                effects += self._acting.tend(kept, now_s)
            elif (due_s := self._voting.vacant_s(kept)) < now_s + self._shelf.config.beat_s:
                effects.append(WakeAt(max(now_s, due_s), g.StandDue(kept.record.task)))
        effects += self._homing.call(now_s)
        self._ticks += 1
        if self._ticks % REPORT_EVERY == 0:
            effects += self._acting.report(now_s)
        return effects + self._acting.beat(now_s)

    def _on_woke(self, now_s: float) -> list[g.Effect]:
        """We were stopped: that nobody was heard meanwhile says nothing about them."""
        for kept in self._shelf.kept.values():
            kept.heard_s = max(kept.heard_s, now_s)
        return []

    def _tick_at(self, at_s: float) -> list[g.Effect]:
        self._tick_due_s = at_s
        return [WakeAt(at_s, g.GuardTick())]

    def _on_keep(self, event: g.KeepHeard, now_s: float) -> list[g.Effect]:
        record, peer = event.record, event.peer
        kept = self._shelf.kept.get(record.task)
        if kept is None and record.term < (term := self._shelf.past.dropped.get(record.task, 0)):
            return [_answer(peer, GuardLine(record.task, term, 0))]
        is_late = self._shelf.past.is_too_late(record, peer)
        if is_late or (kept is None and not self._shelf.has_room(record, peer)):
            return [_answer(peer, GuardLine(record.task, 0, 0))]
        if kept is None:
            return self._on_new(event, now_s)
        return self._on_known(kept, record, peer, now_s)

    def _on_new(self, event: g.KeepHeard, now_s: float) -> list[g.Effect]:
        """Nothing is kept of that task yet."""
        record, peer, shelf = event.record, event.peer, self._shelf
        is_mine = record.submitter == shelf.me
        if is_mine and shelf.was_forgotten(record.task):
            return shelf.if_over(peer, record.task)
        if is_mine and not event.is_ours and shelf.find(record.task) is None:
            return []  # nothing shows that it was ever submitted here
        fresh = msgspec.structs.replace(record, promised=0)
        kept = shelf.add(Kept(fresh, Post.KEEPS, now_s, bringer=peer))
        if is_mine:
            shelf.count(kept, now_s)
            return self._voting.stand(kept, now_s)
        return [shelf.write(kept), _answer(peer, shelf.line(kept))]

    def _on_known(
        self, kept: Kept, record: GuardRecord, peer: PeerId, now_s: float
    ) -> list[g.Effect]:
        if not kept.may_become(record):
            return []
        effects: list[g.Effect] = []
        if record.version > kept.record.version:
            if record.term == kept.record.term and kept.post is Post.ACTS:
                return []  # nobody but us changes a record of our term
            if self._shelf.may_grow(kept, record):
                effects += self._renewed(kept, record, peer, now_s)
        if peer == record.acting and record.term >= kept.record.promised:
            kept.heard_s = now_s
        return [*effects, _answer(peer, self._shelf.line(kept))]

    def _renewed(self, kept: Kept, record: GuardRecord, by: PeerId, now_s: float) -> list[g.Effect]:
        """Keep a newer record of a task."""
        promised, is_newer = kept.record.promised, record.term > kept.record.term
        self._shelf.shares.move(kept.record.submitter, record.submitter)
        kept.record = msgspec.structs.replace(record, promised=promised)
        is_sought = record.task in self._homing  # its sender has not heard where we are
        moved = self._shelf.move(kept, self._shelf.me, now_s) if is_sought else []
        effects = [*moved, self._shelf.write(kept)]
        if kept.post is Post.STANDS and (by != record.acting or record.submitter == self._shelf.me):
            return [*effects, *self._voting.stand(kept, now_s)]  # now we know whom to ask
        return [*effects, *(self._voting.outranked(kept, now_s) if is_newer else ())]

    def _on_relieve(self, peer: PeerId, message: Relieve, now_s: float) -> list[g.Effect]:
        kept = self._shelf.kept.get(message.task)
        is_sought = message.task in self._homing
        if kept and not self._shelf.heeds(kept, peer, message, is_sought=is_sought):
            return []
        effects = [] if kept is None else self._shelf.drop(kept)
        if message.is_over and kept is not None:
            note(self._shelf.past.relieved, message.task, 0)
        elif message.is_over and is_task_id(message.task):
            self._shelf.past.relieve_early(peer, message.task)
        return [*effects, _answer(peer, GuardLine(message.task, 0, 0))]

    def _on_machines_removed(self, event: g.MachinesRemoved) -> list[g.Effect]:
        effects: list[g.Effect] = []
        for task, kept in list(self._shelf.kept.items()):
            submitter = kept.record.submitter
            if submitter in event.machines and submitter != self._shelf.me:
                effects += self._shelf.drop(kept)
                note(self._shelf.past.relieved, task, 0)
        return effects


def _answer(peer: PeerId, line: GuardLine) -> g.Effect:
    """What we hold, to no beat in particular."""
    return Send(peer, GuardHeard(0, (line,)))


def _bare(record: TaskRecord) -> TaskRecord:
    """As its submitter would write it down."""
    return msgspec.structs.replace(record, submitter=PeerId(""), taken_up_ms=0, log_at=())


def _same(record: TaskRecord, other: TaskRecord) -> bool:
    """Whether nothing differs that a keeper would need."""
    return _bare(msgspec.structs.replace(other, why=record.why, rounds=record.rounds)) == record
