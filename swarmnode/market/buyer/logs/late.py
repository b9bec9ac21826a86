"""Which logs of tasks that have ended are not whole here yet, and who has the rest.

the end is heard from who acted for us -> its guardian and its provider may have more of the log
as much has come as its provider counted, or none of them has more -> whole, as far as can be known
nobody has for FOLLOWED_S -> whoever reads along is let go, and told where the rest is
"""

from typing import Final

from p2p.effects import Notify
from p2p.ids import PeerId
from swarmnode.limits import TASKS_OPEN_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.logs.claims import LogClaims
from swarmnode.market.guardians.events import LogsTold
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import Phase, State

FOLLOWED_S: Final = 60.0
"""Whoever reads along waits so long for the rest: as long as a guardian is asked at first."""


class LateLogs:
    """Of one buyer's tasks. `tick` is called every second."""

    def __init__(self) -> None:
        self.claims = LogClaims()
        """What their providers are asked for."""
        self._at: dict[TaskId, tuple[PeerId, ...]] = {}
        """Who may have more, the likelier one first, the oldest task first; never empty."""
        self._waited: dict[TaskId, float] = {}
        """Those of them that are waited for, and until when (s)."""

    def expect(self, task: TaskId, machines: tuple[PeerId, ...], now_s: float) -> None:
        """It has ended; these may have more of its log."""
        self.forget(task)
        self._at[task], self._waited[task] = machines, now_s + FOLLOWED_S
        if len(self._at) > TASKS_OPEN_MAX:
            self.forget(next(iter(self._at)))

    def where(self, task: TaskId) -> PeerId:
        """Who has the rest of a log; empty for one that is whole, as far as is known."""
        return next(iter(self._at.get(task, ())), PeerId(""))

    def machines(self, task: TaskId) -> tuple[PeerId, ...]:
        """Everybody who may have the rest, the likelier one first."""
        return self._at.get(task, ())

    def is_waited_for(self, task: TaskId) -> bool:
        """The rest of it may come any moment."""
        return task in self._waited

    def forget(self, task: TaskId) -> None:
        """Nobody asks for it any more, or it is asked for anew."""
        self._at.pop(task, None)
        self._waited.pop(task, None)

    def came(self, task: TaskId) -> list[e.Effect]:
        """It is whole."""
        if task not in self._at:
            return []
        self.forget(task)
        return [Notify(e.LogSettled(task))]

    def told(self, event: LogsTold) -> list[e.Effect]:
        """It is whole now, or that machine has no more of it: as one that keeps a copy."""
        if event.is_whole:
            return self.came(event.task)
        is_to_answer = self.claims.is_asked(event.task, event.peer)  # as who ran it
        return [] if is_to_answer else self._has_none(event.task, event.peer)

    def answered(self, peer: PeerId, message: State) -> list[e.Effect]:
        """How the job stands at its provider: one that knows it still brings log and result."""
        self.claims.answered(message.task, peer)
        is_gone = message.phase is Phase.UNKNOWN
        return self._has_none(message.task, peer) if is_gone else []

    def tick(self, now_s: float) -> list[e.Effect]:
        """Claims that are due, and readers that have waited long enough."""
        effects = self.claims.tick(now_s)
        while self._waited:
            task, until_s = next(iter(self._waited.items()))
            if now_s < until_s:
                break
            del self._waited[task]
            effects.append(Notify(e.LogSettled(task)))
        return effects

    def _has_none(self, task: TaskId, peer: PeerId) -> list[e.Effect]:
        if peer not in self._at.get(task, ()):
            return []
        left = tuple(other for other in self._at[task] if other != peer)
        if not left:
            return self.came(task)
        self._at[task] = left
        return []
