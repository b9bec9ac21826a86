"""Receipts that wait for the pool: a provider forgets what a task printed once it has one.

    result written down -> the keyring's copy, with the log, is in the pool -> receipt
                        -> no copy in all that time, and the result again   -> receipt

Until then a machine of the same person that takes over asks the provider for the log again.
"""

from dataclasses import dataclass

from p2p.effects import Effect
from swarmnode.tasks.ids import TaskId


@dataclass(frozen=True, slots=True)
class _Held:
    fence: int
    receipt: Effect
    until_s: float


class Receipts:
    """Those of one buyer's tasks that have ended."""

    def __init__(self, copy_s: float) -> None:
        self._copy_s = copy_s
        self.are_copies_kept = False
        """Else there is nothing to wait for."""
        self._held: dict[TaskId, _Held] = {}

    def hold(self, task: TaskId, fence: int, receipt: Effect, now_s: float) -> list[Effect]:
        """A task of ours has ended by that result."""
        if not self.are_copies_kept:
            return [receipt]
        self._held[task] = _Held(fence, receipt, now_s + self._copy_s)
        return []

    def again(self, task: TaskId, fence: int, receipt: Effect, now_s: float) -> list[Effect]:
        """The result came once more: a receipt that is held is held on, any other given again."""
        held = self._held.get(task)
        if held is not None and held.fence == fence and now_s < held.until_s:
            return []
        self._held.pop(task, None)
        return [receipt]

    def waiting(self) -> frozenset[TaskId]:
        """Tasks whose receipts are held."""
        return frozenset(self._held)

    def give(self, task: TaskId) -> list[Effect]:
        """The copy has its end, or its owner has removed it."""
        held = self._held.pop(task, None)
        return [] if held is None else [held.receipt]
