"""What the parts of a guardian share: the tasks it keeps, and what it has decided."""

from collections.abc import Callable
from math import inf
from typing import TypeAlias

import msgspec

from p2p.effects import Notify, Persist, Send
from p2p.ids import PeerId
from p2p.wire.codec import encode
from storage.rights import Right
from swarmnode.limits import GUARDED_MAX, GUARDED_OVER_MAX
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.config import GuardianConfig
from swarmnode.market.guardians.kept import Kept, Post
from swarmnode.market.guardians.messages import GuardLine, Relieve
from swarmnode.market.guardians.records import GuardRecord, grown
from swarmnode.market.guardians.roster import KeeperRoster
from swarmnode.market.guardians.shelf.past import PastTasks, note
from swarmnode.market.guardians.shelf.shares import Shares
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER, TASK_ENDS
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import Repeatability
from swarmnode.tasks.store import GUARDS, task_key

HandOn: TypeAlias = Callable[[GuardRecord, PeerId], Right | None]
"""The right of a new keeper, by the one who acts; None where there is none to hand on."""


class TaskShelf:
    """Every task that is kept here."""

    def __init__(
        self,
        config: GuardianConfig,
        me: PeerId,
        find: Callable[[TaskId], TaskRecord | None],
        hand_on: HandOn,
        was_forgotten: Callable[[TaskId], bool],
    ) -> None:
        """`find` gives the record of a task of the ledger; `was_forgotten`: ours, and no more."""
        self.config, self.me, self.find = config, me, find
        self.hand_on, self.was_forgotten = hand_on, was_forgotten
        self.kept: dict[TaskId, Kept] = {}
        """By task, our own included; GUARDED_MAX at most."""
        self.shares, self.past = Shares(), PastTasks()
        self.roster = KeeperRoster(me, config.guardians)
        self.acting_until: dict[TaskId, float] = {}
        """Of our own tasks and those we act for: when we must stop; not in it is never."""
        self.decisions: list[g.Decision] = []
        """In order, until the core takes them: at the end of each step there are none."""
        self._overs: dict[TaskId, float] = {}
        """Tasks of ours that wait for a copy, and since when; the one that ended first is first."""
        self.are_copies_kept = False
        """The keyring is copied into the pool, and who does that says what the pool has."""
        self.since_s = 0.0
        """When we began: membership knows everybody a lease later."""

    def check_invariants(self) -> None:
        """What holds between two events."""
        self.shares.check(self.kept.values())
        assert all(task in self.kept for task in self._overs), "what is gone waits for a copy"
        for task, kept in self.kept.items():
            assert kept.record.task == task, f"{task} is kept under another name"
            self._check_post(task, kept)

    def _check_post(self, task: TaskId, kept: Kept) -> None:
        record, until_s = kept.record, self.acting_until.get(task)
        match kept.post:
            case Post.ACTS:
                assert record.acting == self.me, f"we act for {task} in another's term"
                assert until_s is not None, f"we act for {task} without an end"
            case Post.STANDS:
                term = kept.candidacy.term
                assert record.term < term == record.promised, f"{task}: no term of ours"
                assert until_s in (None, -inf), f"{task}: we act and ask for votes"
            case Post.KEEPS:
                assert until_s in (None, -inf), f"we act for {task} without its post"

    def add(self, kept: Kept) -> Kept:
        self.kept[kept.record.task] = kept
        self.shares.add(kept)
        return kept

    def may_grow(self, kept: Kept, record: GuardRecord) -> bool:
        """Count a newer record of a task instead; False where its bringer's share has no room."""
        return self.shares.may_grow(kept, record, is_ours=record.submitter == self.me)

    def rest(self, record: GuardRecord) -> None:
        self.acting_until[record.task] = -inf
        self.decisions.append(g.Rests(record.task))
        note(self.past.rested, record.task, 0)

    def has_room(self, record: GuardRecord, bringer: PeerId) -> bool:
        """Whether one task more can be kept, of who brings it."""
        return len(self.kept) < GUARDED_MAX and self.shares.has_room(record, bringer)

    def line(self, kept: Kept) -> GuardLine:
        """What we hold; a term we gave our vote to, when that is higher."""
        record = kept.record
        if record.promised > record.term:
            return GuardLine(record.task, record.promised, 0)
        return GuardLine(record.task, record.term, record.seq)

    def heeds(self, kept: Kept, peer: PeerId, message: Relieve, *, is_sought: bool) -> bool:
        """Whether we keep a task no more because that machine says so. `is_sought`: we look for its
        keepers, as it was another machine's."""
        record, ours = kept.record, self.find(kept.record.task)
        if peer not in (record.submitter, record.acting):
            return False
        if record.submitter == self.me and ours is not None and not is_sought:
            # Whoever acted may have it for its own by now. Without its keepers we would go on with
            # it alone: until it is known where it went, or nobody is heard for long, it waits.
            return ours.state in TASK_ENDS
        return (
            message.is_over or kept.post is not Post.ACTS
        )  # who acts may alone know how it went on

    def if_over(self, peer: PeerId, task: TaskId) -> list[g.Effect]:
        """Somebody keeps what has ended here long ago."""
        record = self.find(task)
        is_ours = record is not None and not record.submitter and record.state in TASK_ENDS
        is_over = is_ours or (record is None and self.was_forgotten(task))
        if is_over or (record is None and task in self.past.let_go):
            return [Send(peer, Relieve(task, is_over=is_over))]
        return []

    def drop(self, kept: Kept) -> list[g.Effect]:
        """Keep a task no longer; if we acted for it, its lease ends by itself."""
        record = kept.record
        if kept.post is Post.ACTS:
            self.rest(record)
        self.decisions.append(g.TaskLetGo(record.task))
        note(self.past.dropped, record.task, record.term)
        return self.forget(record.task)

    def forget(self, task: TaskId) -> list[g.Effect]:
        self._overs.pop(task, None)
        self.shares.take(self.kept.pop(task))
        self.acting_until.pop(task, None)
        return [Persist(GUARDS, task_key(task), None)]

    def move(self, kept: Kept, submitter: PeerId, now_s: float) -> list[g.Effect]:
        """Its owner is at that machine now: if that is this one, and we act, it becomes ours."""
        if kept.record.submitter == submitter:
            return []
        self.shares.move(kept.record.submitter, submitter)
        moved = _inherited(kept.record, submitter)
        kept.record = grown(moved) if kept.post is Post.ACTS else moved
        if submitter == self.me:
            self.count(kept, now_s)
            if kept.post is Post.ACTS:
                self.decisions.append(g.Acts(kept.record, self.me))
        return [self.write(kept), *self.carry_all(kept, now_s)]

    def write(self, kept: Kept) -> Persist:
        return Persist(GUARDS, task_key(kept.record.task), encode(kept.record))

    def agreed(self, kept: Kept) -> bool:
        """Enough keepers hold the newest record.

        Of two keepers one alone may replace the other; but not where that may let a task run on
        which must not run twice: then those who are left could think it over.
        """
        record = kept.record
        holders = kept.copies.at(record.version) | {self.me}
        known = record.task_record
        may_run = record.submitter != self.me or known.state in HELD_BY_PROVIDER
        if known.spec.effects is Repeatability.ONCE and may_run:
            return self.roster.without_left(record).settled(holders)
        return record.agreed(holders)

    def count(self, kept: Kept, now_s: float) -> None:
        """Until when a majority lets us act."""
        record, lease_s = kept.record, self.config.lease_s
        if kept.post is not Post.ACTS:
            self.acting_until[record.task] = -inf
            return
        voters = record.before or record.roster
        heard_by = kept.copies.heard_by
        times = [inf if peer == self.me else heard_by.get(peer, -inf) for peer in voters]
        needed = 1 if len(voters) <= 2 else len(voters) // 2 + 1
        if len(voters) <= 2 and self.me not in voters:
            times.append(inf)
        self.acting_until[record.task] = sorted(times, reverse=True)[needed - 1] + lease_s

    def carry(self, peer: PeerId, record: GuardRecord) -> g.Effect:
        return Notify(g.Carry(peer, msgspec.structs.replace(record, promised=0)))

    def staffed(self, record: GuardRecord, wanted: tuple[PeerId, ...]) -> GuardRecord:
        """With other keepers: those before have a say until all agree; the new ones get rights."""
        rights = [(peer, right) for peer, right in record.rights if peer in wanted]
        for peer in wanted:
            is_new = peer not in (record.submitter, *(holder for holder, _ in rights))
            if is_new and (right := self.hand_on(record, peer)) is not None:
                rights.append((peer, right))
        return grown(record, roster=wanted, before=record.roster, rights=tuple(rights))

    def is_over(self, kept: Kept) -> bool:
        """It is ours and has ended here, whatever others may think."""
        record = self.find(kept.record.task)
        state = kept.record.task_record.state if record is None else record.state
        return kept.record.submitter == self.me and state in TASK_ENDS

    def may_part(self, kept: Kept, now_s: float) -> bool:
        """Whether its keepers are needed no more: it is over, and the pool has its end.

        Were this machine lost before its owner's keyring was copied again, they alone would know of
        the end. What its owner has removed they need not know at all; and where no copy can be made
        they have waited long enough at some time, or for enough others.
        """
        task = kept.record.task
        if not self.is_over(kept):
            return False
        if not kept.is_copied and self.are_copies_kept and self.find(task) is not None:
            if not self._has_waited(task, now_s):
                return False
            kept.is_copied = True  # as good as: the next one is the oldest now
        self._overs.pop(task, None)
        return True

    def _has_waited(self, task: TaskId, now_s: float) -> bool:
        since_s = self._overs.setdefault(task, now_s)
        is_oldest = next(iter(self._overs)) == task
        is_late = now_s >= since_s + self.config.over_s
        return is_late or (is_oldest and len(self._overs) > GUARDED_OVER_MAX)

    def part(self, kept: Kept, now_s: float) -> list[g.Effect]:
        """It has ended here, at its submitter: its other keepers forget it, then we do."""
        record = kept.record
        if now_s < self.since_s + self.config.lease_s:
            return []
        owed = [
            peer
            for peer in record.keepers
            if peer != self.me and kept.copies.has.get(peer) != (0, 0) and peer in self.roster
        ]
        if owed:
            return [Send(peer, Relieve(record.task, is_over=True)) for peer in owed]
        return self.forget(record.task)

    def relieve_all(self, kept: Kept, is_over: bool = False) -> list[g.Effect]:
        """Who acts itself, or has it of another submitter, heeds nothing of the first."""
        whom = [peer for peer in kept.record.keepers if peer != self.me]
        return [Send(peer, Relieve(kept.record.task, is_over=is_over)) for peer in whom]

    def carry_all(self, kept: Kept, now_s: float) -> list[g.Effect]:
        """Bring the newest record to each keeper that lacks it, and the submitter on its return."""
        record, effects = kept.record, list[g.Effect]()
        for peer in record.keepers:
            if peer == self.me or kept.copies.has.get(peer) == record.version:
                continue
            version, since_s = kept.copies.carried_s.get(peer, ((0, 0), -inf))
            if version == record.version and now_s < since_s + self.config.beat_s:
                continue
            kept.copies.carried_s[peer] = (record.version, now_s)
            effects.append(self.carry(peer, record))
        return effects


def _inherited(record: GuardRecord, submitter: PeerId) -> GuardRecord:
    """With another machine as its submitter, which has the vote of the one before.

    Not for what must not run twice: were that one back, each could have a majority by itself, until
    all keepers have heard of it.
    """
    is_once = record.task_record.spec.effects is Repeatability.ONCE
    if is_once or submitter in record.keepers:
        return msgspec.structs.replace(record, submitter=submitter)
    roster, before = (
        tuple(sorted(submitter if peer == record.submitter else peer for peer in keepers))
        for keepers in (record.roster, record.before)
    )
    return msgspec.structs.replace(record, submitter=submitter, roster=roster, before=before)
