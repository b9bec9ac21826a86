"""In whose hands a task is, as this keeper knows it. Whoever asks changes nothing."""

from math import inf

from p2p.ids import PeerId
from swarmnode.market.guardians.homing import Homing
from swarmnode.market.guardians.kept import Guarded, Kept, Post
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.guardians.shelf.tasks import TaskShelf
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TASK_ENDS


class Custody:
    """Who keeps a task and who acts for it: for all who ask, and decide nothing about that."""

    def __init__(self, shelf: TaskShelf, homing: Homing) -> None:
        self._shelf, self._homing = shelf, homing

    def is_others(self, task: TaskId) -> bool:
        """Another machine acts for it, as far as we know: what its worker says is not for us."""
        shelf = self._shelf
        return task in shelf.kept or (task in shelf.past.rested and task not in shelf.past.relieved)

    def may_act(self, task: TaskId, now_s: float) -> bool:
        """Whether this machine may renew, award and judge for a task now."""
        return now_s < self._shelf.acting_until.get(task, inf)

    def may_judge(self, task: TaskId, now_s: float) -> bool:
        """Whether no other keeper can think otherwise of a task: for what may not run twice."""
        kept = self._shelf.kept.get(task)
        if kept is None:
            return True
        fresh_s = now_s - self._shelf.config.lease_s
        heard = {peer for peer, at_s in kept.copies.heard_by.items() if at_s > fresh_s}
        return kept.post is Post.ACTS and self._is_settled(kept, heard)

    def find(self, task: TaskId) -> GuardRecord | None:
        """What is kept here of a task."""
        kept = self._shelf.kept.get(task)
        return kept.record if kept else None

    def records(self) -> tuple[GuardRecord, ...]:
        """Everything that is kept here."""
        return tuple(kept.record for kept in self._shelf.kept.values())

    def post_of(self, task: TaskId) -> Post | None:
        """What we do for a task."""
        kept = self._shelf.kept.get(task)
        return kept.post if kept else None

    def is_up(self, peer: PeerId) -> bool:
        """That machine is there, as far as is known."""
        return self._shelf.roster.stays(peer)

    def is_alone(self, task: TaskId) -> bool:
        """Nobody else keeps it."""
        kept = self._shelf.kept.get(task)
        return kept is None or kept.record.keepers == (self._shelf.me,)

    def holds(self, task: TaskId, fence: int) -> bool:
        """Whether enough keepers know of an attempt, so that it cannot be forgotten."""
        kept = self._shelf.kept.get(task)
        if kept is None:
            return True
        knows = kept.record.task_record.fence >= fence
        return knows and self._is_settled(kept, kept.copies.at(kept.record.version))

    def is_kept(self, task: TaskId) -> bool:
        """Whether enough keepers hold it to go on without us."""
        kept = self._shelf.kept.get(task)
        if kept is None or kept.record.before:
            return False
        holders = {peer for peer, has in kept.copies.has.items() if has[0] == kept.record.term}
        return kept.post is not Post.ACTS or self._is_settled(kept, holders)

    def _is_settled(self, kept: Kept, others: set[PeerId]) -> bool:
        """Whether those and we leave nobody who could decide otherwise."""
        return kept.record.settled({*others, self._shelf.me})

    def guarded(self, task: TaskId) -> Guarded:
        """Which guardians hold a task that we act for, so that they need us no more."""
        record, kept = self._shelf.find(task), self._shelf.kept.get(task)
        if record is None or record.state in TASK_ENDS:
            return Guarded(has_ended=True)
        if kept is None:
            return Guarded()
        stays = bool(record.spec.secrets)
        others = [peer for peer in kept.record.roster if peer != self._shelf.me]
        is_firm = not kept.record.before
        has, firm = kept.copies.has, kept.copies.firm
        holders = (peer for peer in others if is_firm and has.get(peer, (-1, -1)) >= firm)
        return Guarded(tuple(holders), len(others), has_secrets=stays)

    def over(self) -> frozenset[TaskId]:
        """Tasks of ours that have ended, and are kept until the pool has that."""
        return frozenset(
            task
            for task, kept in self._shelf.kept.items()
            if not kept.is_copied and self._shelf.is_over(kept)
        )

    def is_sought(self, task: TaskId) -> bool:
        """It was taken up, and its keepers are still being found."""
        return task in self._homing

    def was_relieved(self, task: TaskId) -> bool:
        """We kept it until its submitter had everything."""
        return task in self._shelf.past.relieved
