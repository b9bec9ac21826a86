"""Finds who kept the tasks of a machine that is gone: for the machine that took them up.

Everybody is told where the owner is now, again and again, until this machine acts; what nobody
keeps goes on here alone.
"""

from collections.abc import Callable
from math import inf
from typing import Final

import msgspec

from p2p.effects import Send
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.kept import Kept, Post
from swarmnode.market.guardians.messages import ComeHome
from swarmnode.market.guardians.shelf.past import note
from swarmnode.market.guardians.shelf.tasks import TaskShelf
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord

SOUGHT_AT_ONCE: Final = 64
"""Tasks for which everybody is asked in one step."""
HOMING_LEASES: Final = 3.0
"""Leases in which keepers of a recovered task answer, before it is held to have none."""


class _Sought(msgspec.Struct):
    patience_s: float
    """How long everybody is asked, from the first call on."""
    until_s: float = inf
    """From the first time it was asked for; when it is held to have no keepers."""


class Homing:
    """The tasks of one machine that are sought."""

    def __init__(
        self,
        shelf: TaskShelf,
        home: Callable[[TaskRecord], ComeHome],
        go_on: Callable[[TaskRecord, float], list[g.Effect]],
    ) -> None:
        """`home` seals where a task's owner is now; `go_on` is for one that nobody keeps."""
        self._shelf, self._home, self._go_on = shelf, home, go_on
        self._sought: dict[TaskId, _Sought] = {}
        """Who was asked for last is last; for what is not kept here `acting_until` is -inf."""
        self._done: dict[TaskId, int] = {}
        """Those that nobody kept: somebody who says later to keep one may not."""

    def __contains__(self, task: TaskId) -> bool:
        return task in self._sought

    def begin(self, record: TaskRecord, patience_s: float, now_s: float) -> list[g.Effect]:
        """It was taken up here. `patience_s`: how long its keepers are asked at least."""
        task, kept = record.task, self._shelf.kept.get(record.task)
        effects = [] if kept is None else self._shelf.move(kept, self._shelf.me, now_s)
        is_over = self._is_home(kept) or (kept is None and task in self._done)
        if is_over or not record.key or task in self._sought:
            return effects
        if kept is None:
            self._shelf.acting_until[task] = -inf
        leases_s = HOMING_LEASES * self._shelf.config.lease_s
        self._sought[task] = _Sought(max(leases_s, patience_s))
        return effects

    def call(self, now_s: float) -> list[g.Effect]:
        """Ask everybody for some of them."""
        return [
            effect
            for task in list(self._sought)[:SOUGHT_AT_ONCE]
            for effect in self._ask(task, now_s)
        ]

    def _ask(self, task: TaskId, now_s: float) -> list[g.Effect]:
        record, kept = self._shelf.find(task), self._shelf.kept.get(task)
        sought = self._sought.pop(task)
        if record is None or self._is_home(kept):
            if kept is None:
                self._shelf.acting_until.pop(task, None)
            return []
        if kept is None and now_s >= sought.until_s:
            note(self._done, task, 0)
            self._shelf.acting_until.pop(task, None)
            return self._go_on(record, now_s)
        sought.until_s = min(sought.until_s, now_s + sought.patience_s)
        self._sought[task] = sought  # the others have their turn, too
        message = self._home(record)
        return [Send(peer, message) for peer in self._shelf.roster.alive()]

    def _is_home(self, kept: Kept | None) -> bool:
        if kept is None or kept.post is not Post.ACTS:
            return False
        return kept.record.submitter == self._shelf.me
