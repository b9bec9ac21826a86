"""Receipts that wait for the pool: a provider forgets what a task printed once it has one.

    result written down -> the keyring's copy, with the log, is in the pool -> receipt
                        -> no copy in all that time, and the result again   -> receipt

Until then a machine of the same person that takes over asks the provider for the log again.
"""

import msgspec

from swarmnode.limits import RELIEVED_KEPT_MAX
from swarmnode.market.buyer import events as e
from swarmnode.tasks.ids import TaskId


class _HeldReceipt(msgspec.Struct, frozen=True):
    """A receipt that waits for the pool."""

    fence: int
    receipt: e.Effect
    until_s: float
    """From then on the result, said again, is answered without a copy."""


class Receipts:
    """Those of one buyer's tasks that have ended."""

    def __init__(self, copy_s: float) -> None:
        self._copy_s = copy_s
        """How long a receipt waits for a copy."""
        self._held: dict[TaskId, _HeldReceipt] = {}
        """One a task at most; it leaves when it is given."""
        self._given: dict[TaskId, int] = {}
        """Fences of those given lately, the newest last."""
        self.are_copies_kept = False
        """Else there is nothing to wait for."""

    def answer(self, task: TaskId, fence: int, receipt: e.Effect, now_s: float) -> list[e.Effect]:
        """A result by which a task of ours has ended, at the first time or again."""
        if not self.are_copies_kept or self._given.get(task) == fence:
            return [receipt]
        held = self._held.setdefault(task, _HeldReceipt(fence, receipt, now_s + self._copy_s))
        if held.fence != fence:  # of an earlier attempt, for which nobody waits
            return [receipt]
        return [] if now_s < held.until_s else self.give(task)

    def was_given(self, task: TaskId, fence: int) -> bool:
        """Whether it was given lately."""
        return self._given.get(task) == fence

    def waiting(self) -> frozenset[TaskId]:
        """Tasks whose receipts are held."""
        return frozenset(self._held)

    def give(self, task: TaskId) -> list[e.Effect]:
        """The copy has its end, or its owner has removed it."""
        held = self._held.pop(task, None)
        if held is None:
            return []
        self._given[task] = held.fence
        if len(self._given) > RELIEVED_KEPT_MAX:
            del self._given[next(iter(self._given))]
        return [held.receipt]
